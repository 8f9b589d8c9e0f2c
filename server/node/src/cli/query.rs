//! `query`: the objects that an index has under some values.

use keepboth_core::name::Namespace;
use keepboth_core::unit::Period;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::object::namespace;
use super::out::{Out, talk};
use super::session::{Session, namespace_arguments, text, value};
use super::table::Table;
use super::wait::ms;

/// Which objects.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "V, A and B are null, true, false, a number, or else a text: 5 is the number, and
'\"5\"' the text. null < false < true < numbers < texts. Without a choice, all that the index has.

Examples:
  keepboth query books by_author --eq ana
  keepboth query books by_year --from 1990 --to 2000 --values
  keepboth query books by_day --prefix 2024-05 --limit 20"
)]
pub struct Query {
    /// The namespace
    #[arg(value_name = "NAMESPACE", value_parser = namespace)]
    ns: Namespace,
    /// The index, as it is declared in the plugin index
    index: String,
    /// Only what equals this
    #[arg(long, value_name = "V", value_parser = scalar, conflicts_with_all = ["prefix", "from", "to"])]
    eq: Option<Json>,
    /// Only what is at least this
    #[arg(long, value_name = "A", value_parser = scalar, conflicts_with = "prefix")]
    from: Option<Json>,
    /// Only what is less than this
    #[arg(long, value_name = "B", value_parser = scalar, conflicts_with = "prefix")]
    to: Option<Json>,
    /// Only texts that begin so
    #[arg(long, value_name = "P")]
    prefix: Option<String>,
    /// Show the values too
    #[arg(long)]
    values: bool,
    /// At most so many objects
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where the command said that there is more
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// How long the index may take to follow what was written before: at most 60s
    #[arg(long, value_name = "PERIOD", default_value = "5s")]
    wait: Period,
}

/// What a word of the command line is in an index.
fn scalar(word: &str) -> Result<Json, String> {
    match serde_json::from_str(word) {
        Ok(Json::Array(_) | Json::Object(_)) => {
            Err("an index has null, true, false, numbers and texts".into())
        }
        Ok(scalar) => Ok(scalar),
        Err(_) => Ok(word.into()),
    }
}

/// Asks page by page, and says where to go on if the limit left something over.
pub async fn run(args: Query, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = namespace_arguments(
        args.ns.as_str(),
        [
            ("index", args.index.into()),
            ("prefix", json!(args.prefix)),
            ("values", args.values.into()),
            ("after", json!(args.after)),
            ("wait_ms", ms(&args.wait).into()),
        ],
    );
    // null is a value here, so it is not left out.
    for (field, value) in [("eq", args.eq), ("from", args.from), ("to", args.to)] {
        if let Some(value) = value {
            arguments[field] = value;
        }
    }
    let mut table = Table::new(match args.values {
        true => &["NAME", "AT", "VALUE"],
        false => &["NAME", "AT", "VERSION"],
    });
    let mut left = args.limit;
    let more = loop {
        if let Some(left) = left {
            arguments["limit"] = left.into();
        }
        let mut page = session.call("query", arguments.clone()).await?;
        let Json::Array(items) = page["items"].take() else {
            return Err(Failure::new(Exit::Failure, "the answer to query has no items"));
        };
        left = left.map(|left| left.saturating_sub(items.len() as u64));
        items.iter().try_for_each(|item| show(item, args.values, &mut table, &mut session.out))?;
        match page["next"].take() {
            Json::String(next) if left == Some(0) => break Some(next),
            Json::Null => break None,
            next => arguments["after"] = next,
        }
    };
    if !session.out.json {
        table.write(&mut session.out, "nothing of that in the index")?;
    }
    if let Some(next) = more {
        session.out.flush()?;
        talk(&format!("there is more: --after {next}"));
    }
    Ok(())
}

fn show(item: &Json, values: bool, table: &mut Table, out: &mut Out) -> Result<(), Failure> {
    if out.json {
        return out.json(item);
    }
    let last = if values { value(item) } else { text(item, "version").to_owned() };
    table.row([text(item, "name").to_owned(), item["at"].to_string(), last]);
    Ok(())
}
