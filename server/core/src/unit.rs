//! Sizes and periods as people write them: `"64 KiB"`, `"250ms"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::period;

/// A number of bytes: `"64 KiB"`, `"1 MiB"`, `"500 kB"` or a plain integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub usize);

/// A period of time: `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"30d"`. It always has a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// The units of a size, the largest that divides a size first.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// What a size should look like.
pub const SIZE_FORM: &str =
    "a size is a whole number of bytes or has a unit: 65536, \"64 KiB\", \"1 MiB\", \"500 kB\"";

impl Bytes {
    /// The number of bytes.
    pub const fn get(self) -> usize {
        self.0
    }

    /// So many KiB.
    pub const fn kib(n: usize) -> Bytes {
        Bytes(n << 10)
    }
}

impl Period {
    /// The period as the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// So many milliseconds.
    pub const fn millis(n: u64) -> Period {
        Period(Duration::from_millis(n))
    }

    /// So many seconds.
    pub const fn secs(n: u64) -> Period {
        Period(Duration::from_secs(n))
    }

    /// So many days.
    pub const fn days(n: u64) -> Period {
        Period::secs(n * 86_400)
    }
}

impl FromStr for Bytes {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Bytes, &'static str> {
        let (n, unit) = split(text).ok_or(SIZE_FORM)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let size = scaled(n, unit, &SIZES).ok_or(SIZE_FORM)?;
        usize::try_from(size).map(Bytes).map_err(|_| SIZE_FORM)
    }
}

impl FromStr for Period {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Period, &'static str> {
        period::parse(text).map(Period)
    }
}

/// The digits and the unit of a text.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let n = text[..end].parse().ok()?;
    Some((n, text[end..].trim_start_matches(' ')))
}

fn scaled(n: u64, unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    n.checked_mul(*factor)
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 as u64;
        let fits = |factor: &u64| n != 0 && n.is_multiple_of(*factor);
        let (unit, factor) = SIZES.into_iter().find(|(_, f)| fits(f)).unwrap_or(("B", 1));
        write!(f, "{} {unit}", n / factor)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&period::text(self.0))
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Duration {
        period.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Count(usize),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::Count(n) => Ok(Bytes(n)),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Period, D::Error> {
        let text = Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": "size",
            "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|kB|MB|GB)?$",
            "minimum": 0,
        })
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "period",
            "pattern": "^[0-9]+ *(ms|s|m|h|d)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_come_back() {
        for (text, size, again) in [
            ("64 KiB", 65_536, "64 KiB"),
            ("64KiB", 65_536, "64 KiB"),
            ("65536", 65_536, "64 KiB"),
            ("1 MiB", 1_048_576, "1 MiB"),
            ("500 kB", 500_000, "500000 B"),
            ("65539 B", 65_539, "65539 B"),
            ("0", 0, "0 B"),
        ] {
            let bytes: Bytes = text.parse().expect(text);
            assert_eq!((bytes.get(), bytes.to_string().as_str()), (size, again));
            assert_eq!(again.parse(), Ok(bytes));
        }
    }

    #[test]
    fn periods_are_read_and_come_back() {
        for (text, ms, again) in [
            ("250ms", 250, "250ms"),
            ("1000 ms", 1_000, "1s"),
            ("90s", 90_000, "90s"),
            ("5m", 300_000, "5m"),
            ("24h", 86_400_000, "1d"),
            ("30d", 2_592_000_000, "30d"),
            ("0s", 0, "0s"),
        ] {
            let period: Period = text.parse().expect(text);
            assert_eq!((period, period.to_string().as_str()), (Period::millis(ms), again));
            assert_eq!(again.parse(), Ok(period));
        }
    }

    #[test]
    fn what_is_no_size_or_period_is_refused() {
        for text in ["", "KiB", "1.5 MiB", "-1", "1 kib", "1 MiB ", "99999999999 GiB", "1e3"] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?}");
        }
        for text in ["", "30", "s", "1.5s", "-1s", "1 week", "1S", "99999999999d", "36501d"] {
            assert!(text.parse::<Period>().is_err(), "{text:?}");
        }
    }
}
