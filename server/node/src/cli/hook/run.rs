//! `hook run`: one event through one script, and all that it comes to. Nothing is written.

use std::path::PathBuf;

use keepboth_core::json::parse;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Level, StateChange};
use keepboth_core::value::Value;
use keepboth_lua::Hook;
use keepboth_lua::trial::{Event, Outcome, Registered, Trial};
use serde_json::Value as Json;

use super::super::exit::{Exit, Failure};
use super::super::input::{self, Form};
use super::super::object::Prefix;
use super::super::out::{Out, printable};
use super::{Named, Options, name_of, outcome, trial};

/// Which event.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The store is in memory and empty. VALUE is what is written; of on_conflict it is
{\"base\":VALUE,\"sides\":[VALUE,VALUE]}, of on_state {\"before\":\"empty\",\"now\":\"synced\"}, of every the period;
the last two want a namespace alone.
Exit code 0 if the script does its work, 7 if it refuses the write, 1 if it fails.

Examples:
  keepboth hook run scripts/guard.luau on_put notes/a '{\"body\":\"b\"}' --options '{\"required\":[\"title\"]}'
  keepboth hook run scripts/audit_trail.luau after_put notes/a 5 --actor ada --options '{\"to\":\"trail\"}'
  keepboth hook run scripts/expire.luau every notes 1h --options '{\"after_hours\":1}'"
)]
pub struct Run {
    /// The script
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// on_put, on_delete, on_conflict, after_put, after_delete, on_state or every
    #[arg(value_name = "EVENT", value_parser = hook)]
    event: Hook,
    /// The key, in the namespace to which the script is bound
    #[arg(value_name = "NAMESPACE/KEY")]
    object: Prefix,
    /// The value
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    #[command(flatten)]
    form: Form,
    /// The value before the write, as JSON
    #[arg(long, value_name = "JSON")]
    old: Option<String>,
    /// Who writes
    #[arg(long, value_name = "NAME", default_value = "anonymous")]
    actor: String,
    #[command(flatten)]
    options: Options,
}

fn hook(text: &str) -> Result<Hook, String> {
    let all = || Hook::ALL.into_iter().chain([Hook::Timer]);
    all()
        .find(|hook| hook.as_str() == text)
        .ok_or_else(|| format!("it is {}", all().map(Hook::as_str).collect::<Vec<_>>().join(", ")))
}

/// Runs the event and tells what it came to.
pub fn run(args: &Run, json: bool) -> Result<(), Failure> {
    let file = Named::of(&args.file)?;
    let mut trial = trial(&file, &args.object.ns, &args.options)?;
    need(args.event, &file, &trial.hooks())?;
    let outcome = happen(args, &mut trial)?;
    let mut out = Out::new(json);
    tell(&mut out, &file, &outcome)?;
    out.flush()?;
    match (outcome.fault(), &outcome.refused) {
        (Some(_), _) => Err(Failure::quiet(Exit::Failure)),
        (None, Some(_)) => Err(Failure::quiet(Exit::Refused)),
        (None, None) => Ok(()),
    }
}

/// An event that no hook of the script hears of would tell nothing.
fn need(hook: Hook, file: &Named, hooks: &[Registered]) -> Result<(), Failure> {
    if hooks.iter().any(|own| own.declared.hook == hook) {
        return Ok(());
    }
    let mut names: Vec<&str> = hooks.iter().map(|own| name_of(&own.declared)).collect();
    names.dedup();
    let words = format!("{} has no {}; it has {}", file.path(), hook.as_str(), names.join(", "));
    Err(Failure::new(Exit::Usage, words))
}

fn happen(args: &Run, trial: &mut Trial) -> Result<Outcome, Failure> {
    Ok(match args.event {
        Hook::OnPut => trial.put(&event(args)?, value(args)?),
        Hook::OnDelete => trial.delete(&event(args)?),
        Hook::AfterPut => trial.after(&event(args)?, Some(value(args)?)),
        Hook::AfterDelete => trial.after(&event(args)?, None),
        Hook::OnConflict => {
            let (base, sides) = conflict(&tree(args)?)?;
            trial.conflict(&key(args)?, base, sides)
        }
        Hook::OnState => trial.state(&state(&args.object.ns, &tree(args)?)?),
        Hook::Timer => {
            let period = args.value.as_deref().unwrap_or_default();
            let is =
                |own: &Registered| own.declared.timer.as_ref().is_some_and(|t| t.text == period);
            let hooks = trial.hooks();
            let periods = || {
                let all = hooks.iter().filter_map(|own| own.declared.timer.as_ref());
                all.map(|timer| timer.text.as_str()).collect::<Vec<_>>().join(", ")
            };
            let timer = hooks.iter().find(|own| is(own)).ok_or_else(|| {
                usage(format!("the script has no timer of {period:?}; it has {}", periods()))
            })?;
            let now = event_of("timer", args)?.now;
            trial.timer(timer, now)
        }
    })
}

fn key(args: &Run) -> Result<Key, Failure> {
    let key =
        args.object.prefix.as_deref().ok_or_else(|| {
            usage(format!("{} is about a key: NAMESPACE/KEY", args.event.as_str()))
        })?;
    Key::new(key).map_err(|e| usage(e.message.to_string()))
}

fn event(args: &Run) -> Result<Event, Failure> {
    event_of(key(args)?.as_str(), args)
}

fn event_of(key: &str, args: &Run) -> Result<Event, Failure> {
    let key = Key::new(key).map_err(|e| usage(e.message.to_string()))?;
    let old =
        args.old.as_deref().map(|old| of_wire(&input::value(Some(old), None, Form::default())?));
    Ok(Event { actor: args.actor.clone(), old: old.transpose()?, ..Event::new(key) })
}

fn value(args: &Run) -> Result<Value, Failure> {
    of_wire(&input::value(args.value.as_deref(), None, args.form)?)
}

fn of_wire(tree: &Json) -> Result<Value, Failure> {
    Value::from_wire(tree).map_err(|e| Failure::new(Exit::Refused, e.message))
}

fn tree(args: &Run) -> Result<Json, Failure> {
    let text = args.value.as_deref().unwrap_or_default();
    parse(text.as_bytes()).map_err(|e| usage(format!("VALUE is not JSON: {e}")))
}

fn conflict(tree: &Json) -> Result<(Option<Value>, Vec<Value>), Failure> {
    let sides = tree["sides"].as_array().filter(|sides| sides.len() >= 2);
    let sides = sides.ok_or_else(|| {
        usage("VALUE of on_conflict is {\"base\":VALUE,\"sides\":[VALUE,VALUE]}, with two sides or more")
    })?;
    let base = tree.get("base").map(of_wire).transpose()?;
    Ok((base, sides.iter().map(of_wire).collect::<Result<_, _>>()?))
}

fn state(namespace: &Namespace, tree: &Json) -> Result<StateChange, Failure> {
    let level = |name: &str| {
        let found = Level::ALL.into_iter().find(|level| tree[name] == level.as_str());
        found.ok_or_else(|| {
            let all = Level::ALL.map(Level::as_str).join(", ");
            usage(format!("VALUE of on_state has before and now, each one of {all}: not {tree}"))
        })
    };
    let reason = tree["reason"].as_str().unwrap_or_default().to_owned();
    Ok(StateChange {
        namespace: namespace.clone(),
        before: level("before")?,
        now: level("now")?,
        reason,
    })
}

fn usage(words: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, words)
}

fn tell(out: &mut Out, file: &Named, outcome: &Outcome) -> Result<(), Failure> {
    let mut tree = outcome::as_json(outcome);
    let us = (outcome.took.as_secs_f64() * 1e7).round() / 10.0;
    if out.json {
        tree["took_us"] = us.into();
        return out.json(&tree);
    }
    let mut say = |name: &str, words: &str| {
        out.line(&printable(&format!("{name:8} {}", file.here(words).replace('\n', "\\n"))))
    };
    match (&tree["value"], tree["refused"].is_null() && tree["failed"].is_null()) {
        (Json::Null, true) if outcome.value.is_none() => say("value", "unchanged")?,
        (Json::Null, _) if outcome.value.is_none() => {}
        (value, _) => say("value", &value.to_string())?,
    }
    if let Some(code) = tree["refused"]["code"].as_str() {
        let message = tree["refused"]["message"].as_str().unwrap_or_default();
        say("refused", &format!("{code}: {message}"))?;
    }
    if let Some(words) = tree["failed"].as_str() {
        say("failed", words)?;
    }
    for write in tree["writes"].as_array().into_iter().flatten() {
        match (write["put"].as_str(), write["delete"].as_str()) {
            (Some(object), _) => say("put", &format!("{object} {}", write["value"]))?,
            (None, object) => say("delete", object.unwrap_or_default())?,
        }
    }
    for line in &outcome.log {
        say(line.level.as_str(), &format!("{}: {}", line.at, line.text))?;
    }
    say("took", &format!("{us} us"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_named_as_scripts_name_them() {
        assert_eq!(hook("on_put"), Ok(Hook::OnPut));
        assert_eq!(hook("every"), Ok(Hook::Timer));
        assert!(hook("put").is_err_and(|words| words.contains("on_put, on_delete")));
    }

    #[test]
    fn what_is_no_conflict_or_state_is_a_matter_of_usage() {
        assert_eq!(conflict(&json!({"sides": [1]})).expect_err("one side").exit, Exit::Usage);
        assert_eq!(conflict(&json!({"base": 0, "sides": [1, 2]})).expect("a conflict").1.len(), 2);
        let notes = Namespace::new("notes").expect("a name");
        let failure = state(&notes, &json!({"before": "empty", "now": "x"})).expect_err("no state");
        assert!(failure.message.contains("empty, not_synced, synced"), "{}", failure.message);
    }
}
