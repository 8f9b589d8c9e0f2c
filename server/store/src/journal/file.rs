//! A file of a journal.

use std::fs::File;
use std::io;
use std::ops::Range;

use redb::StorageBackend;
use redb::backends::{FileBackend, InMemoryBackend};

/// A page of the kernel's memory.
const PAGE: usize = 4 * 1024;

/// One of the two files of a journal. All that is written to it are whole blocks of 512 bytes at multiples of that.
pub trait JournalFile: StorageBackend {
    /// Writes, and makes that durable. All that was written before is durable already.
    fn write_durably(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)?;
        self.sync_data()
    }

    /// Writes zeros. They are to be synced.
    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        // Page by page, for the kernel writes back together what was written together.
        self.write_pieces(range, &[0; PAGE])
    }

    /// Writes a piece again and again, until the range is full.
    fn write_pieces(&self, range: Range<u64>, piece: &[u8]) -> io::Result<()> {
        for at in range.clone().step_by(piece.len()) {
            // No longer than the piece.
            let length = (range.end - at).min(piece.len() as u64) as usize;
            self.write(at, &piece[..length])?;
        }
        Ok(())
    }
}

impl JournalFile for FileBackend {}
impl JournalFile for InMemoryBackend {}

/// The file, which is at this path as well.
#[cfg(not(target_os = "linux"))]
pub fn open(file: File, _path: &std::path::Path) -> io::Result<Box<dyn JournalFile>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

#[cfg(target_os = "linux")]
pub use direct::open;

#[cfg(target_os = "linux")]
mod direct {
    use std::fs::OpenOptions;
    use std::io::{ErrorKind, IoSlice};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    use rustix::fs::OFlags;
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};

    use super::*;

    /// Bytes of zeros that are written at once.
    const ZEROS: usize = 256 * 1024;
    /// Most bytes of room that are kept for the next write.
    const ROOM_MAX: usize = 2 * 1024 * 1024;

    /// A file that is written past the kernel's memory (`O_DIRECT` of `open(2)`), where its file system allows it: then
    /// nothing has to be found and written back when it is made durable, and no page is written again with the next
    /// group. Otherwise it is written as others are.
    #[derive(Debug)]
    struct Direct {
        /// For all but writing.
        kept: FileBackend,
        direct: File,
        /// True once such a write was refused.
        refused: AtomicBool,
        /// What is written stands at the start of a page.
        room: Mutex<Vec<u8>>,
    }

    /// The file, which is at this path as well.
    pub fn open(file: File, path: &Path) -> io::Result<Box<dyn JournalFile>> {
        let kept = FileBackend::new(file).map_err(io::Error::other)?;
        // The constant has no bit of the sign.
        let direct = OFlags::DIRECT.bits() as i32;
        let direct = OpenOptions::new().write(true).custom_flags(direct).open(path);
        let Ok(direct) = direct else { return Ok(Box::new(kept)) };
        let (refused, room) = (AtomicBool::new(false), Mutex::default());
        Ok(Box::new(Direct { kept, direct, refused, room }))
    }

    impl Direct {
        /// True if it is written; false if that cannot be done so, and nothing was written.
        fn put(&self, mut offset: u64, bytes: &[u8], flags: ReadWriteFlags) -> io::Result<bool> {
            if self.refused.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            room.resize(bytes.len() + PAGE, 0);
            let start = room.as_ptr().align_offset(PAGE);
            let end = start.saturating_add(bytes.len());
            let Some(aligned) = room.get_mut(start..end) else { return Ok(false) };
            aligned.copy_from_slice(bytes);
            let mut left = &*aligned;
            while !left.is_empty() {
                match pwritev2(&self.direct, &[IoSlice::new(left)], offset, flags) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        (left, offset) = (&left[written..], offset + written as u64);
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
                        if left.len() == bytes.len() =>
                    {
                        self.refused.store(true, Ordering::Relaxed);
                        return Ok(false);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if room.capacity() > ROOM_MAX {
                *room = Vec::new();
            }
            Ok(true)
        }
    }

    impl StorageBackend for Direct {
        fn len(&self) -> io::Result<u64> {
            self.kept.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.kept.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.kept.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.kept.sync_data()
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            match self.put(offset, bytes, ReadWriteFlags::empty())? {
                true => Ok(()),
                false => self.kept.write(offset, bytes),
            }
        }
    }

    impl JournalFile for Direct {
        fn write_durably(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            if self.put(offset, bytes, ReadWriteFlags::DSYNC)? {
                return Ok(());
            }
            self.kept.write(offset, bytes)?;
            self.kept.sync_data()
        }

        fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
            self.write_pieces(range, &vec![0; ZEROS])
        }
    }

    #[cfg(test)]
    mod tests {
        use std::fs;

        use super::*;

        fn made(direct: bool) -> (tempfile::TempDir, Direct) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("journal");
            let file = File::options().read(true).write(true).create_new(true).open(&path);
            let file = file.expect("a file");
            let kept = FileBackend::new(file).expect("a backend");
            let flags = if direct { OFlags::DIRECT.bits() as i32 } else { 0 };
            let direct = OpenOptions::new().write(true).custom_flags(flags).open(&path);
            let refused = AtomicBool::new(false);
            let direct = direct.expect("the file again");
            (folder, Direct { kept, direct, refused, room: Mutex::default() })
        }

        #[test]
        fn what_is_written_past_the_kernels_memory_is_read_from_there_and_otherwise() {
            let (folder, file) = made(true);
            file.set_len(1024 * 1024).expect("room");
            file.write_zeros(0..700 * 1024).expect("zeros");
            let bytes: Vec<u8> = (0..3 * 512 + 1).map(|n| n as u8).collect();
            // At no multiple of anything in memory.
            for (offset, write) in [(512, false), (5 * 512, true), (699 * 1024, true)] {
                let bytes = &bytes[1..];
                let written = match write {
                    true => file.write_durably(offset, bytes),
                    false => file.write(offset, bytes),
                };
                written.expect("written");
                let mut read = vec![0; bytes.len()];
                file.read(offset, &mut read).expect("read");
                assert_eq!(read, bytes);
                let all = fs::read(folder.path().join("journal")).expect("the file");
                assert_eq!(all[offset as usize..][..bytes.len()], *bytes);
            }
        }

        #[test]
        fn what_cannot_be_written_past_the_kernels_memory_is_written_as_in_other_files() {
            for direct in [true, false] {
                let (_folder, file) = made(direct);
                file.set_len(4_096).expect("room");
                // No file system takes a part of a block so.
                file.write_durably(3, b"part of a block").expect("written");
                file.write(1_000, b"another").expect("written");
                let mut read = [0; 15];
                file.read(3, &mut read).expect("read");
                assert_eq!(&read, b"part of a block");
                file.read(1_000, &mut read[..7]).expect("read");
                assert_eq!(&read[..7], b"another");
            }
        }
    }
}
