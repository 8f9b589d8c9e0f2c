//! `import`: puts a line of JSON for each object, many at once.

use std::collections::VecDeque;
use std::path::PathBuf;

use keepboth_core::json;
use keepboth_core::limits::figure;
use keepboth_core::name::Namespace;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::lines::{Line, Lines};
use super::object::namespace;
use super::out::{complain, talk};
use super::progress::Progress;
use super::session::Session;
use crate::client::{Asked, ClientError};

/// Puts that may wait for their answer.
const WINDOW: usize = 256;

/// What to import.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Each line is {\"key\":…,\"value\":…}, as keepboth export writes them. Lines with an \"address\" are
sides of conflicts and detached lines; they belong to their history and are left out.
Exit code 7 if any line was refused.

Examples:
  keepboth import default objects.ndjson
  keepboth export default | keepboth --url ws://other:7400 import default"
)]
pub struct Import {
    /// The namespace
    #[arg(value_name = "NAMESPACE", value_parser = namespace)]
    ns: Namespace,
    /// The file; - or nothing reads stdin
    file: Option<PathBuf>,
    /// Go on after a line that is refused
    #[arg(long)]
    continue_on_error: bool,
}

/// What became of the lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    put: u64,
    refused: u64,
    left_out: u64,
}

/// Puts all lines, and says at the end how many.
pub async fn run(args: Import, session: &mut Session) -> Result<(), Failure> {
    let mut lines = Lines::open(args.file.as_deref())?;
    let mut work = Work {
        session,
        ns: args.ns,
        keep_going: args.continue_on_error,
        waiting: VecDeque::with_capacity(WINDOW),
        tally: Tally::default(),
        progress: Progress::start("lines"),
    };
    let outcome = work.all(&mut lines).await;
    let Work { session, tally, progress, .. } = work;
    drop(progress);
    report(session, &tally)?;
    outcome?;
    if tally.refused > 0 { Err(Failure::quiet(Exit::Refused)) } else { Ok(()) }
}

fn report(session: &mut Session, tally: &Tally) -> Result<(), Failure> {
    let Tally { put, refused, left_out } = *tally;
    if session.out.json {
        return session.out.json(&json!({"put": put, "refused": refused, "left_out": left_out}));
    }
    let shown = |n: u64| figure(usize::try_from(n).unwrap_or(usize::MAX));
    let more = match left_out {
        0 => String::new(),
        n => format!(", {} sides and detached objects left out", shown(n)),
    };
    talk(&format!("{} put, {} refused{more}", shown(put), shown(refused)));
    Ok(())
}

struct Work<'a> {
    session: &'a mut Session,
    ns: Namespace,
    keep_going: bool,
    waiting: VecDeque<(u64, Asked)>,
    tally: Tally,
    progress: Progress,
}

impl Work<'_> {
    async fn all(&mut self, lines: &mut Lines) -> Result<(), Failure> {
        while let Some(line) = lines.next().await {
            let outcome = self.line(line?).await;
            if let Err(failure) = outcome {
                // What is under way is counted before the end.
                self.drain(0).await?;
                return Err(failure);
            }
        }
        self.drain(0).await
    }

    async fn line(&mut self, (number, line): Line) -> Result<(), Failure> {
        match arguments(&self.ns, &line) {
            Ok(Some(arguments)) => {
                self.drain(WINDOW - 1).await?;
                let asked = self.session.client.ask("put", arguments).await?;
                self.waiting.push_back((number, asked));
                Ok(())
            }
            Ok(None) => {
                self.tally.left_out += 1;
                Ok(())
            }
            Err(failure) => self.refused(number, failure),
        }
    }

    /// Waits for answers until at most `rest` are missing.
    async fn drain(&mut self, rest: usize) -> Result<(), Failure> {
        while self.waiting.len() > rest {
            let Some((number, asked)) = self.waiting.pop_front() else { return Ok(()) };
            match asked.answer().await {
                Ok(_) => self.tally.put += 1,
                Err(error @ ClientError::Refused(_)) => self.refused(number, error.into())?,
                Err(error) => return Err(error.into()),
            }
            self.progress.set(self.tally.put + self.tally.refused);
        }
        Ok(())
    }

    fn refused(&mut self, number: u64, mut failure: Failure) -> Result<(), Failure> {
        self.tally.refused += 1;
        failure.message = format!("line {number}: {}", failure.message);
        if self.keep_going {
            complain(&failure, self.session.out.json);
            return Ok(());
        }
        failure.exit = Exit::Refused;
        Err(failure)
    }
}

/// The arguments of the put of a line; None for an object under an address.
fn arguments(ns: &Namespace, line: &[u8]) -> Result<Option<Json>, Failure> {
    let refused = |words: String| Failure::new(Exit::Refused, words);
    let form = "a line is {\"key\":…,\"value\":…}";
    let mut tree = json::parse_frame(line).map_err(|e| refused(format!("not JSON: {e}")))?;
    if tree.get("address").is_some() {
        return Ok(None);
    }
    let members = tree.as_object_mut().ok_or_else(|| refused("no object".into()).hint(form))?;
    let missing = |name: &str| refused(format!("{name} is missing")).hint(form);
    let key = members.remove("key").ok_or_else(|| missing("key"))?;
    let value = members.remove("value").ok_or_else(|| missing("value"))?;
    if let Some(name) = members.keys().next() {
        return Err(refused(format!("unknown field {name:?}")).hint(form));
    }
    Ok(Some(json!({"ns": ns.as_str(), "key": key, "value": value})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_a_put() {
        let ns = Namespace::new("notes").expect("namespace");
        let of = |line: &str| arguments(&ns, line.as_bytes());
        let put = json!({"ns": "notes", "key": "a", "value": null});
        assert_eq!(of("{\"key\":\"a\",\"value\":null}"), Ok(Some(put)));
        assert_eq!(of("{\"key\":\"a\",\"address\":\"x\",\"value\":1}"), Ok(None));
        for (line, words) in [
            ("{", "not JSON"),
            ("5", "no object"),
            ("{\"value\":1}", "key is missing"),
            ("{\"key\":\"a\"}", "value is missing"),
            ("{\"key\":\"a\",\"value\":1,\"x\":2}", "unknown field \"x\""),
            ("{\"key\":\"a\",\"value\":{\"b\":1,\"b\":2}}", "duplicate key \"b\""),
        ] {
            let failure = of(line).expect_err(line);
            assert_eq!(failure.exit, Exit::Refused);
            assert!(failure.message.contains(words), "{failure}");
        }
    }
}
