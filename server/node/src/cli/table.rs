//! Tables for people: columns as wide as they must be, no lines, nothing that a terminal would obey.

use std::time::Duration;

use super::exit::Failure;
use super::out::{Out, printable};

/// Cells longer than this are cut.
const CELL_CHARS_MAX: usize = 100;

/// Rows under a head.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet.
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row of as many cells as the head has.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|text| cell(text.as_ref())).collect());
    }

    /// True if there is nothing but the head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    /// Writes the table, or these words if it is empty.
    pub fn write(&self, out: &mut Out, empty: &str) -> Result<(), Failure> {
        if self.is_empty() {
            super::out::talk(empty);
            return Ok(());
        }
        self.lines().iter().try_for_each(|line| out.line(line))
    }
}

fn cell(text: &str) -> String {
    let text = printable(text).replace('\n', "\\n");
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A time in milliseconds since 1970, as people and programs read it.
pub fn time(ms: Option<u64>) -> String {
    let ms = ms.and_then(|ms| i64::try_from(ms).ok());
    let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"))
}

/// A duration for people: `0.125 us`, `2.5 us`, `50 ms`, `1.5 s`.
pub fn duration(time: Duration) -> String {
    let micros = time.as_nanos() as f64 / 1e3;
    let (figure, unit) = match micros {
        ..1e3 => (micros, "us"),
        1e3..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", (figure * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_safe() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["привет", "1"]);
        table.row(["a\x1b[2Jb\n", "22"]);
        assert_eq!(table.lines(), ["NAME           N", "привет         1", "a\\u{1b}[2Jb\\n  22"]);
    }

    #[test]
    fn long_cells_are_cut() {
        let mut table = Table::new(&["A"]);
        table.row(["é".repeat(200)]);
        assert_eq!(table.lines()[1], format!("{}…", "é".repeat(100)));
    }

    #[test]
    fn a_duration_has_the_unit_that_fits() {
        for (nanos, shown) in [
            (0, "0 us"),
            (125, "0.125 us"),
            (2_500, "2.5 us"),
            (999_999, "999.999 us"),
            (50_000_000, "50 ms"),
            (1_500_000_000, "1.5 s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), shown);
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(Some(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(Some(u64::MAX)), "-");
        assert_eq!(time(None), "-");
    }
}
