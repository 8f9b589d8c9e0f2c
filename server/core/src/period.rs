//! Periods of time as people write them: `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"30d"`.

use core::time::Duration;

/// What a period should look like.
pub const FORM: &str =
    "a period is a whole number and its unit: \"250ms\", \"30s\", \"5m\", \"12h\", \"30d\"";

/// The units in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A hundred years: adding it to any time of this century overflows nothing.
const MS_MAX: u64 = 36_500 * 86_400_000;

/// Reads a period; it always has a unit. Otherwise says what would be right.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = text[end..].trim_start_matches(' ');
    let n: u64 = text[..end].parse().map_err(|_| FORM)?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(FORM)?;
    match n.checked_mul(*factor).ok_or(FORM)? {
        ms if ms <= MS_MAX => Ok(Duration::from_millis(ms)),
        _ => Err("a period is at most 36500d"),
    }
}

/// Writes a period with the largest unit that divides it.
pub fn text(period: Duration) -> String {
    let n = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let fits = |factor: &u64| n != 0 && n.is_multiple_of(*factor);
    let (unit, factor) = UNITS.into_iter().find(|(_, f)| fits(f)).unwrap_or(("s", 1_000));
    format!("{}{unit}", n / factor)
}
