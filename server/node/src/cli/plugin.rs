//! `plugin`: whatever a plugin answers.

use keepboth_core::name::Namespace;
use serde_json::{Map, Value as Json, json};

use super::exit::Failure;
use super::object::namespace;
use super::session::{Session, namespace_arguments};
use super::table::{Table, time};

/// What is asked of which plugin.
#[derive(Debug, clap::Args)]
#[command(after_help = "What comes along answers:

  index    indexes                       how far each index has come
  webhook  targets                       what waits and what is dead, for each target
           dead [target=T] [limit=N] [after=ID]   what could not be delivered
           retry [target=T] [id=ID]      deliver it after all
           drop [target=T] [id=ID]       forget it

VALUE is JSON, or else a text.

Examples:
  keepboth plugin books index indexes
  keepboth plugin orders webhook dead target=crm
  keepboth plugin orders webhook retry target=crm id=17")]
pub struct Plugin {
    /// The namespace
    #[arg(value_name = "NAMESPACE", value_parser = namespace)]
    ns: Namespace,
    /// The plugin's name after `use =` in the config
    plugin: String,
    /// What is asked
    op: String,
    /// More about it
    #[arg(value_name = "NAME=VALUE", value_parser = argument)]
    arguments: Vec<(String, Json)>,
}

fn argument(word: &str) -> Result<(String, Json), String> {
    let (name, value) = word.split_once('=').ok_or("it is NAME=VALUE, for instance limit=10")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

/// Asks, and shows the answer: items as a table, and all else a line each.
pub async fn run(args: Plugin, session: &mut Session) -> Result<(), Failure> {
    let asked: Map<String, Json> = args.arguments.into_iter().collect();
    let arguments = namespace_arguments(
        args.ns.as_str(),
        [("plugin", args.plugin.into()), ("op", args.op.into()), ("arguments", json!(asked))],
    );
    let answer = session.call("plugin", arguments).await?;
    if session.out.json {
        return session.out.json(&answer);
    }
    for (name, member) in answer.as_object().into_iter().flatten() {
        match member.as_array() {
            Some(items) => table_of(items).write(&mut session.out, &format!("no {name}"))?,
            None => session.out.line(&format!("{name}: {}", shown(member)))?,
        }
    }
    Ok(())
}

/// A column for each member that the first item has.
fn table_of(items: &[Json]) -> Table {
    let columns = items.first().and_then(Json::as_object).map(Map::keys);
    let columns: Vec<&String> = columns.into_iter().flatten().collect();
    let head: Vec<String> = columns.iter().map(|name| name.to_uppercase()).collect();
    let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for item in items {
        table.row(columns.iter().map(|name| match name.as_str() {
            "timestamp" => time(item[name.as_str()].as_u64()),
            name => shown(&item[name]),
        }));
    }
    table
}

fn shown(member: &Json) -> String {
    match member {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_an_answer_stand_in_a_table_under_their_names() {
        let items = [
            json!({"id": 7, "timestamp": 1_700_000_000_123_u64, "why": "it answered 400"}),
            json!({"id": 12, "why": null}),
        ];
        assert_eq!(
            table_of(&items).lines(),
            [
                "ID  TIMESTAMP                 WHY",
                "7   2023-11-14T22:13:20.123Z  it answered 400",
                "12  -                         -"
            ]
        );
    }

    #[test]
    fn a_value_is_json_or_else_a_text() {
        assert_eq!(argument("a=5"), Ok(("a".into(), json!(5))));
        assert_eq!(argument("a=b=c"), Ok(("a".into(), json!("b=c"))));
        assert!(argument("a").is_err());
    }
}
