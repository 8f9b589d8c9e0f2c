//! Where two trees of JSON differ.

use serde_json::Value as Json;

use crate::lent::step;
use crate::words::one_line;

/// Most bytes of a value in words.
const SHOWN_MAX: usize = 200;

/// A place at which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The way to it, like `.items[2].title`; empty for the whole.
    pub path: String,
    /// What stands there in the first tree; None if nothing does.
    pub before: Option<Json>,
    /// What stands there in the second one.
    pub after: Option<Json>,
}

impl Difference {
    /// What was there and what is, each in a line that is cut.
    pub fn words(&self) -> (Option<String>, Option<String>) {
        let shown =
            |json: &Option<Json>| json.as_ref().map(|json| one_line(&json.to_string(), SHOWN_MAX));
        (shown(&self.before), shown(&self.after))
    }
}

/// All places at which they differ, as deep as both have the same form.
pub fn differences(before: &Json, after: &Json) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(path: &str, before: Option<&Json>, after: Option<&Json>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Json::Object(one)), Some(Json::Object(other))) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                compare(&format!("{path}{}", step(key)), one.get(key), other.get(key), found);
            }
        }
        (Some(Json::Array(one)), Some(Json::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                compare(&format!("{path}[{}]", at + 1), one.get(at), other.get(at), found);
            }
        }
        _ if before == after => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_place_that_differs_is_told_with_what_stood_there() {
        let before = json!({"a": 1, "b": [1, {"c": 2}], "gone": true, "same": [1]});
        let after = json!({"a": 2, "b": [1, {"c": 3}, 4], "same": [1], "new": {}});
        let found = differences(&before, &after);
        let told: Vec<_> = found.iter().map(|d| (d.path.as_str(), d.words())).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (".a", (some("1"), some("2"))),
                (".b[2].c", (some("2"), some("3"))),
                (".b[3]", (None, some("4"))),
                (".gone", (some("true"), None)),
                (".new", (None, some("{}"))),
            ]
        );
        assert_eq!(differences(&json!(1), &json!([1]))[0].path, "");
        assert!(differences(&before, &before).is_empty());
    }
}
