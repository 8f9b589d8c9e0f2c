//! How rows are laid out in bytes: integers big-endian or in as many bytes as they need, ids as they
//! are, lists with their length first.

use keepboth_core::ids::{DataHash, StoreId, VersionId};

/// A row ends too early or says what no row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row is {0}")]
pub struct BadRow(pub &'static str);

/// Writes a row.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, n: u8) -> &mut Writer {
        self.bytes(&[n])
    }

    pub fn u64(&mut self, n: u64) -> &mut Writer {
        self.bytes(&n.to_be_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A number in as many bytes as it needs: seven bits in each, the lowest first, and the eighth set if
    /// another follows (LEB128).
    pub fn number(&mut self, mut n: u64) -> &mut Writer {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.u8(n as u8)
    }

    /// The length of what follows, in four bytes.
    pub fn length(&mut self, length: usize) -> &mut Writer {
        // Far from four billion.
        self.bytes(&(length as u32).to_be_bytes())
    }

    pub fn versions(&mut self, ids: &[VersionId]) -> &mut Writer {
        self.number(ids.len() as u64);
        for id in ids {
            self.bytes(&id.0);
        }
        self
    }
}

/// Reads a row from its start.
pub struct Reader<'r>(pub &'r [u8]);

impl<'r> Reader<'r> {
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BadRow> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(BadRow("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    /// So many bytes.
    pub fn take(&mut self, length: usize) -> Result<&'r [u8], BadRow> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(BadRow("too short"))?;
        self.0 = rest;
        Ok(head)
    }

    /// Bytes with their length before them, in four bytes.
    pub fn sized(&mut self) -> Result<&'r [u8], BadRow> {
        let length = self.array().map(u32::from_be_bytes)?;
        self.take(length as usize)
    }

    pub fn u8(&mut self) -> Result<u8, BadRow> {
        self.array::<1>().map(|[n]| n)
    }

    pub fn u64(&mut self) -> Result<u64, BadRow> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number as [`Writer::number`] writes it, in no more bytes than it needs.
    pub fn number(&mut self) -> Result<u64, BadRow> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            n |= bits << shift;
            let needed = bits << shift >> shift == bits && (byte != 0 || shift == 0);
            match byte {
                _ if !needed => break,
                0..0x80 => return Ok(n),
                0x80.. => {}
            }
        }
        Err(BadRow("of a number in no good form"))
    }

    pub fn version(&mut self) -> Result<VersionId, BadRow> {
        self.array().map(VersionId)
    }

    pub fn data(&mut self) -> Result<DataHash, BadRow> {
        self.array().map(DataHash)
    }

    pub fn store(&mut self) -> Result<StoreId, BadRow> {
        self.array().map(StoreId)
    }

    /// A list: its length, then as many items as that.
    pub fn list<T, L: FromIterator<T>>(
        &mut self,
        mut item: impl FnMut(&mut Reader<'r>) -> Result<T, BadRow>,
    ) -> Result<L, BadRow> {
        let length = self.number()?;
        (0..length).map(|_| item(self)).collect()
    }

    pub fn versions<L: FromIterator<VersionId>>(&mut self) -> Result<L, BadRow> {
        self.list(Reader::version)
    }

    /// What is left, as text.
    pub fn text(self) -> Result<&'r str, BadRow> {
        std::str::from_utf8(self.0).map_err(|_| BadRow("not UTF-8 where its key stands"))
    }

    pub fn end(self) -> Result<(), BadRow> {
        if self.0.is_empty() { Ok(()) } else { Err(BadRow("too long")) }
    }
}
