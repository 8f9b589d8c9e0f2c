//! When a write is answered, as people write it: `"sync"`, `"interval 50ms"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use keepboth_core::unit::Period;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the disk.
    #[default]
    Sync,
    /// At once; it is on the disk after this time at the latest.
    Interval(Period),
}

/// Longest time for which answered writes may wait for the disk.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What a durability should look like.
pub(super) const DURABILITY_FORM: &str =
    "it is \"sync\", or \"interval 50ms\" with a period of 1ms to 1m";

impl FromStr for Durability {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Durability, &'static str> {
        if text == "sync" {
            return Ok(Durability::Sync);
        }
        let period = text.strip_prefix("interval ").ok_or(DURABILITY_FORM)?;
        let period: Period = period.trim_start_matches(' ').parse().map_err(|_| DURABILITY_FORM)?;
        let fits = !period.get().is_zero() && period.get() <= INTERVAL_MAX;
        if fits { Ok(Durability::Interval(period)) } else { Err(DURABILITY_FORM) }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Durability::Sync => f.write_str("sync"),
            Durability::Interval(period) => write!(f, "interval {period}"),
        }
    }
}

impl From<Durability> for keepboth_store::Durability {
    fn from(durability: Durability) -> keepboth_store::Durability {
        match durability {
            Durability::Sync => keepboth_store::Durability::Sync,
            Durability::Interval(period) => keepboth_store::Durability::Interval(period.get()),
        }
    }
}

impl Serialize for Durability {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Durability {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Durability, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Durability {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Durability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "durability",
            "pattern": "^(sync|interval +[0-9]+ *(ms|s|m))$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_is_read_and_comes_back() {
        for (text, durability, again) in [
            ("sync", Durability::Sync, "sync"),
            ("interval 50ms", Durability::Interval(Period::millis(50)), "interval 50ms"),
            ("interval  1000 ms", Durability::Interval(Period::secs(1)), "interval 1s"),
            ("interval 1m", Durability::Interval(Period::secs(60)), "interval 1m"),
        ] {
            assert_eq!(text.parse(), Ok(durability), "{text}");
            assert_eq!(durability.to_string(), again);
            assert_eq!(again.parse(), Ok(durability));
        }
    }

    #[test]
    fn what_is_no_durability_is_refused() {
        for text in
            ["", "none", "Sync", "interval", "interval 0ms", "interval 61s", "interval 50", "50ms"]
        {
            assert_eq!(text.parse::<Durability>(), Err(DURABILITY_FORM), "{text:?}");
        }
    }
}
