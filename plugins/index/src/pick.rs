//! What an index has of a value: the scalar at its path, or those of the array there.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::order::encode;

/// Most values that one object has in one index.
pub const PICKED_MAX: usize = 1_000;

/// The scalars at a path as bytes, each once. None at a path that leads nowhere or to an object; of an
/// array those of its elements that are scalars, at most 1,000 different ones. The flag is true if there
/// were more.
pub fn pick(tree: &Json, path: &str) -> (BTreeSet<Vec<u8>>, bool) {
    let mut picked = BTreeSet::new();
    let found = match tree.pointer(path) {
        Some(Json::Array(elements)) => elements.as_slice(),
        Some(scalar) => std::slice::from_ref(scalar),
        None => &[],
    };
    for scalar in found.iter().filter_map(encode) {
        if picked.len() == PICKED_MAX && !picked.contains(&scalar) {
            return (picked, true);
        }
        picked.insert(scalar);
    }
    (picked, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn picked(tree: Json, path: &str) -> Vec<Json> {
        let (picked, _) = pick(&tree, path);
        picked.iter().filter_map(|bytes| Some(crate::order::decode(bytes)?.0)).collect()
    }

    #[test]
    fn a_path_leads_to_a_scalar_to_the_elements_of_an_array_or_nowhere() {
        let tree =
            json!({"a": {"b/c": "x"}, "tags": ["t", 1, "t", null, [2], {"d": 3}], "n": null});
        assert_eq!(picked(tree.clone(), "/a/b~1c"), [json!("x")]);
        assert_eq!(picked(tree.clone(), "/tags"), [json!(null), json!(1.0), json!("t")]);
        assert_eq!(picked(tree.clone(), "/tags/0"), [json!("t")]);
        assert_eq!(picked(tree.clone(), "/n"), [json!(null)]);
        for nowhere in ["/a", "/z", "/a/b/c", "/tags/9", ""] {
            assert!(picked(tree.clone(), nowhere).is_empty(), "{nowhere}");
        }
        assert_eq!(picked(json!("whole"), ""), [json!("whole")]);
    }

    #[test]
    fn of_a_long_array_the_first_different_elements_are_taken() {
        let elements: Vec<Json> = (0..PICKED_MAX).flat_map(|n| [json!(n), json!(n)]).collect();
        let (all, more) = pick(&json!(elements), "");
        assert_eq!((all.len(), more), (PICKED_MAX, false));
        let (some, more) = pick(&json!([elements, vec![json!(-1)]].concat()), "");
        assert_eq!((some.len(), more), (PICKED_MAX, true));
    }
}
