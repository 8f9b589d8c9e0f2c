//! A figure beside that of a peer, and whether it is as good as it is to be.

use serde_json::{Value as Json, json};

use super::rivals::Rival;
use crate::cli::bench::report::{Shown, figure, round};
use crate::cli::bench::sample::Runs;

/// What is demanded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// The ratio is at least this; the second is where it is to go.
    AtLeast(f64, Option<f64>),
    /// The ratio is at most this.
    AtMost(f64),
    /// The figure itself is at most this.
    Limit(f64),
    /// Nothing is demanded; the ratio is to go there.
    Aim(f64),
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The same in every run, for programs.
    id: String,
    row: String,
    ours: f64,
    unit: &'static str,
    against: String,
    peer: Option<f64>,
    bar: Option<Bar>,
    skipped: Option<String>,
}

impl Judged {
    /// A figure that has a limit.
    pub fn limit(id: &str, row: &str, ours: f64, unit: &'static str, most: f64) -> Judged {
        let bar = Some(Bar::Limit(most));
        Judged { against: "a limit".into(), bar, ..Judged::figure(id, row, ours, unit) }
    }

    /// A figure of which nothing is demanded.
    pub fn figure(id: &str, row: &str, ours: f64, unit: &'static str) -> Judged {
        let (id, row, against) = (id.to_owned(), row.to_owned(), "-".to_owned());
        Judged { id, row, ours, unit, against, peer: None, bar: None, skipped: None }
    }

    /// A figure beside another one of ours.
    pub fn beside(
        (id, row): (&str, &str),
        (ours, peer): (f64, f64),
        unit: &'static str,
        against: &str,
        bar: Option<Bar>,
    ) -> Judged {
        let (against, peer) = (against.to_owned(), Some(peer));
        Judged { against, peer, bar, ..Judged::figure(id, row, ours, unit) }
    }

    /// A figure of runs beside that of a peer, whose runs are missing if it is not installed.
    pub fn rival(
        (id, row): (&str, &str),
        (ours, theirs): (&Runs, Option<&Runs>),
        of: fn(&Runs) -> f64,
        unit: &'static str,
        (rival, how): (Rival, &str),
        bar: Option<Bar>,
    ) -> Judged {
        Judged {
            against: format!("{}, {how}", rival.name()),
            peer: theirs.map(of),
            bar,
            skipped: theirs.is_none().then(|| rival.missing()),
            ..Judged::figure(id, row, of(ours), unit)
        }
    }

    /// The figure as a part of the peer's.
    fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| self.ours / peer)
    }

    /// Whether the bar is reached; None without a bar, or without what it needs.
    fn reached(&self) -> Option<bool> {
        match self.bar? {
            Bar::AtLeast(least, _) => Some(self.ratio()? >= least),
            Bar::AtMost(most) => Some(self.ratio()? <= most),
            Bar::Limit(most) => Some(self.ours <= most),
            Bar::Aim(_) => None,
        }
    }
}

impl Shown for Judged {
    const HEAD: &'static [&'static str] =
        &["MEASURED", "OURS", "PEER", "WHICH IS", "RATIO", "BAR", "REACHED"];

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let bar = self.bar.map_or_else(dash, |bar| match bar {
            Bar::AtLeast(least, None) => format!("at least {least:.2}"),
            Bar::AtLeast(least, Some(aim)) => format!("at least {least:.2}, aim {aim:.2}"),
            Bar::AtMost(most) => format!("at most {most:.2}"),
            Bar::Limit(most) => format!("at most {} {}", figure(most), self.unit),
            Bar::Aim(aim) => format!("aim {aim:.2}"),
        });
        vec![
            self.row.clone(),
            format!("{} {}", figure(self.ours), self.unit),
            self.peer.map_or_else(dash, figure),
            self.skipped.clone().unwrap_or_else(|| self.against.clone()),
            self.ratio().map_or_else(dash, |ratio| format!("{ratio:.2}")),
            bar,
            self.reached().map_or_else(dash, |yes| if yes { "yes" } else { "NO" }.to_owned()),
        ]
    }

    fn to_json(&self) -> Json {
        let (bar, bar_is, aim) = match self.bar {
            None => (None, None, None),
            Some(Bar::AtLeast(least, aim)) => (Some(least), Some("ratio at least"), aim),
            Some(Bar::AtMost(most)) => (Some(most), Some("ratio at most"), None),
            Some(Bar::Limit(most)) => (Some(most), Some("ours at most"), None),
            Some(Bar::Aim(aim)) => (None, None, Some(aim)),
        };
        json!({
            "id": self.id,
            "row": self.row,
            "ours": round(self.ours, 2),
            "peer": self.peer.map(|peer| round(peer, 2)),
            "ratio": self.ratio().map(|ratio| round(ratio, 3)),
            "bar": bar,
            "reached": self.reached(),
            "unit": self.unit,
            "against": self.against,
            "bar_is": bar_is,
            "aim": aim,
            "skipped": self.skipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bar: Bar, ours: f64, peer: f64) -> Option<bool> {
        Judged::beside(("i", "r"), (ours, peer), "u", "p", Some(bar)).reached()
    }

    #[test]
    fn a_bar_is_reached_by_the_ratio_or_by_the_figure() {
        assert_eq!(row(Bar::AtLeast(1.5, Some(4.0)), 3.0, 2.0), Some(true));
        assert_eq!(row(Bar::AtLeast(1.5, Some(4.0)), 2.9, 2.0), Some(false));
        assert_eq!(row(Bar::AtMost(1.0), 2.0, 2.0), Some(true));
        assert_eq!(row(Bar::AtMost(1.0), 2.1, 2.0), Some(false));
        assert_eq!(row(Bar::Aim(0.5), 1.0, 2.0), None);
        assert_eq!(Judged::limit("i", "r", 30.1, "MiB", 30.0).reached(), Some(false));
    }

    #[test]
    fn what_is_not_installed_is_neither_reached_nor_missed() {
        let (runs, bar) = (Runs::default(), Some(Bar::AtMost(1.0)));
        let row =
            Judged::rival(("i", "r"), (&runs, None), Runs::rate, "u", (Rival::Nats, "gets"), bar);
        let json = row.to_json();
        assert_eq!((&json["peer"], &json["reached"]), (&Json::Null, &Json::Null));
        assert_eq!(json["skipped"], "NATS KV is not installed: apt-get install nats-server");
    }
}
