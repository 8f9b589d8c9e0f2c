//! A disk that takes no writes, as one that does: what is written stays in memory, above what is there. So a database
//! can be opened and brought up to its journal for readers, and the disk is as it was.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// What is kept together above the disk.
const PAGE: usize = 4 * 1024;

/// A disk and what was written above it.
#[derive(Debug)]
pub struct Overlay<B> {
    below: B,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    /// Pages by their number.
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// How long it is now.
    len: u64,
    /// Of the disk so much is still to be seen.
    below: u64,
}

impl<B: StorageBackend> Overlay<B> {
    /// Nothing is written yet.
    pub fn new(below: B) -> io::Result<Overlay<B>> {
        let len = below.len()?;
        let above = Above { pages: BTreeMap::new(), len, below: len };
        Ok(Overlay { below, above: Mutex::new(above) })
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the disk has, and zeros where it has nothing.
    fn read_below(&self, len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (there, rest) = out.split_at_mut(there);
        rest.fill(0);
        if there.is_empty() { Ok(()) } else { self.below.read(offset, there) }
    }
}

/// The pieces of so many bytes from `offset` on: page, place in the page, place among the bytes, length.
fn pieces(offset: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let (page, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
        let length = (PAGE - within).min(bytes - done);
        let piece = (page, within, done, length);
        done += length;
        (length > 0).then_some(piece)
    })
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.above().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (len, below) = {
            let above = self.above();
            (above.len, above.below)
        };
        if offset.saturating_add(out.len() as u64) > len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Who reads the disk holds up nobody.
        self.read_below(below, offset, out)?;
        let above = self.above();
        for (page, within, at, length) in pieces(offset, out.len()) {
            if let Some(page) = above.pages.get(&page) {
                out[at..at + length].copy_from_slice(&page[within..within + length]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut above = self.above();
        if len < above.len {
            // What it gets again later is zeros.
            above.below = above.below.min(len);
            let kept = len.div_ceil(PAGE as u64);
            drop(above.pages.split_off(&kept));
            let within = (len % PAGE as u64) as usize;
            if let Some(last) = above.pages.get_mut(&(len / PAGE as u64)) {
                last[within..].fill(0);
            }
        }
        above.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    /// Others may read the disk, and nobody may write it.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above();
        let below = above.below;
        for (number, within, at, length) in pieces(offset, data.len()) {
            let page = match above.pages.remove(&number) {
                Some(page) => Ok(page),
                None => {
                    let mut page = Box::new([0; PAGE]);
                    let read = self.read_below(below, number * PAGE as u64, &mut page[..]);
                    read.map(|()| page)
                }
            };
            let mut page = page?;
            page[within..within + length].copy_from_slice(&data[at..at + length]);
            above.pages.insert(number, page);
        }
        above.len = above.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn it_reads_as_a_disk_that_takes_writes_and_leaves_the_one_below_as_it_was() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let below = InMemoryBackend::new();
            let mut model: Vec<u8> = (0..rng.random_range(0..5 * PAGE)).map(|n| n as u8).collect();
            below.set_len(model.len() as u64).expect("room");
            below.write(0, &model).expect("written");
            let was = model.clone();
            let disk = Overlay::new(below).expect("an overlay");
            for step in 0..40 {
                let at = format!("seed {seed}, step {step}");
                let (from, bytes) = (rng.random_range(0..6 * PAGE), rng.random_range(0..3 * PAGE));
                match rng.random_range(0..3) {
                    0 => {
                        model.resize(from, 0);
                        disk.set_len(from as u64).expect(&at);
                    }
                    1 => {
                        let data: Vec<u8> = (0..bytes).map(|_| rng.random()).collect();
                        model.resize(model.len().max(from + bytes), 0);
                        model[from..from + bytes].copy_from_slice(&data);
                        disk.write(from as u64, &data).expect(&at);
                    }
                    _ => disk.sync_data().expect(&at),
                }
                assert_eq!(disk.len().expect(&at), model.len() as u64, "{at}");
                let from = rng.random_range(0..=model.len());
                let to = rng.random_range(from..=model.len());
                let mut read = vec![1; to - from];
                disk.read(from as u64, &mut read).expect(&at);
                assert!(read == model[from..to], "{at}: {from}..{to}");
            }
            let mut left = vec![0; was.len()];
            disk.below.read(0, &mut left).expect("read");
            assert_eq!(left, was, "seed {seed}");
        }
    }
}
