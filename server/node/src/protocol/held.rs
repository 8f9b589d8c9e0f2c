//! A place in the list of versions in quarantine.

use std::fmt;
use std::str::FromStr;

use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;

/// After this version the next page of a quarantine begins. For clients it is opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAt {
    /// The key of its history.
    pub key: Key,
    /// The version.
    pub version: VersionId,
}

/// The text is no place in a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the `next` of a page")]
pub struct BadPlace;

impl fmt::Display for HeldAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version, self.key)
    }
}

impl FromStr for HeldAt {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<HeldAt, BadPlace> {
        let (version, key) = text.split_once('.').ok_or(BadPlace)?;
        let version = version.parse().map_err(|_| BadPlace)?;
        Ok(HeldAt { key: Key::new(key).map_err(|_| BadPlace)?, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_text_whatever_the_key_is() {
        for key in ["a", "a.b/c", "..", "привет"] {
            let at = HeldAt { key: Key::new(key).expect("a key"), version: VersionId([7; 32]) };
            assert_eq!(at.to_string().parse(), Ok(at));
        }
        for text in ["", "a", "07.a", ".a", &"0".repeat(64), &format!("{}.", "0".repeat(64))] {
            assert_eq!(text.parse::<HeldAt>(), Err(BadPlace), "{text}");
        }
    }
}
