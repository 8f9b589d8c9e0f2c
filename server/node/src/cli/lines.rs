//! Lines of a file or of stdin, read on a thread of their own so that the reader can be interrupted.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use keepboth_core::limits::{FRAME_BYTES_MAX, figure};
use tokio::sync::mpsc;

use super::exit::{Exit, Failure};

/// Lines that wait to be taken.
const WAITING_MAX: usize = 256;

/// A line and its number, from 1.
pub type Line = (u64, Vec<u8>);

/// The lines as they come. Empty ones are left out.
pub struct Lines(mpsc::Receiver<Result<Line, Failure>>);

impl Lines {
    /// Reads a file, or stdin for `-` and for nothing.
    pub fn open(file: Option<&Path>) -> Result<Lines, Failure> {
        let name = file.map_or_else(|| "-".to_owned(), |file| file.display().to_string());
        let from: Box<dyn Read + Send> = match file.filter(|_| name != "-") {
            Some(file) => Box::new(std::fs::File::open(file).map_err(|e| failed(&name, &e))?),
            None => Box::new(std::io::stdin()),
        };
        let (sender, lines) = mpsc::channel(WAITING_MAX);
        std::thread::spawn(move || read(BufReader::new(from), &name, &sender));
        Ok(Lines(lines))
    }

    /// The next line, for those who have nothing else to do; None at the end.
    pub fn wait(&mut self) -> Option<Result<Line, Failure>> {
        self.0.blocking_recv()
    }

    /// The next line; None at the end.
    pub async fn next(&mut self) -> Option<Result<Line, Failure>> {
        self.0.recv().await
    }
}

fn failed(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("{name}: {error}"))
}

/// Sends lines until the end, a failure, or until nobody wants more.
fn read(mut from: impl BufRead, name: &str, lines: &mpsc::Sender<Result<Line, Failure>>) {
    for number in 1.. {
        let line = match next_line(&mut from, number) {
            Ok(Some(line)) if line.is_empty() => continue,
            Ok(Some(line)) => Ok((number, line)),
            Ok(None) => return,
            Err(Some(failure)) => Err(failure),
            Err(None) => Err(failed(name, &std::io::Error::other("cannot be read"))),
        };
        let ends = line.is_err();
        if lines.blocking_send(line).is_err() || ends {
            return;
        }
    }
}

/// One line without its end. An error without words is one of reading.
fn next_line(from: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>, Option<Failure>> {
    let mut line = Vec::new();
    let read = from.take(FRAME_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
    match read.map_err(|_| None)? {
        0 => Ok(None),
        size if size > FRAME_BYTES_MAX => {
            let words = format!("line {number} has more than {} bytes", figure(FRAME_BYTES_MAX));
            Err(Some(Failure::new(Exit::Limit, words)))
        }
        _ => {
            while line.last().is_some_and(u8::is_ascii_whitespace) {
                line.pop();
            }
            Ok(Some(line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_keep_their_numbers() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "a\r\n\n  \nb").expect("write");
        let mut lines = Lines::open(Some(file.path())).expect("open");
        assert_eq!(lines.next().await, Some(Ok((1, b"a".to_vec()))));
        assert_eq!(lines.next().await, Some(Ok((4, b"b".to_vec()))));
        assert_eq!(lines.next().await, None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), vec![b'x'; FRAME_BYTES_MAX + 5]).expect("write");
        let mut lines = Lines::open(Some(file.path())).expect("open");
        let failure = lines.next().await.expect("line").expect_err("too long");
        assert_eq!(failure.message, "line 1 has more than 1,048,576 bytes");
        assert_eq!(lines.next().await, None);
    }
}
