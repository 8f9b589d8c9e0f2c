//! When an object ends: by its own fields, by its key, or by the namespace. The first that says it holds.

use std::time::Duration;

use jiff::Timestamp;
use keepboth_core::pattern::Pattern;
use keepboth_core::period;
use serde_json::Value as Json;

/// What `field` should hold.
const MOMENT_FORM: &str =
    "a time like \"2026-12-31T23:59:59Z\" (RFC 3339) or milliseconds since 1970";

/// What objects last.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The member of values that says when they end.
    pub field: Option<String>,
    /// The member of values that says how long they last from their last change on.
    pub ttl_field: Option<String>,
    /// How long objects last by their key, in the order in which patterns are asked; None is for ever.
    pub keys: Vec<(Pattern, Option<Duration>)>,
    /// How long all others last.
    pub after: Option<Duration>,
}

impl Rules {
    /// True if values have to be read.
    pub fn look_into_values(&self) -> bool {
        self.field.is_some() || self.ttl_field.is_some()
    }

    /// When an object ends that was last changed at `changed`, both in milliseconds since 1970; None if
    /// never. A member that is no time does not count: what came from elsewhere was not checked here.
    pub fn end(&self, key: &str, value: Option<&Json>, changed: u64) -> Option<u64> {
        if let Some(Ok(Some(end))) = value.map(|value| self.own_end(value, changed)) {
            return Some(end);
        }
        let by_key = self.keys.iter().find(|(pattern, _)| pattern.matches(key));
        let lasts = by_key.map_or(self.after, |(_, lasts)| *lasts)?;
        Some(changed.saturating_add(ms(lasts)))
    }

    /// When a value ends by its own members; None if they say nothing. Of both the earlier end counts.
    /// An error names the member and what would be right.
    pub fn own_end(&self, value: &Json, changed: u64) -> Result<Option<u64>, String> {
        let member = |name: &Option<String>| {
            let name = name.as_ref()?;
            value.get(name).filter(|member| !member.is_null()).map(|member| (name.clone(), member))
        };
        let at = member(&self.field).map(|(name, member)| moment(&name, member)).transpose()?;
        let lasts = member(&self.ttl_field).map(|(name, member)| lasting(&name, member));
        let lasts = lasts.transpose()?.map(|lasts| changed.saturating_add(lasts));
        Ok([at, lasts].into_iter().flatten().min())
    }
}

fn moment(name: &str, member: &Json) -> Result<u64, String> {
    let text = || {
        let time: Timestamp = member.as_str()?.parse().ok()?;
        // What ended before 1970 has ended.
        Some(u64::try_from(time.as_millisecond()).unwrap_or(0))
    };
    let wrong = || format!("{name} is {}, not {MOMENT_FORM}", shown(member));
    whole(member).or_else(text).ok_or_else(wrong)
}

/// Milliseconds, in whichever form a client writes whole numbers: `5` and `5.0` are the same value.
fn whole(member: &Json) -> Option<u64> {
    let float = || {
        let ms = member.as_f64()?;
        let fits = ms.fract() == 0.0 && (0.0..u64::MAX as f64).contains(&ms);
        fits.then_some(ms as u64)
    };
    member.as_u64().or_else(float)
}

fn lasting(name: &str, member: &Json) -> Result<u64, String> {
    let text = || period::parse(member.as_str()?).ok().map(ms);
    let wrong =
        || format!("{name} is {}, not milliseconds or a text: {}", shown(member), period::FORM);
    whole(member).or_else(text).ok_or_else(wrong)
}

fn shown(member: &Json) -> String {
    member.to_string().chars().take(40).collect()
}

fn ms(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules {
            field: Some("expires_at".into()),
            ttl_field: Some("ttl".into()),
            keys: vec![
                (Pattern::new("keep/*"), None),
                (Pattern::new("session/*"), Some(Duration::from_secs(1))),
            ],
            after: Some(Duration::from_secs(60)),
        }
    }

    #[test]
    fn an_object_says_itself_when_it_ends_then_its_key_then_the_namespace() {
        for (key, value, end) in [
            ("a", json!({}), Some(61_000)),
            ("a", json!("text"), Some(61_000)),
            ("session/1", json!({}), Some(2_000)),
            ("keep/1", json!({}), None),
            ("keep/1", json!({"expires_at": 5}), Some(5)),
            ("a", json!({"expires_at": "1970-01-01T00:00:07Z"}), Some(7_000)),
            ("a", json!({"expires_at": "1970-01-01T01:00:07+01:00"}), Some(7_000)),
            ("a", json!({"expires_at": "1969-01-01T00:00:00Z"}), Some(0)),
            ("a", json!({"ttl": 500}), Some(1_500)),
            ("a", json!({"ttl": "2h"}), Some(7_201_000)),
            ("a", json!({"ttl": 500, "expires_at": 1_200}), Some(1_200)),
            ("a", json!({"ttl": null, "expires_at": null}), Some(61_000)),
            ("session/1", json!({"expires_at": "tomorrow"}), Some(2_000)),
        ] {
            assert_eq!(rules().end(key, Some(&value), 1_000), end, "{key} {value}");
        }
        assert_eq!(rules().end("a", None, u64::MAX), Some(u64::MAX), "no time overflows");
        assert_eq!(Rules::default().end("a", Some(&json!({"expires_at": 5})), 0), None);
    }

    #[test]
    fn a_whole_number_is_the_same_time_in_every_form() {
        for (value, end) in [
            (json!({"expires_at": 1_900_000_000_000.0}), 1_900_000_000_000),
            (json!({"expires_at": 1e18}), 1_000_000_000_000_000_000),
            (json!({"expires_at": -0.0}), 0),
            (json!({"ttl": 500.0}), 1_500),
        ] {
            assert_eq!(rules().own_end(&value, 1_000), Ok(Some(end)), "{value}");
        }
    }

    #[test]
    fn a_member_that_is_no_time_is_told_with_what_would_be_right() {
        for (value, said) in [
            (json!({"expires_at": "tomorrow"}), "expires_at is \"tomorrow\", not a time like"),
            (json!({"expires_at": -1}), "expires_at is -1"),
            (json!({"expires_at": 1.5}), "expires_at is 1.5"),
            (json!({"expires_at": -1.0}), "expires_at is -1.0"),
            (json!({"expires_at": 1e20}), "expires_at is 1e+20"),
            (json!({"ttl": "soon"}), "ttl is \"soon\", not milliseconds or a text"),
            (json!({"ttl": {}}), "ttl is {}"),
        ] {
            let words = rules().own_end(&value, 0).expect_err("refused");
            assert!(words.starts_with(said), "{words}");
        }
    }
}
