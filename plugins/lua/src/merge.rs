//! The three-way merge of JSON values: pure, on trees.

use serde_json::{Map, Value as Json};

/// Decides where both sides changed the same thing differently: path, base and the two sides (None:
/// not there). None leaves the clash.
pub type Decide<'a, E> =
    dyn FnMut(&str, Option<&Json>, Option<&Json>, Option<&Json>) -> Result<Option<Json>, E> + 'a;

/// What came out at one place.
enum Merged {
    Value(Json),
    Gone,
    Clash,
}

/// Merges two values that were one: what only one side changed is taken, and what both changed
/// alike. None where they clash and `decide` leaves it. Objects are merged member by member, all
/// else is whole; removing a member is a change like any other.
pub fn merge3<E>(
    base: Option<&Json>,
    a: Option<&Json>,
    b: Option<&Json>,
    decide: &mut Decide<'_, E>,
) -> Result<Option<Json>, E> {
    match merge_at(&mut String::new(), base, a, b, decide)? {
        Merged::Value(json) => Ok(Some(json)),
        Merged::Gone | Merged::Clash => Ok(None),
    }
}

fn merge_at<E>(
    path: &mut String,
    base: Option<&Json>,
    a: Option<&Json>,
    b: Option<&Json>,
    decide: &mut Decide<'_, E>,
) -> Result<Merged, E> {
    let taken = |side: Option<&Json>| side.cloned().map_or(Merged::Gone, Merged::Value);
    match (a, b) {
        _ if a == b || b == base => Ok(taken(a)),
        _ if a == base => Ok(taken(b)),
        (Some(Json::Object(a)), Some(Json::Object(b))) => {
            let nothing = Map::new();
            let base = base.and_then(Json::as_object).unwrap_or(&nothing);
            merge_members(path, base, a, b, decide)
        }
        _ => Ok(decide(path, base, a, b)?.map_or(Merged::Clash, Merged::Value)),
    }
}

fn merge_members<E>(
    path: &mut String,
    base: &Map<String, Json>,
    a: &Map<String, Json>,
    b: &Map<String, Json>,
    decide: &mut Decide<'_, E>,
) -> Result<Merged, E> {
    let mut merged = Map::new();
    let mut keys: Vec<&String> = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))).collect();
    keys.sort();
    for key in keys {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        let member = merge_at(path, base.get(key), a.get(key), b.get(key), decide)?;
        path.truncate(length);
        match member {
            Merged::Value(json) => {
                merged.insert(key.clone(), json);
            }
            Merged::Gone => {}
            Merged::Clash => return Ok(Merged::Clash),
        }
    }
    Ok(Merged::Value(Json::Object(merged)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(base: Json, a: Json, b: Json) -> Option<Json> {
        merge3::<()>(Some(&base), Some(&a), Some(&b), &mut |_, _, _, _| Ok(None)).expect("merged")
    }

    #[test]
    fn changes_of_one_side_and_equal_changes_are_taken() {
        let base = json!({"a": 1, "b": {"x": 1, "y": 2}, "gone": 1, "list": [1]});
        let a = json!({"a": 2, "b": {"x": 1, "y": 3}, "list": [1], "same": true});
        let b = json!({"a": 1, "b": {"x": 9, "y": 2}, "gone": 1, "list": [1, 2], "same": true});
        let both = json!({"a": 2, "b": {"x": 9, "y": 3}, "list": [1, 2], "same": true});
        assert_eq!(merged(base.clone(), a.clone(), b.clone()), Some(both.clone()));
        assert_eq!(merged(base, b, a), Some(both));
    }

    #[test]
    fn different_changes_of_one_thing_clash() {
        assert_eq!(merged(json!({"a": 1}), json!({"a": 2}), json!({"a": 3})), None);
        assert_eq!(merged(json!({"a": [1]}), json!({"a": [2]}), json!({"a": [1, 3]})), None);
        assert_eq!(
            merged(json!({"a": 1}), json!({}), json!({"a": 3})),
            None,
            "removed and changed"
        );
        assert_eq!(merged(json!("x"), json!("y"), json!("z")), None);
    }

    #[test]
    fn a_decision_is_asked_for_with_path_and_all_three() {
        let (base, a, b) = (json!({"a": {"n": 1}}), json!({"a": {"n": 5}}), json!({"a": {"n": 3}}));
        let mut asked = Vec::new();
        let out = merge3::<()>(Some(&base), Some(&a), Some(&b), &mut |path, base, a, b| {
            asked.push((path.to_owned(), base.cloned(), a.cloned(), b.cloned()));
            Ok(Some(json!("decided")))
        });
        assert_eq!(out, Ok(Some(json!({"a": {"n": "decided"}}))));
        let three = (Some(json!(1)), Some(json!(5)), Some(json!(3)));
        assert_eq!(asked, [("a.n".to_owned(), three.0, three.1, three.2)]);
    }
}
