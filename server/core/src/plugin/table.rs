//! Rows of a plugin's own that outlive the process.

use std::ops::Bound;

use crate::refusal::Refusal;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A change of one row: its key, and its value or None to take it away.
pub type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// An ordered table in a file of the plugin's own; see [`super::Host::table`]. Each call sees the rows as
/// the last [`Table::write`] left them. All refuse with `store_failed` if the disk fails, and with
/// `corrupt` if what it holds cannot be what was written. After a failure of the disk it may refuse everything: then
/// all of it is to be dropped, and opened again, and has lost what a crash may cost.
pub trait Table: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal>;

    /// The rows between two keys in the order of their bytes, at most `limit` of them.
    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Refusal>;

    /// Changes rows, all or none. With `durable` it returns when they are on disk, and all that was
    /// written before with them. Without, it costs no wait for the disk, and a crash may take it back:
    /// then also all that was written after it, so that what is left is how the table once was.
    fn write(&self, changes: &[RowChange], durable: bool) -> Result<(), Refusal>;
}

/// The bound behind all keys that begin so.
pub fn behind(prefix: &[u8]) -> Bound<Vec<u8>> {
    let Some(last) = prefix.iter().rposition(|byte| *byte < u8::MAX) else {
        return Bound::Unbounded;
    };
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Bound::Excluded(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_prefix_stands_what_does_not_begin_so() {
        assert_eq!(behind(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(behind(&[1, 255, 255]), Bound::Excluded(vec![2]));
        assert_eq!(behind(&[255]), Bound::Unbounded);
        assert_eq!(behind(b""), Bound::Unbounded);
    }
}
