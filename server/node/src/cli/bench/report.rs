//! How results are shown: a table for people, a line of JSON each for programs.

use serde_json::{Value as Json, json};

use super::sample::Runs;
use crate::cli::exit::Failure;
use crate::cli::out::{Out, talk};
use crate::cli::table::Table;

/// A row of a report.
pub trait Shown {
    /// What stands above the cells.
    const HEAD: &'static [&'static str];
    /// The row for people.
    fn cells(&self) -> Vec<String>;
    /// The row for programs.
    fn to_json(&self) -> Json;
}

/// One result beside what it is measured against in the same run.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured.
    pub row: String,
    /// The result.
    pub ours: f64,
    /// Of what the result and the baseline are.
    pub unit: &'static str,
    /// What it is measured against, in words.
    pub against: String,
    /// The result of that.
    pub baseline: f64,
    /// How long half of all took at most, in microseconds.
    pub p50_us: Option<f64>,
    /// How long 99 of 100 took at most, in microseconds.
    pub p99_us: Option<f64>,
}

impl Row {
    /// The rate of these runs against another rate.
    pub fn rate(
        row: String,
        unit: &'static str,
        ours: &Runs,
        against: String,
        baseline: f64,
    ) -> Row {
        let (p50_us, p99_us) = (ours.within_us(0.5), ours.within_us(0.99));
        Row { row, ours: ours.rate(), unit, against, baseline, p50_us, p99_us }
    }

    /// A single figure against another one.
    pub fn one(row: String, ours: f64, unit: &'static str, against: &str, baseline: f64) -> Row {
        let against = against.to_owned();
        Row { row, ours, unit, against, baseline, p50_us: None, p99_us: None }
    }

    /// The result as a part of the baseline.
    pub fn ratio(&self) -> f64 {
        self.ours / self.baseline
    }
}

impl Shown for Row {
    const HEAD: &'static [&'static str] =
        &["MEASURED", "RESULT", "BASELINE", "WHICH IS", "RATIO", "P50", "P99"];

    fn to_json(&self) -> Json {
        let whole = |us: Option<f64>| us.map(f64::round);
        json!({
            "row": self.row,
            "ours": round(self.ours, 2),
            "unit": self.unit,
            "against": self.against,
            "baseline": round(self.baseline, 2),
            "ratio": round(self.ratio(), 3),
            "p50_us": whole(self.p50_us),
            "p99_us": whole(self.p99_us),
        })
    }

    fn cells(&self) -> Vec<String> {
        let time = |us: Option<f64>| us.map_or_else(|| "-".to_owned(), milliseconds);
        vec![
            self.row.clone(),
            format!("{} {}", figure(self.ours), self.unit),
            figure(self.baseline),
            self.against.clone(),
            format!("{:.2}", self.ratio()),
            time(self.p50_us),
            time(self.p99_us),
        ]
    }
}

/// To so many digits after the point.
pub fn round(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// A figure for people.
pub fn figure(number: f64) -> String {
    if number < 100.0 && number.fract() != 0.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.0}")
    }
}

fn milliseconds(us: f64) -> String {
    if us < 1_000.0 { format!("{us:.0} us") } else { format!("{:.2} ms", us / 1e3) }
}

/// Takes results and shows them part by part.
pub struct Report<R> {
    out: Out,
    /// All rows so far.
    pub rows: Vec<R>,
    shown: usize,
    quiet: bool,
}

impl<R: Shown> Report<R> {
    /// Shows on stdout.
    pub fn new(json: bool) -> Report<R> {
        Report { out: Out::new(json), rows: Vec::new(), shown: 0, quiet: false }
    }

    /// Shows nothing and keeps the rows.
    #[cfg(test)]
    pub fn silent() -> Report<R> {
        Report { quiet: true, ..Report::new(true) }
    }

    /// Says on stderr what is going on.
    pub fn talk(&self, text: &str) {
        if !self.quiet {
            talk(text);
        }
    }

    /// Takes a row.
    pub fn add(&mut self, row: R) {
        self.rows.push(row);
    }

    /// Shows the rows since the last time.
    pub fn show(&mut self) -> Result<(), Failure> {
        let rows = &self.rows[self.shown..];
        self.shown = self.rows.len();
        if self.quiet {
            return Ok(());
        }
        if self.out.json {
            rows.iter().try_for_each(|row| self.out.json(&row.to_json()))?;
        } else {
            let mut table = Table::new(R::HEAD);
            rows.iter().for_each(|row| table.row(row.cells()));
            table.write(&mut self.out, "nothing was measured")?;
            self.out.line("")?;
        }
        self.out.flush()
    }
}
