//! `export`: writes a line of JSON for each object.

use keepboth_core::limits::figure;
use serde_json::{Value as Json, json};

use super::exit::Failure;
use super::object::Prefix;
use super::out::talk;
use super::progress::Progress;
use super::session::{Session, namespace_arguments};

/// What to export.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is {\"key\":…,\"value\":…}; the sides of conflicts and detached objects have their
\"address\" too. Histories are not exported.

Examples:
  keepboth export default > objects.ndjson
  keepboth export default/users/ | jq -r .key"
)]
pub struct Export {
    /// The namespace, and what the keys begin with
    #[arg(value_name = "NAMESPACE[/PREFIX]")]
    prefix: Prefix,
}

/// Writes all objects, page by page.
pub async fn run(args: Export, session: &mut Session) -> Result<(), Failure> {
    let more = [("prefix", json!(args.prefix.prefix)), ("values", json!(true))];
    let arguments = namespace_arguments(args.prefix.ns.as_str(), more);
    let progress = Progress::start("objects");
    let mut count = 0;
    let outcome = session
        .pages("list", &arguments, "items", None, |out, item| {
            count += 1;
            progress.set(count);
            out.json(&line(item))
        })
        .await;
    drop(progress);
    outcome?;
    session.out.flush()?;
    talk(&format!("{} objects", figure(usize::try_from(count).unwrap_or(usize::MAX))));
    Ok(())
}

fn line(mut item: Json) -> Json {
    let (key, name) = (item["key"].take(), item["name"].take());
    let mut line = json!({"key": key, "value": item["value"].take()});
    if name != key {
        line["address"] = name;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_an_address_only_beside_its_key() {
        let of = |name| line(json!({"key": "k", "name": name, "value": 1, "version": "v"}));
        assert_eq!(of("k"), json!({"key": "k", "value": 1}));
        assert_eq!(of("aa"), json!({"key": "k", "value": 1, "address": "aa"}));
    }
}
