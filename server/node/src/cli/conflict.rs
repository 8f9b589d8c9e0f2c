//! `conflict ls`, `conflict show` and `conflict resolve`.

use std::path::PathBuf;

use keepboth_core::name::{Address, Namespace};
use serde_json::{Value as Json, json};

use super::exit::Failure;
use super::input::{self, Form};
use super::object::{Object, namespace};
use super::session::{Session, namespace_arguments, text, time, value};
use super::table::Table;
use super::wait::Wait;

/// Conflicts: both sides are kept until somebody resolves them
#[derive(Debug, clap::Subcommand)]
pub enum Conflict {
    /// List the keys in conflict
    Ls {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
    /// Show the sides of a conflict and what they have in common
    Show {
        /// The key in conflict
        #[arg(value_name = "NAMESPACE/KEY")]
        object: Object,
    },
    /// End a conflict
    Resolve(Resolve),
}

/// What ends the conflict.
#[derive(Debug, clap::Args)]
#[command(after_help = "The conflict is read first and resolved only if it is still the same.

Examples:
  keepboth conflict resolve default/hello --side ADDRESS
  keepboth conflict resolve default/hello --value '{\"text\":\"both\"}'")]
pub struct Resolve {
    /// The key in conflict
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    #[command(flatten)]
    with: With,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    wait: Wait,
}

/// One of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct With {
    /// The value of the side at this address
    #[arg(long, value_name = "ADDRESS")]
    side: Option<Address>,
    /// A new value; - reads it from stdin
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    /// A new value from a file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs one of the commands.
pub async fn run(command: Conflict, session: &mut Session) -> Result<(), Failure> {
    match command {
        Conflict::Ls { ns } => ls(&ns, session).await,
        Conflict::Show { object } => show(&object, session).await,
        Conflict::Resolve(args) => resolve(args, session).await,
    }
}

async fn ls(ns: &Namespace, session: &mut Session) -> Result<(), Failure> {
    let mut table = Table::new(&["KEY", "SIDES", "ADDRESSES"]);
    let arguments = namespace_arguments(ns.as_str(), []);
    session
        .pages("conflicts", &arguments, "items", None, |out, item| {
            if out.json {
                return out.json(&item);
            }
            let sides = item["sides"].as_array().map(Vec::as_slice).unwrap_or_default();
            let count = sides.len().to_string();
            for (at, side) in sides.iter().enumerate() {
                let (key, count) =
                    if at == 0 { (text(&item, "key"), count.as_str()) } else { ("", "") };
                table.row([key, count, text(side, "address")]);
            }
            Ok(())
        })
        .await?;
    if session.out.json { Ok(()) } else { table.write(&mut session.out, "no conflicts") }
}

async fn show(object: &Object, session: &mut Session) -> Result<(), Failure> {
    let conflict = session.call("conflict", object.arguments()).await?;
    if session.out.json {
        return session.out.json(&conflict);
    }
    shown(&conflict).write(&mut session.out, "no sides")
}

fn shown(conflict: &Json) -> Table {
    let mut table = Table::new(&["", "ADDRESS", "TIME", "ORIGIN", "VALUE"]);
    if let Some(base) = conflict.get("base") {
        table.row(["base", "-", "-", "-", &value(base)]);
    }
    for side in conflict["sides"].as_array().into_iter().flatten() {
        let origin = text(side, "origin");
        table.row(["side", text(side, "address"), &time(side), origin, &value(side)]);
    }
    table
}

async fn resolve(args: Resolve, session: &mut Session) -> Result<(), Failure> {
    let With { side, value, file } = args.with;
    let mut arguments = args.object.arguments();
    match side {
        Some(side) => arguments["side"] = side.to_string().into(),
        None => {
            arguments["value"] = input::value(value.as_deref(), file.as_ref(), args.form)?;
        }
    }
    let conflict = session.call("conflict", args.object.arguments()).await?;
    arguments["if_conflict"] = json!(text(&conflict, "id"));
    args.wait.add_to(&mut arguments);
    let answer = session.call("resolve", arguments).await?;
    session.written_and_reached(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_is_shown_with_its_base_and_sides() {
        let conflict = json!({"key": "k", "id": "i", "base": {"version": "v", "value": 1},
            "sides": [{"address": "aa", "timestamp": 0, "origin": "0f", "value": {"a": 1}}]});
        assert_eq!(
            shown(&conflict).lines(),
            [
                "      ADDRESS  TIME                      ORIGIN  VALUE",
                "base  -        -                         -       1",
                "side  aa       1970-01-01T00:00:00.000Z  0f      {\"a\":1}"
            ]
        );
    }
}
