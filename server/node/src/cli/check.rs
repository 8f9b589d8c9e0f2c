//! `check`: all mistakes of the configuration at once, without starting anything.

use std::path::PathBuf;

use keepboth_core::plugin::Factory;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::out::{Out, talk};
use crate::config::{Config, ConfigError, ConfigErrors};

/// What to check.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Schemas and scripts are compiled too. Nothing is opened, started or dialled.
Exit code 0 if all is well, 78 if not."
)]
pub struct Check {
    /// The configuration file; without it the defaults and the environment are checked
    #[arg(long, short, env = "KEEPBOTH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Reports every mistake.
pub fn run(args: &Check, factories: &[Factory], json: bool) -> Result<(), Failure> {
    let checked = Config::load_and_check(args.config.as_deref(), factories);
    if json {
        let mut out = Out::new(json);
        out.json(&report(checked.as_ref().err()))?;
        out.flush()?;
    }
    match checked {
        Ok((loaded, _)) => {
            if !json {
                let count = loaded.config.namespaces.len();
                talk(&format!("the configuration is sound; namespaces: {count}"));
            }
            Ok(())
        }
        Err(errors) => {
            if !json {
                talk(&errors.to_string());
            }
            Err(Failure::quiet(Exit::Config))
        }
    }
}

fn report(errors: Option<&ConfigErrors>) -> Json {
    let errors = errors.map(|errors| errors.0.as_slice()).unwrap_or_default();
    let errors_json: Vec<Json> = errors.iter().map(one).collect();
    json!({"ok": errors.is_empty(), "errors": errors_json})
}

fn one(error: &ConfigError) -> Json {
    let place = error.place.as_ref();
    json!({
        "file": place.map(|place| &place.file),
        "line": place.and_then(|place| place.line),
        "column": place.map(|place| place.column),
        "message": error.message,
        "hint": error.hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_reported_for_programs() {
        assert_eq!(report(None), json!({"ok": true, "errors": []}));
        let errors = ConfigErrors(vec![ConfigError::new("wrong")]);
        let report = report(Some(&errors));
        assert_eq!(report["ok"], json!(false));
        assert_eq!(report["errors"][0]["message"], "wrong");
    }
}
