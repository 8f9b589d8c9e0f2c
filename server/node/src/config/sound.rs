//! What is left of settings without what is faulty in them, so that the rest can be looked at as well.

use serde_json::Value as Json;

use super::mistake::{Mistake, find};
use super::tree::{parts, pointer as join};

/// How often something may be taken out that made something else incomplete.
const ROUNDS_MAX: usize = 8;

/// The settings without what these mistakes are about, and without what cannot be without it. None if nothing
/// is left that the schema takes. `base` is the pointer at which the settings stand in the file.
pub(super) fn sound_part(
    schema: &Json,
    settings: &Json,
    mistakes: &[Mistake],
    base: &str,
) -> Option<Json> {
    let mut left = settings.clone();
    let at = |mistake: &Mistake| mistake.pointer.get(base.len()..).map(str::to_owned);
    let mut faulty: Vec<String> = mistakes.iter().filter_map(at).collect();
    for _ in 0..ROUNDS_MAX {
        for pointer in &faulty {
            take_out(&mut left, pointer)?;
        }
        faulty = find(schema, &left, "").into_iter().map(|mistake| mistake.pointer).collect();
        if faulty.is_empty() {
            return Some(left);
        }
    }
    None
}

/// Takes a member out; of a list all of it, or the pointers behind it would name their neighbours. None if
/// that is everything.
fn take_out(settings: &mut Json, pointer: &str) -> Option<()> {
    let mut keys = parts(pointer);
    while let Some(last) = keys.pop() {
        match settings.pointer_mut(&join(&keys)) {
            Some(Json::Object(members)) => {
                members.remove(&last);
                return Some(());
            }
            // What is not there any more was taken out with something else.
            None => return Some(()),
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn left(settings: Json) -> Option<Json> {
        let target = json!({"type": "object", "required": ["url"], "additionalProperties": false,
            "properties": {"url": {"type": "string"}, "wait": {"type": "integer"}}});
        let schema = json!({"type": "object", "required": ["targets"], "additionalProperties": false,
            "properties": {"keys": {"type": "array", "items": {"type": "string"}}, "strict": {"type": "boolean"},
                "targets": {"type": "object", "minProperties": 1, "additionalProperties": target}}});
        let mistakes = find(&schema, &settings, "/plugins/3");
        sound_part(&schema, &settings, &mistakes, "/plugins/3")
    }

    #[test]
    fn only_what_is_faulty_goes_and_what_needs_it() {
        let good = json!({"url": "u"});
        for (settings, expected) in [
            (
                json!({"targets": {"a": good}, "strict": 5, "typo": 1}),
                json!({"targets": {"a": good}}),
            ),
            (
                json!({"targets": {"a": good}, "keys": ["a", 5, "b"]}),
                json!({"targets": {"a": good}}),
            ),
            (json!({"targets": {"a": good, "b": {"url": 5}}}), json!({"targets": {"a": good}})),
            (
                json!({"targets": {"a": good, "b": {"url": "v", "wait": "long", "wiat": 1}}}),
                json!({"targets": {"a": good, "b": {"url": "v"}}}),
            ),
        ] {
            assert_eq!(left(settings.clone()), Some(expected), "{settings}");
        }
        for settings in
            [json!({}), json!([]), json!({"targets": {"b": {"url": 5}}}), json!({"targets": 5})]
        {
            assert_eq!(left(settings.clone()), None, "{settings}");
        }
    }
}
