//! A place in a namespace's feed of changes, from which a watch goes on.

use std::fmt;
use std::str::FromStr;

use keepboth_core::ids::StoreId;

/// A place in the feed of one store. Clients keep its text and give it back; they read nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The store whose feed it is.
    pub store: StoreId,
    /// Which life of the store; a store put back from a backup begins another.
    pub epoch: u64,
    /// The last change that was told.
    pub sequence: u64,
}

/// A text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor that this server gave")]
pub struct BadCursor(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.store, self.epoch, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(text: &str) -> Result<Cursor, BadCursor> {
        let mut parts = text.split('.');
        let cursor = (|| {
            Some(Cursor {
                store: parts.next()?.parse().ok()?,
                epoch: number(parts.next()?)?,
                sequence: number(parts.next()?)?,
            })
        })();
        let cursor = cursor.filter(|_| parts.next().is_none());
        cursor.ok_or_else(|| BadCursor(text.chars().take(80).collect()))
    }
}

/// A number in its one form: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    let n: u64 = text.parse().ok()?;
    (n.to_string() == text).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = Cursor { store: StoreId([0xab; 16]), epoch: 3, sequence: u64::MAX };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let store = "ab".repeat(16);
        for text in ["", "x", "1.2.3"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
        for tail in
            ["", ".1", ".1.", ".1.2.3", ".+1.2", ".01.2", ".-1.2", ".1.18446744073709551616"]
        {
            assert!(format!("{store}{tail}").parse::<Cursor>().is_err(), "{tail:?}");
        }
    }
}
