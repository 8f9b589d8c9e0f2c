//! `acks`: whether a version is everywhere.

use keepboth_core::ids::VersionId;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::object::Object;
use super::session::{Session, text};
use super::table::Table;
use super::wait::ms;
use keepboth_core::unit::Period;

/// Of what.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The exit code is 0 if every other node that has the namespace is known to have
the version, and 10 otherwise. A node that is not connected has what it had when it last was.

Examples:
  keepboth acks default/hello
  keepboth put default/hello 5 --wait all   waits for the same"
)]
pub struct Acks {
    /// The object; a key or an address
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    /// The version; without it, the one that the object has now
    #[arg(long, value_name = "VERSION")]
    version: Option<VersionId>,
    /// How long the other nodes may take to answer: at most 60s
    #[arg(long, value_name = "PERIOD", default_value = "5s")]
    within: Period,
}

/// Asks, and says what each node said.
pub async fn run(args: Acks, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = args.object.arguments();
    arguments["within_ms"] = ms(&args.within).into();
    if let Some(version) = args.version {
        arguments["version"] = json!(version);
    }
    let acks = session.call("acks", arguments).await?;
    let everywhere = acks["everywhere"] == json!(true);
    if session.out.json {
        session.out.json(&acks)?;
    } else {
        let is = if everywhere { "is" } else { "is not known to be" };
        session.out.line(&format!("{} {is} everywhere", text(&acks, "version")))?;
        let table = table_of(&acks);
        if !table.is_empty() {
            session.out.line("")?;
        }
        table.write(&mut session.out, "no other node has the namespace")?;
    }
    if everywhere { Ok(()) } else { Err(Failure::quiet(Exit::NotEverywhere)) }
}

fn table_of(acks: &Json) -> Table {
    let mut table = Table::new(&["NODE", "HELD", "WHY"]);
    for ack in acks["members"].as_array().into_iter().flatten() {
        let held = match ack["held"].as_bool() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        table.row([text(ack, "node"), held, text(ack, "why")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_neither_yes_nor_no() {
        let acks = json!({"members": [{"node": "aa", "held": true, "why": "it says so"},
            {"node": "bb", "held": false, "why": "it says that it has not"},
            {"node": "cc", "why": "it is not connected"}]});
        assert_eq!(
            table_of(&acks).lines()[1..],
            [
                "aa    yes      it says so",
                "bb    no       it says that it has not",
                "cc    unknown  it is not connected"
            ]
        );
    }
}
