//! `trash ls` and `trash restore`.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Namespace;
use serde_json::json;

use super::exit::Failure;
use super::object::{Object, namespace};
use super::session::{Session, namespace_arguments, text, time};
use super::table::Table;

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
    },
}

/// Runs one of the commands.
pub async fn run(command: Trash, session: &mut Session) -> Result<(), Failure> {
    match command {
        Trash::Ls { ns } => ls(&ns, session).await,
        Trash::Restore { object, version } => {
            let mut arguments = object.arguments();
            if let Some(version) = version {
                arguments["version"] = json!(version);
            }
            let answer = session.call("restore", arguments).await?;
            session.written(&answer)
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
