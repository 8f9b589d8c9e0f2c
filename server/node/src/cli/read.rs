//! `get`, `ls` and `history`.

use keepboth_core::ids::VersionId;
use keepboth_core::value::{Kind, Value};
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::object::{Object, Prefix};
use super::out::Out;
use super::session::{Session, namespace_arguments, number, text, time, value};
use super::table::Table;

/// What to get.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  keepboth get default/hello
  keepboth get default/photo > photo.jpg
  keepboth get default/hello --json       the version, its time and its origin too")]
pub struct Get {
    /// The object; a key or an address
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    /// This version of it instead of the present one
    #[arg(long, value_name = "VERSION")]
    version: Option<VersionId>,
}

/// Writes the value to stdout: text and bytes as they are, all else as JSON.
pub async fn get(args: Get, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = args.object.arguments();
    let method = match args.version {
        Some(version) => {
            arguments["version"] = json!(version);
            "get_version"
        }
        None => "get",
    };
    let answer = session.call(method, arguments).await?;
    if session.out.json {
        return session.out.json(&answer);
    }
    let value = Value::from_wire(&answer["value"]);
    write_value(&mut session.out, &value.map_err(|e| Failure::new(Exit::Failure, e.message))?)
}

fn write_value(out: &mut Out, value: &Value) -> Result<(), Failure> {
    match value.kind() {
        Kind::Json | Kind::Number => out.line(&value.to_wire()),
        Kind::String | Kind::Bytes | Kind::Cbor => {
            out.raw(value.as_bytes())?;
            let ended = value.as_bytes().ends_with(b"\n");
            // A person's prompt starts on a new line; a file gets exactly the bytes.
            if out.is_terminal() && !ended { out.raw(b"\n") } else { Ok(()) }
        }
    }
}

/// What to list.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  keepboth ls default
  keepboth ls default/users/ --values
  keepboth ls default --json | jq -r .key")]
pub struct Ls {
    /// The namespace, and what the keys begin with
    #[arg(value_name = "NAMESPACE[/PREFIX]")]
    prefix: Prefix,
    /// The values too
    #[arg(long)]
    values: bool,
    /// At most so many objects
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Lists objects: a table, or a line of JSON for each.
pub async fn ls(args: Ls, session: &mut Session) -> Result<(), Failure> {
    let more = [("prefix", json!(args.prefix.prefix)), ("values", json!(args.values))];
    let arguments = namespace_arguments(args.prefix.ns.as_str(), more);
    let mut head = vec!["NAME", "VERSION", "TIME", "NOTE"];
    if args.values {
        head.extend(["KIND", "VALUE"]);
    }
    let mut table = Table::new(&head);
    let limit = args.limit.map(|limit| limit as usize);
    let values = args.values;
    session
        .pages("list", &arguments, "items", limit, |out, item| {
            if out.json {
                return out.json(&item);
            }
            table.row(listed(&item, values));
            Ok(())
        })
        .await?;
    if session.out.json { Ok(()) } else { table.write(&mut session.out, "no objects") }
}

fn listed(item: &Json, values: bool) -> Vec<String> {
    let note = match (item.get("conflict"), item.get("detached")) {
        (Some(_), _) => format!("conflict at {}", text(item, "key")),
        (_, Some(_)) => format!("detached from {}", text(item, "key")),
        _ => String::new(),
    };
    let name = text(item, "name").to_owned();
    let mut row = vec![name, text(item, "version").to_owned(), time(item), note];
    if values {
        row.extend([text(item, "kind").to_owned(), value(item)]);
    }
    row
}

/// Whose history.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  keepboth history default/hello
  keepboth revert default/hello VERSION   puts the value of one of them again")]
pub struct History {
    /// The object; a key or an address
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Object,
    /// At most so many versions
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Lists the versions of a key.
pub async fn history(args: History, session: &mut Session) -> Result<(), Failure> {
    let mut table = Table::new(&["VERSION", "CHANGE", "HEAD", "KIND", "BYTES", "TIME", "ORIGIN"]);
    let limit = args.limit.map(|limit| limit as usize);
    session
        .pages("history", &args.object.arguments(), "versions", limit, |out, item| {
            if out.json {
                return out.json(&item);
            }
            let head = if item["head"] == json!(true) { "head" } else { "" };
            let kind = Some(text(&item, "kind")).filter(|kind| !kind.is_empty()).unwrap_or("-");
            let (version, change) = (text(&item, "version"), text(&item, "change"));
            let (bytes, time) = (number(&item, "bytes"), time(&item));
            table.row([version, change, head, kind, &bytes, &time, text(&item, "origin")]);
            Ok(())
        })
        .await?;
    if session.out.json { Ok(()) } else { table.write(&mut session.out, "no versions") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_of_a_conflict_is_listed_with_its_key() {
        let item = json!({"name": "aa", "key": "k", "version": "vv", "conflict": true,
            "timestamp": 0, "kind": "json", "value": {"a": 1}});
        let row = listed(&item, true);
        let time = "1970-01-01T00:00:00.000Z";
        let expected = ["aa", "vv", time, "conflict at k", "json", "{\"a\":1}"];
        assert_eq!(row, expected);
    }
}
