//! `hook log`: what the scripts of a running server log and print, and their failures.

use keepboth_core::name::Namespace;
use serde_json::{Value as Json, json};

use super::super::exit::Failure;
use super::super::object::namespace;
use super::super::out::{printable, talk};
use super::super::session::{Session, namespace_arguments, text, time};

/// How long one question of `--follow` waits.
const WAIT_MS: u64 = 30_000;

/// Of which namespace.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The server keeps the last 1,000 lines of each namespace; how many before them are gone is said on stderr.
This needs the right admin on the namespace.

Examples:
  keepboth hook log notes
  keepboth hook log -f notes --last 10"
)]
pub struct Log {
    /// The namespace
    #[arg(value_name = "NAMESPACE", value_parser = namespace, default_value = "default")]
    ns: Namespace,
    /// Go on with what is said from now on
    #[arg(long, short)]
    follow: bool,
    /// At most so many lines of those that are there
    #[arg(long, short = 'n', value_name = "COUNT", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
}

/// Writes lines; with `--follow` until the connection or the reader of stdout is gone.
pub async fn run(args: Log, session: &mut Session) -> Result<(), Failure> {
    let mut arguments = namespace_arguments(args.ns.as_str(), [("limit", json!(args.last))]);
    loop {
        let answer = session.call("hook_log", arguments.clone()).await?;
        let (lines, dropped) = (answer["lines"].as_array(), answer["dropped"].as_u64());
        for line in lines.into_iter().flatten() {
            write(line, session)?;
        }
        session.out.flush()?;
        if let Some(count @ 1..) = dropped {
            talk(&format!("{count} earlier lines are gone: there was no room for them"));
        }
        if !args.follow {
            return Ok(());
        }
        arguments = namespace_arguments(
            args.ns.as_str(),
            [("after", answer["next"].clone()), ("wait_ms", json!(WAIT_MS))],
        );
    }
}

fn write(line: &Json, session: &mut Session) -> Result<(), Failure> {
    if session.out.json {
        return session.out.json(line);
    }
    let (time, level) = (time(line), text(line, "level").to_uppercase());
    let words = format!("{time} {level:5} {} {}", text(line, "at"), text(line, "text"));
    session.out.line(&printable(&words))
}
