//! `hook replay`: what a changed script would have made of the last events of a namespace.

use std::path::PathBuf;

use keepboth_core::name::{Name, Namespace};
use keepboth_lua::differences;
use keepboth_lua::trial::{Event, Trial};
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::object::namespace;
use super::super::out::{Out, printable, talk};
use super::super::session::Session;
use super::events::{self, Past, What};
use super::{Named, Options, outcome, trial};

/// What to replay.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The last events of the server's feed go through the script here; nothing is written. Each key has one, its
last: a put goes through on_put and after_put, a delete through on_delete and after_delete, a conflict
through on_conflict. Without --against the outcome is held against what is stored, with it against what that
script makes of the same event. What is stored went through the hooks of its time already. kb.get finds what
was replayed before, and who wrote is not known: --actor says it.
Exit code 0 if nothing would differ, 1 if something would.

Examples:
  keepboth hook replay new/guard.luau notes
  keepboth hook replay new/guard.luau notes --against scripts/guard.luau --last 1000"
)]
pub struct Replay {
    /// The changed script
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The namespace
    #[arg(value_name = "NAMESPACE", value_parser = namespace)]
    ns: Namespace,
    /// The script as it was
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Of so many last changes
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    last: u32,
    /// Who is said to write
    #[arg(long, value_name = "NAME", default_value = "anonymous")]
    actor: String,
    #[command(flatten)]
    options: Options,
}

/// Replays the events and tells where the outcomes differ.
pub async fn run(args: Replay, session: &mut Session) -> Result<(), Failure> {
    let load = |path: &PathBuf| trial(&Named::of(path)?, &args.ns, &args.options);
    let mut new = load(&args.file)?;
    let mut old = args.against.as_ref().map(load).transpose()?;
    let events = events::last(session, &args.ns, args.last.into()).await?;
    let mut differ = 0;
    for past in &events {
        let found = replayed(&mut new, past, &args.actor);
        let expected = match &mut old {
            Some(old) => replayed(old, past, &args.actor),
            None => stored(past),
        };
        if found != expected {
            differ += 1;
            tell(&mut session.out, &args.ns, past, &expected, &found)?;
        }
    }
    session.out.flush()?;
    let count = events.len();
    talk(&format!("{count} events, {differ} would differ"));
    if differ == 0 { Ok(()) } else { Err(Failure::quiet(Exit::Failure)) }
}

/// The outcome if no script changes or does anything.
fn stored(past: &Past) -> Json {
    match &past.what {
        What::Put(value, _) => json!({"value": outcome::wire(value)}),
        What::Delete(_) | What::Conflict(..) => json!({}),
    }
}

/// What the script makes of an event. Afterwards its store in memory has what is stored.
fn replayed(trial: &mut Trial, past: &Past, actor: &str) -> Json {
    let (actor, now) = (actor.to_owned(), past.timestamp);
    let event = |old: &Option<_>| Event {
        actor: actor.clone(),
        now,
        old: old.clone(),
        ..Event::new(past.key.clone())
    };
    let (found, stored) = match &past.what {
        What::Put(value, old) => {
            let event = event(old);
            let put = trial.put(&event, value.clone());
            let mut found = outcome::as_json(&put);
            if let Some(value) = put.value {
                add(&mut found, outcome::as_json(&trial.after(&event, Some(value))));
            }
            (found, Some(value.clone()))
        }
        What::Delete(old) => {
            let event = event(old);
            let delete = trial.delete(&event);
            let mut found = outcome::as_json(&delete);
            if delete.refused.is_none() {
                add(&mut found, outcome::as_json(&trial.after(&event, None)));
            }
            (found, None)
        }
        What::Conflict(base, sides) => {
            let conflict = trial.conflict(&past.key, base.clone(), sides.clone());
            (outcome::as_json(&conflict), None)
        }
    };
    let namespace = trial.namespace().clone();
    trial.memory().set(&namespace, &Name::Key(past.key.clone()), stored);
    found
}

/// Adds what after hooks did.
fn add(found: &mut Json, after: Json) {
    let (Json::Object(found), Json::Object(after)) = (found, after) else { return };
    for (name, more) in after {
        match (found.get_mut(&name), more) {
            (Some(Json::Array(items)), Json::Array(more)) => items.extend(more),
            (_, more) => drop(found.insert(name, more)),
        }
    }
}

fn tell(
    out: &mut Out,
    ns: &Namespace,
    past: &Past,
    expected: &Json,
    found: &Json,
) -> Result<(), Failure> {
    let all = differences(expected, found);
    if out.json {
        let all = all.iter().map(|d| json!({"path": d.path, "before": d.before, "after": d.after}));
        return out.json(&json!({
            "key": past.key.as_str(),
            "event": past.what.as_str(),
            "id": past.id,
            "differences": all.collect::<Vec<_>>(),
        }));
    }
    let id = past.id.get(..8).unwrap_or(&past.id);
    out.line(&printable(&format!("{} {ns}/{} {id}", past.what.as_str(), past.key)))?;
    for difference in &all {
        let (before, after) = difference.words();
        let path = difference.path.trim_start_matches('.');
        for (sign, words) in [('-', before), ('+', after)] {
            if let Some(words) = words {
                out.line(&printable(&format!("  {sign} {path}  {words}")))?;
            }
        }
    }
    Ok(())
}
