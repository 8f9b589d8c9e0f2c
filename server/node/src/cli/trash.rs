//! `trash ls`, `trash restore` and `trash purge`.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Namespace;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::object::{Object, namespace};
use super::out::printable;
use super::session::{Session, namespace_arguments, text, time};
use super::table::Table;
use super::wait::Wait;

/// What was deleted, and how to get it back
#[derive(Debug, clap::Subcommand)]
pub enum Trash {
    /// List the keys that were deleted
    Ls {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
    /// Put the last value of a deleted key again
    Restore {
        /// The key
        #[arg(value_name = "NAMESPACE/KEY")]
        object: Object,
        /// The value of this version instead of the last
        #[arg(long, value_name = "VERSION")]
        version: Option<VersionId>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Drop a deleted key with its history at once, on all nodes
    Purge {
        /// The key
        #[arg(value_name = "NAMESPACE/KEY")]
        object: Object,
        /// Do it: nobody is asked
        #[arg(long)]
        yes: bool,
    },
}

/// Runs one of the commands.
pub async fn run(command: Trash, session: &mut Session) -> Result<(), Failure> {
    match command {
        Trash::Ls { ns } => ls(&ns, session).await,
        Trash::Restore { object, version, wait } => {
            let mut arguments = object.arguments();
            if let Some(version) = version {
                arguments["version"] = json!(version);
            }
            wait.add_to(&mut arguments);
            let answer = session.call("restore", arguments).await?;
            session.written_and_reached(&answer)
        }
        Trash::Purge { object, yes: false } => {
            let words = format!("{} could not be restored any more, on any node", object.key);
            Err(Failure::new(Exit::Usage, words).hint("say --yes to do it"))
        }
        Trash::Purge { object, yes: true } => {
            let answer = session.call("purge", object.arguments()).await?;
            match session.out.json {
                true => session.out.json(&answer),
                false => session.out.line(&printable(text(&answer, "key"))),
            }
        }
    }
}

async fn ls(ns: &Namespace, session: &mut Session) -> Result<(), Failure> {
    let mut table = Table::new(&["KEY", "DELETED", "BY", "VERSION"]);
    let arguments = namespace_arguments(ns.as_str(), []);
    session
        .pages("trash", &arguments, "items", None, |out, item| {
            if out.json {
                return out.json(&item);
            }
            let deleted = time(&item);
            table.row([
                text(&item, "key"),
                &deleted,
                text(&item, "origin"),
                text(&item, "version"),
            ]);
            Ok(())
        })
        .await?;
    if session.out.json { Ok(()) } else { table.write(&mut session.out, "the trash is empty") }
}
