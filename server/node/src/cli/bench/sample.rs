//! What was measured: how much was done in which time, and how long each took.

use std::time::{Duration, Instant};

/// When to measure: after a warm-up, for a while.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    /// From `warm` from now on, for `run`.
    pub fn new(warm: Duration, run: Duration) -> Window {
        let from = Instant::now() + warm;
        Window { from, until: from + run }
    }

    /// For work that ends by itself.
    pub fn always() -> Window {
        Window::new(Duration::ZERO, Duration::from_secs(86_400))
    }

    /// True before the end, and after it as long as nothing was counted.
    pub fn goes_on(&self, counted: u64) -> bool {
        counted == 0 || Instant::now() < self.until
    }

    /// True if the warm-up is over.
    pub fn counts(&self, moment: Instant) -> bool {
        moment >= self.from && (moment < self.until)
    }

    /// True if this moment is after the end.
    pub fn is_over(&self, moment: Instant) -> bool {
        moment >= self.until
    }

    /// How long is measured.
    pub fn length(&self) -> Duration {
        self.until - self.from
    }

    /// When measuring begins.
    pub fn from(&self) -> Instant {
        self.from
    }
}

/// What one run did.
#[derive(Debug, Default)]
pub struct Sample {
    /// How many.
    pub done: u64,
    /// In which time.
    pub took: Duration,
    /// How long each took, in nanoseconds.
    pub each: Vec<u64>,
}

impl Sample {
    /// How many a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Several that ran side by side, as one.
    pub fn together(samples: Vec<Sample>) -> Sample {
        let took = samples.iter().map(|sample| sample.took).max().unwrap_or_default();
        let done = samples.iter().map(|sample| sample.done).sum();
        let each = samples.into_iter().flat_map(|sample| sample.each).collect();
        Sample { done, took, each }
    }
}

/// Runs of the same thing.
#[derive(Debug, Default)]
pub struct Runs {
    rates: Vec<f64>,
    each: Vec<u64>,
}

impl Runs {
    /// Adds a run.
    pub fn add(&mut self, mut sample: Sample) {
        self.rates.push(sample.rate());
        self.each.append(&mut sample.each);
    }

    /// The median of the runs' rates.
    pub fn rate(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_unstable_by(f64::total_cmp);
        match rates.len() {
            0 => 0.0,
            n if n % 2 == 1 => rates[n / 2],
            n => f64::midpoint(rates[n / 2 - 1], rates[n / 2]),
        }
    }

    /// How long this share of all took at most, in microseconds; None if nothing was timed.
    pub fn within_us(&self, share: f64) -> Option<f64> {
        let mut each = self.each.clone();
        let last = each.len().checked_sub(1)?;
        let at = ((each.len() as f64 * share) as usize).min(last);
        let (_, at, _) = each.select_nth_unstable(at);
        Some(*at as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_runs_counts() {
        let mut runs = Runs::default();
        for done in [10, 1_000, 20] {
            let each = (1..=done).map(|n| n * 1_000).collect();
            runs.add(Sample { done, took: Duration::from_secs(1), each });
        }
        assert_eq!(runs.rate(), 20.0);
        assert_eq!(runs.within_us(1.0), Some(1_000.0));
        assert_eq!(Runs::default().within_us(0.5), None);
    }
}
