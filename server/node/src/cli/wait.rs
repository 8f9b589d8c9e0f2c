//! `--wait`: a write that is to be on other nodes too before the command ends.

use std::str::FromStr;

use keepboth_core::limits::figure;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::session::Session;
use keepboth_core::unit::Period;

/// For which other nodes the command waits.
#[derive(Debug, Clone, clap::Args)]
pub struct Wait {
    /// Wait until so many other nodes have it, or all: exit code 10 if that takes too long
    #[arg(long, value_name = "all|COUNT")]
    wait: Option<Members>,
    /// How long to wait: at most 60s
    #[arg(long, value_name = "PERIOD", requires = "wait", default_value = "5s")]
    wait_for: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Members {
    All,
    Count(u32),
}

impl FromStr for Members {
    type Err = String;

    fn from_str(text: &str) -> Result<Members, String> {
        match text.parse() {
            Ok(count @ 1..) => Ok(Members::Count(count)),
            _ if text == "all" => Ok(Members::All),
            _ => Err("it is all, or a whole number of at least 1".into()),
        }
    }
}

impl Wait {
    /// Adds it to the arguments of a method.
    pub fn add_to(&self, arguments: &mut Json) {
        arguments["wait"] = match self.wait {
            None => return,
            Some(Members::All) => json!("all"),
            Some(Members::Count(count)) => json!(count),
        };
        arguments["wait_ms"] = ms(&self.wait_for).into();
    }
}

/// A period for the protocol.
pub fn ms(period: &Period) -> u64 {
    u64::try_from(period.get().as_millis()).unwrap_or(u64::MAX)
}

impl Session {
    /// Says what a write made, and fails if it has not come as far as was asked for.
    pub fn written_and_reached(&mut self, answer: &Json) -> Result<(), Failure> {
        self.written(answer)?;
        let reached = &answer["reached"];
        if reached.is_null() || reached["enough"] == json!(true) {
            return Ok(());
        }
        let nodes = |name: &str| reached[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let (have, missing) = (nodes("nodes").len(), nodes("missing"));
        let words = format!(
            "it is durable here, and {} of {} other nodes were heard to have it in time",
            figure(have),
            figure(have + missing.len())
        );
        let missing: Vec<&str> = missing.iter().filter_map(Json::as_str).collect();
        let failure = Failure::new(Exit::NotEverywhere, words);
        Err(match missing.is_empty() {
            true => failure,
            false => failure.hint(format!("not heard of: {}", missing.join(", "))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_a_number_of_nodes_can_be_waited_for() {
        assert_eq!("all".parse(), Ok(Members::All));
        assert_eq!("2".parse(), Ok(Members::Count(2)));
        for text in ["0", "-1", "some", "", "1.5"] {
            assert!(text.parse::<Members>().is_err(), "{text}");
        }
        let mut arguments = json!({});
        Wait::default_for("all").add_to(&mut arguments);
        assert_eq!(arguments, json!({"wait": "all", "wait_ms": 5_000}));
    }

    impl Wait {
        fn default_for(text: &str) -> Wait {
            let wait_for = "5s".parse().expect("a period");
            Wait { wait: Some(text.parse().expect("members")), wait_for }
        }
    }
}
