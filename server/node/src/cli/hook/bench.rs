//! `hook bench`: what each hook of a script costs, beside the same event without one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use keepboth_core::name::Key;
use keepboth_core::plugin::{Level, StateChange};
use keepboth_core::value::Value;
use keepboth_lua::Hook;
use keepboth_lua::trial::{Event, Registered, Trial};
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::input::{self, Form};
use super::super::out::{Out, talk};
use super::super::table::Table;
use super::{Ground, Named, trial};

/// After so long a hook is not called again.
const WITHIN: Duration = Duration::from_secs(2);
/// Of so many calls one is no part of the result: memory and caches are not warm yet.
const WARM: u32 = 10;

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every hook is called on its own, up to --calls times or for 2 s. NO SCRIPT is the same put that no
script sees, RATIO the median over that. A call that refuses or fails counts all the same.

Examples:
  keepboth hook bench scripts/stamp.luau
  keepboth hook bench scripts/guard.luau --value '{\"title\":\"t\"}' --options '{\"required\":[\"title\"]}'"
)]
pub struct Bench {
    /// The script
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What is written; without it an object of 20 members and about 1 KiB
    #[arg(long, value_name = "JSON")]
    value: Option<String>,
    /// How often each hook is called
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u32).range(10..))]
    calls: u32,
    #[command(flatten)]
    ground: Ground,
}

/// The figures of one hook, in microseconds.
struct Row {
    hook: String,
    calls: usize,
    p50: f64,
    p99: f64,
    bare: Option<f64>,
    failed: usize,
}

/// Measures each hook and shows the figures.
pub fn run(args: &Bench, json: bool) -> Result<(), Failure> {
    let file = Named::of(&args.file)?;
    let value = match &args.value {
        Some(text) => input::value(Some(text), None, Form::default())?,
        None => sample(),
    };
    let value = Value::from_wire(&value).map_err(|e| Failure::new(Exit::Refused, e.message))?;
    let mut trial = trial(&file, &args.ground.namespace, &args.ground.options)?;
    let mut rows = Vec::new();
    let mut seen = Vec::new();
    for hook in trial.hooks() {
        let title = title(&hook);
        // All handlers of one kind run together.
        if !seen.contains(&title) {
            rows.push(measure(&mut trial, &hook, title.clone(), &value, args.calls)?);
            seen.push(title);
        }
    }
    show(&rows, json)?;
    for row in rows.iter().filter(|row| row.failed > 0) {
        talk(&format!(
            "{}: {} of {} calls were refused or failed",
            row.hook, row.failed, row.calls
        ));
    }
    Ok(())
}

fn title(hook: &Registered) -> String {
    match &hook.declared.timer {
        Some(timer) => format!("every {}", timer.text),
        None => hook.declared.hook.as_str().to_owned(),
    }
}

/// An object of 20 members, about 1 KiB.
fn sample() -> Json {
    let mut tree = json!({"title": "a title", "n": 5});
    for i in 0..18 {
        tree[format!("member{i}")] = json!("x".repeat(40));
    }
    tree
}

fn measure(
    trial: &mut Trial,
    hook: &Registered,
    title: String,
    value: &Value,
    calls: u32,
) -> Result<Row, Failure> {
    let key = Key::new("some/key").map_err(|e| Failure::new(Exit::Failure, e.message))?;
    let event = Event { old: Some(value.clone()), ..Event::new(key.clone()) };
    let mut failed = 0;
    let took = repeated(calls, || {
        let outcome = match hook.declared.hook {
            Hook::OnPut => trial.put(&event, value.clone()),
            Hook::OnDelete => trial.delete(&event),
            Hook::AfterPut => trial.after(&event, Some(value.clone())),
            Hook::AfterDelete => trial.after(&event, None),
            Hook::OnConflict => {
                let sides = vec![value.clone(), value.clone()];
                trial.conflict(&key, Some(value.clone()), sides)
            }
            Hook::OnState => {
                let namespace = trial.namespace().clone();
                let (before, now) = (Level::Empty, Level::NotSynced);
                trial.state(&StateChange { namespace, before, now, reason: String::new() })
            }
            Hook::Timer => trial.timer(hook, event.now),
        };
        failed += usize::from(outcome.refused.is_some() || outcome.failed.is_some());
        outcome.took
    });
    let bare = (hook.declared.hook == Hook::OnPut)
        .then(|| repeated(calls, || trial.bare_put(&event, value.clone())));
    Ok(Row {
        hook: title,
        calls: took.len(),
        p50: within(&took, 50),
        p99: within(&took, 99),
        bare: bare.map(|took| within(&took, 50)),
        failed,
    })
}

/// The times of calls, sorted.
fn repeated(calls: u32, mut call: impl FnMut() -> Duration) -> Vec<Duration> {
    let (started, mut took) = (Instant::now(), Vec::new());
    for number in 0..calls + calls / WARM {
        let time = call();
        if number >= calls / WARM {
            took.push(time);
        }
        if started.elapsed() > WITHIN && !took.is_empty() {
            break;
        }
    }
    took.sort();
    took
}

/// The time within which so many of a hundred calls ended, in microseconds.
fn within(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn show(rows: &[Row], json: bool) -> Result<(), Failure> {
    let mut out = Out::new(json);
    let mut table = Table::new(&["HOOK", "CALLS", "P50", "P99", "NO SCRIPT", "RATIO"]);
    for row in rows {
        let ratio = row.bare.map(|bare| row.p50 / bare.max(0.001));
        if json {
            let round = |us: f64| (us * 1e3).round() / 1e3;
            out.json(&json!({
                "hook": row.hook,
                "calls": row.calls,
                "failed": row.failed,
                "p50_us": round(row.p50),
                "p99_us": round(row.p99),
                "no_script_us": row.bare.map(round),
                "ratio": ratio.map(round),
            }))?;
            continue;
        }
        let us = |us: f64| format!("{us:.2} us");
        let dash = || "-".to_owned();
        table.row([
            row.hook.clone(),
            row.calls.to_string(),
            us(row.p50),
            us(row.p99),
            row.bare.map_or_else(dash, us),
            ratio.map_or_else(dash, |ratio| format!("{ratio:.1}")),
        ]);
    }
    if !json {
        table.write(&mut out, "no hooks")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!((within(&times, 50), within(&times, 99)), (50.0, 99.0));
        assert_eq!(within(&times[..1], 99), 1.0);
        assert_eq!(within(&[], 50), 0.0);
    }
}
