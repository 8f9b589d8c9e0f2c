//! `schema infer`: a schema that accepts the objects that are there.

use std::path::PathBuf;

use keepboth_core::json;
use keepboth_core::limits::figure;
use keepboth_core::value::Value;
use keepboth_schema::infer::Inferred;
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::lines::Lines;
use super::super::object::Prefix;
use super::super::out::{Out, talk};
use super::super::progress::Progress;
use super::super::session::{Session, namespace_arguments, text};

/// From which objects.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The schema accepts every object that was seen: types, members that all have, ranges, formats, and
lists of the texts where there are few. It says what is there, not what is meant: look it over before
you bind it. Sides of conflicts count as objects. The objects are those of a server that runs, or with --from
those that `keepboth export` wrote, and then no server is needed.

Examples:
  keepboth schema infer notes/note/ > schemas/note.schema.json
  keepboth schema infer notes/note/ --from backup.ndjson
  keepboth schema check schemas/note.schema.json"
)]
pub struct Infer {
    /// The namespace, and what the keys begin with
    #[arg(value_name = "NAMESPACE[/PREFIX]")]
    prefix: Prefix,
    /// The lines that `keepboth export` wrote, instead of a server; - is stdin
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// Reads all objects, page by page, and writes the schema.
pub async fn run(args: Infer, session: &mut Session) -> Result<(), Failure> {
    let more = [("prefix", json!(args.prefix.prefix)), ("values", json!(true))];
    let arguments = namespace_arguments(args.prefix.ns.as_str(), more);
    let progress = Progress::start("objects");
    let mut seen = Inferred::default();
    let outcome = session
        .pages("list", &arguments, "items", None, |_, item| {
            let kind = text(&item, "kind");
            seen.add(kind, plain(kind, &item["value"]));
            progress.set(seen.count());
            Ok(())
        })
        .await;
    drop(progress);
    outcome?;
    write(&args, &seen, &mut session.out)
}

/// As [`run`], of the lines of an export; no server is asked.
pub fn offline(args: &Infer, json: bool) -> Result<(), Failure> {
    let mut lines = Lines::open(args.from.as_deref())?;
    let prefix = args.prefix.prefix.as_deref().unwrap_or_default();
    let mut seen = Inferred::default();
    while let Some(line) = lines.wait() {
        let (number, line) = line?;
        let at = |words: String| Failure::new(Exit::Refused, format!("line {number}: {words}"));
        let line = json::parse_frame(&line).map_err(|e| at(format!("not JSON: {e}")))?;
        let (Some(key), Some(value)) = (line["key"].as_str(), line.get("value")) else {
            let form = "a line is {\"key\":…,\"value\":…}, as keepboth export writes them";
            return Err(at("key or value is missing".into()).hint(form));
        };
        if key.starts_with(prefix) {
            let kind = Value::from_wire(value).map_err(|refusal| at(refusal.message))?.kind();
            seen.add(kind.as_str(), plain(kind.as_str(), value));
        }
    }
    write(args, &seen, &mut Out::new(json))
}

fn write(args: &Infer, seen: &Inferred, out: &mut Out) -> Result<(), Failure> {
    let prefix = args.prefix.prefix.as_deref().unwrap_or_default();
    let schema = seen.schema(&format!("{}/{prefix}", args.prefix.ns.as_str()));
    match out.json {
        true => out.json(&schema)?,
        false => out.line(&format!("{schema:#}"))?,
    }
    out.flush()?;
    let count = |n: u64| figure(usize::try_from(n).unwrap_or(usize::MAX));
    talk(&format!("inferred from {} objects", count(seen.count())));
    if seen.infinite() > 0 {
        let n = count(seen.infinite());
        talk(&format!("{n} of them are NaN or infinite, which no schema lets pass"));
    }
    Ok(())
}

/// The value that stands in a frame; None if JSON does not hold it.
fn plain<'a>(kind: &str, value: &'a Json) -> Option<&'a Json> {
    match kind {
        "json" => Some(value.get("$json").unwrap_or(value)),
        "number" => value.is_number().then_some(value),
        "string" => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_of_their_escapes() {
        let escaped = json!({"$json": {"$bytes": 1}});
        assert_eq!(plain("json", &escaped), Some(&json!({"$bytes": 1})));
        assert_eq!(plain("json", &json!([1])), Some(&json!([1])));
        assert_eq!(plain("number", &json!({"$number": "NaN"})), None);
        assert_eq!(plain("string", &json!("x")), Some(&json!("x")));
        assert_eq!(plain("bytes", &json!({"$bytes": "AA=="})), None);
    }
}
