//! What an answer means, and when it is tried again.

use std::time::{Duration, SystemTime};

use crate::settings::Declared;

/// The longest time that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Done,
    /// It is tried again, not before this time if the receiver named one.
    Again {
        /// Why.
        why: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
    /// It was not sent, for there is a newer change of its key, which is told.
    Overtaken,
    /// It never will be taken.
    Dead(String),
}

/// What a status means. `retry_after` is the header of that name; the time is in milliseconds since 1970.
pub fn of(status: u16, retry_after: Option<&str>, now: u64) -> Verdict {
    match status {
        200..=299 => Verdict::Done,
        408 | 429 | 500..=599 => {
            let after = retry_after.and_then(|text| wanted(text, now));
            Verdict::Again { why: format!("it answered {status}"), after }
        }
        300..=399 => Verdict::Dead(format!("it answered {status}, and redirects are not followed")),
        _ => Verdict::Dead(format!("it answered {status}")),
    }
}

/// The pause that a `Retry-After` asks for: seconds, or a date.
fn wanted(text: &str, now: u64) -> Option<Duration> {
    let after = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text.trim()).ok()?;
            let at = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            at.saturating_sub(Duration::from_millis(now))
        }
    };
    Some(after.min(RETRY_AFTER_MAX))
}

/// The milliseconds until the next attempt after so many: they double up to a bound, and chance, from 0 to
/// the largest number, takes up to a half of them, so that many do not come back at once.
pub fn pause(declared: &Declared, attempts: u32, after: Option<Duration>, chance: u64) -> u64 {
    let ms = |period: Duration| u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let (min, max) = (ms(declared.retry_min.get()), ms(declared.retry_max.get()));
    let doubled = 2_u64.checked_pow(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
    let pause = min.saturating_mul(doubled).min(max).max(1);
    let part = u128::from(pause / 2) * u128::from(chance) / u128::from(u64::MAX);
    let pause = pause - u64::try_from(part).unwrap_or_default();
    pause.max(after.map(ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_status_has_its_meaning() {
        for status in [200, 202, 204] {
            assert_eq!(of(status, None, 0), Verdict::Done);
        }
        for status in [408, 429, 500, 502, 503, 599] {
            let why = format!("it answered {status}");
            assert_eq!(of(status, None, 0), Verdict::Again { why, after: None });
        }
        for status in [300, 302, 400, 401, 404, 410, 422, 101, 999] {
            assert!(matches!(of(status, None, 0), Verdict::Dead(_)), "{status}");
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_in_seconds_or_until_a_date() {
        let after = |text: &str, now: u64| match of(503, Some(text), now) {
            Verdict::Again { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120", 0), Some(Duration::from_secs(120)));
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(after(date, 946_684_794_000), Some(Duration::from_secs(5)));
        assert_eq!(after(date, 946_684_900_000), Some(Duration::ZERO), "it is over");
        assert_eq!(after("99999999", 0), Some(RETRY_AFTER_MAX));
        assert_eq!(after("soon", 0), None);
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_chance_takes_up_to_a_half() {
        let declared: Declared =
            serde_json::from_value(json!({"url": "", "retry_min": "100ms", "retry_max": "1s"}))
                .expect("settings");
        let pauses = |chance| [1, 2, 3, 4, 5, 99].map(|n| pause(&declared, n, None, chance));
        assert_eq!(pauses(0), [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(pauses(u64::MAX), [50, 100, 200, 400, 500, 500]);
        assert_eq!(pause(&declared, 1, Some(Duration::from_secs(7)), 0), 7_000);
    }
}
