//! What the scripts of a namespace said of late: the last lines, numbered, the oldest forgotten first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keepboth_core::plugin::LogLine;
use tokio::sync::Notify;

use crate::protocol::{Estimate, HookLog, Logged};

/// Most lines that are kept.
pub const LINES_MAX: usize = 1_000;
/// Most bytes of a line's text, and of its place.
const TEXT_BYTES_MAX: usize = 1_024;
const PLACE_BYTES_MAX: usize = 256;

/// The log of one namespace's scripts.
#[derive(Default)]
pub struct ScriptLog {
    ring: Mutex<Ring>,
    moved: Notify,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Logged>,
    /// The number of the last line, from 1.
    last: u64,
}

impl ScriptLog {
    /// Keeps a line. When there is no room the oldest goes.
    pub fn push(&self, line: &LogLine, timestamp: u64) {
        let mut ring = self.ring();
        if ring.lines.len() == LINES_MAX {
            ring.lines.pop_front();
        }
        ring.last += 1;
        let (at, text) = (cut(&line.at, PLACE_BYTES_MAX), cut(&line.text, TEXT_BYTES_MAX));
        let number = ring.last;
        ring.lines.push_back(Logged { number, timestamp, level: line.level.as_str(), at, text });
        drop(ring);
        self.moved.notify_waiters();
    }

    /// The lines behind a number, the oldest first, at most so many and at most so many bytes; without a
    /// number the last ones.
    pub fn read(&self, after: Option<u64>, limit: usize, bytes_max: usize) -> HookLog {
        let ring = self.ring();
        let first = ring.last - ring.lines.len() as u64 + 1;
        // A number from before a restart means nothing any more.
        let after = after.filter(|after| *after <= ring.last).or(after.map(|_| 0));
        let begin = match after {
            Some(after) => (after + 1).max(first),
            None => first.max((ring.last + 1).saturating_sub(limit as u64)),
        };
        let mut bytes = 0;
        let fits = |line: &&Logged| {
            bytes += line.bytes_estimate();
            bytes <= bytes_max
        };
        let behind = ring.lines.iter().skip((begin - first) as usize).take(limit);
        let lines: Vec<Logged> = behind.take_while(fits).cloned().collect();
        let dropped = after.map_or(first - 1, |after| begin - after - 1);
        HookLog { next: lines.last().map_or(begin - 1, |line| line.number), lines, dropped }
    }

    /// As [`ScriptLog::read`], but waits for a line if there is none.
    pub async fn wait(&self, after: Option<u64>, limit: usize, bytes_max: usize) -> HookLog {
        loop {
            // Whoever listens first and looks then misses nothing.
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            let read = self.read(after, limit, bytes_max);
            if !read.lines.is_empty() {
                return read;
            }
            moved.await;
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(text: &str, bytes: usize) -> String {
    match text.len() <= bytes {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(bytes - '…'.len_utf8())]),
    }
}

#[cfg(test)]
mod tests {
    use keepboth_core::plugin::LogLevel;

    use super::*;

    fn said(count: usize) -> ScriptLog {
        let log = ScriptLog::default();
        for n in 1..=count {
            push(&log, &format!("line {n}"));
        }
        log
    }

    fn push(log: &ScriptLog, text: &str) {
        let line =
            LogLine { level: LogLevel::Info, at: "scripts/a.luau:1".into(), text: text.into() };
        log.push(&line, 5);
    }

    fn numbers(read: &HookLog) -> Vec<u64> {
        read.lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn the_oldest_lines_go_and_how_many_went_is_told() {
        let log = said(LINES_MAX + 3);
        let all = log.read(Some(0), usize::MAX, usize::MAX);
        assert_eq!((all.lines.len(), all.dropped, all.next), (1_000, 3, 1_003));
        assert_eq!(all.lines[0].text, "line 4");
        let tail = log.read(None, 2, usize::MAX);
        assert_eq!((numbers(&tail), tail.dropped), (vec![1_002, 1_003], 3));
        let seen = log.read(Some(2), 2, usize::MAX);
        assert_eq!((numbers(&seen), seen.dropped, seen.next), (vec![4, 5], 1, 5));
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let log = said(5);
        let read = log.read(Some(3), 10, usize::MAX);
        assert_eq!((numbers(&read), read.dropped, read.next), (vec![4, 5], 0, 5));
        let nothing = log.read(Some(5), 10, usize::MAX);
        assert_eq!((nothing.lines.len(), nothing.dropped, nothing.next), (0, 0, 5));
        let restarted = log.read(Some(99), 10, usize::MAX);
        assert_eq!(restarted.lines.len(), 5, "numbers of an earlier run mean nothing");
        let empty = said(0).read(None, 10, usize::MAX);
        assert_eq!((empty.next, empty.dropped), (0, 0));
        let one = log.read(Some(0), 10, log.read(Some(0), 1, usize::MAX).lines[0].bytes_estimate());
        assert_eq!(one.next, 1, "what does not fit comes with the next answer");
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        let log = said(0);
        push(&log, &"é".repeat(TEXT_BYTES_MAX));
        let text = &log.read(None, 1, usize::MAX).lines[0].text;
        assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with("é…"), "{}", text.len());
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_line() {
        let log = said(1);
        let (read, ()) =
            tokio::join!(log.wait(Some(1), 10, usize::MAX), async { push(&log, "new") });
        assert_eq!(read.lines[0].text, "new");
    }
}
