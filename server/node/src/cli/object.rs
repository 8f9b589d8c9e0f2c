//! An object on the command line is one word: `NAMESPACE/KEY`.

use std::str::FromStr;

use keepboth_core::name::{Name, Namespace};
use serde_json::{Value as Json, json};

/// `NAMESPACE/KEY`; the key may have further slashes, or be an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The namespace.
    pub ns: Namespace,
    /// The key or address.
    pub key: Name,
}

impl Object {
    /// The members that most methods take, for more to be added.
    pub fn arguments(&self) -> Json {
        json!({"ns": self.ns.as_str(), "key": self.key.to_string()})
    }
}

impl FromStr for Object {
    type Err = String;
    fn from_str(text: &str) -> Result<Object, String> {
        let Some((ns, key)) = text.split_once('/') else {
            return Err("an object is NAMESPACE/KEY, for instance default/hello".into());
        };
        Ok(Object { ns: namespace(ns)?, key: Name::new(key).map_err(|e| e.message)? })
    }
}

/// `NAMESPACE` or `NAMESPACE/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The namespace.
    pub ns: Namespace,
    /// What the keys begin with.
    pub prefix: Option<String>,
}

impl FromStr for Prefix {
    type Err = String;
    fn from_str(text: &str) -> Result<Prefix, String> {
        let (ns, prefix) = match text.split_once('/') {
            Some((ns, prefix)) => (ns, Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty())),
            None => (text, None),
        };
        Ok(Prefix { ns: namespace(ns)?, prefix })
    }
}

/// Reads a namespace's name.
pub fn namespace(text: &str) -> Result<Namespace, String> {
    Namespace::new(text).map_err(|e| e.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_split_at_its_first_slash() {
        let object: Object = "notes/a/b".parse().expect("object");
        assert_eq!((object.ns.as_str(), object.key.to_string().as_str()), ("notes", "a/b"));
        for text in ["notes", "notes/", "/a", "No/a", "notes/a\0"] {
            assert!(text.parse::<Object>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_may_be_left_out() {
        let of = |text: &str| text.parse::<Prefix>().map(|p| p.prefix);
        assert_eq!(of("notes"), Ok(None));
        assert_eq!(of("notes/"), Ok(None));
        assert_eq!(of("notes/a/"), Ok(Some("a/".into())));
        assert!(of("").is_err());
    }
}
