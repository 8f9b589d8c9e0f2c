//! `quarantine ls`, `quarantine admit`, `quarantine discard` and `quarantine retry`.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Namespace;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::object::{Object, namespace};
use super::session::{Session, namespace_arguments, number, text};
use super::table::{self, Table};

/// What other nodes have sent and this node's rules refuse: kept, and hidden from readers
#[derive(Debug, clap::Subcommand)]
pub enum Quarantine {
    /// List the versions with the reason for each
    Ls {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
    /// Show a version to readers all the same
    Admit {
        /// The key
        #[arg(value_name = "NAMESPACE/KEY")]
        object: Object,
        /// The version, from `keepboth quarantine ls`
        version: VersionId,
    },
    /// Drop a version's value here; it stays hidden for ever
    Discard {
        /// The key
        #[arg(value_name = "NAMESPACE/KEY")]
        object: Object,
        /// The version, from `keepboth quarantine ls`
        version: VersionId,
        /// Do it: nobody is asked
        #[arg(long)]
        yes: bool,
    },
    /// Ask plugins and limits again of each version, and admit those that pass
    Retry {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
}

/// Runs one of the commands.
pub async fn run(command: Quarantine, session: &mut Session) -> Result<(), Failure> {
    match command {
        Quarantine::Ls { ns } => ls(&ns, session).await,
        Quarantine::Admit { object, version } => judge(&object, version, "admit", session).await,
        Quarantine::Discard { version, yes: false, .. } => {
            let words = format!("the value of {version} would be gone from this node");
            Err(Failure::new(Exit::Usage, words).hint("say --yes to do it"))
        }
        Quarantine::Discard { object, version, yes: true } => {
            judge(&object, version, "discard", session).await
        }
        Quarantine::Retry { ns } => {
            let arguments = namespace_arguments(ns.as_str(), []);
            let answer = session.call("quarantine_retry", arguments).await?;
            if session.out.json {
                return session.out.json(&answer);
            }
            let (admitted, held) = (number(&answer, "admitted"), number(&answer, "held"));
            session.out.line(&format!("admitted {admitted}, held {held}"))
        }
    }
}

async fn judge(
    object: &Object,
    version: VersionId,
    verdict: &str,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut arguments = object.arguments();
    (arguments["version"], arguments["verdict"]) = (json!(version), json!(verdict));
    let answer = session.call("judge", arguments).await?;
    session.written(&answer)
}

async fn ls(ns: &Namespace, session: &mut Session) -> Result<(), Failure> {
    let head = ["KEY", "VERSION", "CHANGE", "BYTES", "SINCE", "FROM", "REASON"];
    let mut table = Table::new(&head);
    let arguments = namespace_arguments(ns.as_str(), []);
    session
        .pages("quarantine", &arguments, "items", None, |out, item| {
            if out.json {
                return out.json(&item);
            }
            let reason = format!("{} [{}]", text(&item, "message"), text(&item, "code"));
            let (bytes, since) = (number(&item, "bytes"), table::time(item["since"].as_u64()));
            let from = text(&item, "from").get(..8).unwrap_or_default();
            let (version, change) = (text(&item, "version"), text(&item, "change"));
            table.row([text(&item, "key"), version, change, &bytes, &since, from, &reason]);
            Ok(())
        })
        .await?;
    if session.out.json { Ok(()) } else { table.write(&mut session.out, "nothing in quarantine") }
}
