//! How long calls took: counts between fixed bounds, which give Prometheus its histogram and people a median.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The bounds that the metrics show, in nanoseconds: from a script of a few instructions to one that hangs.
const SHOWN: [u64; 18] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Within each power of ten, in hundredths of it: no bound is more than a quarter above the one before.
const STEPS: [u64; 13] = [100, 125, 150, 175, 200, 250, 300, 350, 400, 500, 600, 700, 800];
/// The first power of ten, in nanoseconds.
const FIRST: u64 = 100;
/// How many powers of ten there are: up to 10 s.
const DECADES: usize = 8;
const BOUNDS: [u64; STEPS.len() * DECADES + 1] = bounds();

const fn bounds() -> [u64; STEPS.len() * DECADES + 1] {
    let mut bounds = [0; STEPS.len() * DECADES + 1];
    let (mut at, mut power) = (0, FIRST);
    while at < bounds.len() {
        bounds[at] = power * STEPS[at % STEPS.len()] / 100;
        at += 1;
        if at.is_multiple_of(STEPS.len()) {
            power *= 10;
        }
    }
    bounds
}

/// The times of one kind of calls since the server started. Clones share them.
#[derive(Clone)]
pub struct Times(Arc<Counts>);

struct Counts {
    /// How many calls took no longer than each bound, and longer than the one before; then those beyond.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Nanoseconds of all calls.
    sum: AtomicU64,
    /// Nanoseconds of the longest call that is beyond the last bound.
    longest: AtomicU64,
}

impl Default for Times {
    fn default() -> Times {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        let (sum, longest) = (AtomicU64::new(0), AtomicU64::new(0));
        Times(Arc::new(Counts { buckets, sum, longest }))
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Times({} calls)", self.count())
    }
}

impl Times {
    /// Counts a call.
    pub fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < nanos);
        self.0.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(nanos, Ordering::Relaxed);
        if at == BOUNDS.len() {
            self.0.longest.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// How many calls there were.
    pub fn count(&self) -> u64 {
        self.buckets().into_iter().sum()
    }

    /// The time that this share of the calls did not exceed, from 0 to 1, rounded up by a quarter at the most.
    /// Nothing if there was no call.
    pub fn within(&self, share: f64) -> Duration {
        let buckets = self.buckets();
        let count: u64 = buckets.iter().sum();
        let wanted = (share * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= wanted
        });
        let longest = || self.0.longest.load(Ordering::Relaxed);
        let nanos = at.map_or(0, |at| BOUNDS.get(at).copied().unwrap_or_else(longest));
        Duration::from_nanos(nanos)
    }

    fn buckets(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|at| self.0.buckets[at].load(Ordering::Relaxed))
    }
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let buckets = self.buckets();
        let (mut shown, mut from) = (Vec::with_capacity(SHOWN.len() + 1), 0);
        for bound in SHOWN {
            let to = BOUNDS.partition_point(|own| *own <= bound);
            shown.push((bound as f64 / 1e9, buckets[from..to].iter().sum()));
            from = to;
        }
        shown.push((f64::INFINITY, buckets[from..].iter().sum()));
        let seconds = self.0.sum.load(Ordering::Relaxed) as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(seconds, buckets.iter().sum(), &shown, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn bounds_grow_by_a_quarter_at_most_and_have_all_that_are_shown() {
        for pair in BOUNDS.windows(2) {
            assert!(pair[0] < pair[1] && pair[1] * 4 <= pair[0] * 5, "{pair:?}");
        }
        assert_eq!(BOUNDS.last(), Some(&10_000_000_000));
        assert!(SHOWN.iter().all(|bound| BOUNDS.contains(bound)));
    }

    #[test]
    fn a_median_is_never_below_what_it_stands_for_and_at_most_a_quarter_above() {
        let times = Times::default();
        assert_eq!((times.count(), times.within(0.5)), (0, Duration::ZERO));
        for micros in 1..=1_000 {
            times.add(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.001, 1), (0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1_000)] {
            let (found, exact) = (times.within(share), Duration::from_micros(exact));
            assert!(found >= exact && found <= exact * 5 / 4, "{share}: {found:?} for {exact:?}");
        }
    }

    #[test]
    fn a_call_without_end_and_one_of_no_time_are_counted_too() {
        let times = Times::default();
        times.add(Duration::ZERO);
        times.add(Duration::from_secs(11));
        times.add(Duration::from_secs(77));
        assert_eq!(times.within(0.1), Duration::from_nanos(FIRST));
        assert_eq!(times.within(1.0), Duration::from_secs(77));
        assert_eq!(times.count(), 3);
    }

    #[test]
    fn prometheus_sees_each_call_in_the_first_bucket_that_holds_it() {
        let (times, mut registry) = (Times::default(), Registry::default());
        registry.register("t", "T", times.clone());
        for nanos in [500, 1_000, 1_001, 2_500, 700_000, 20_000_000_000] {
            times.add(Duration::from_nanos(nanos));
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        for line in [
            "t_bucket{le=\"0.000001\"} 2",
            "t_bucket{le=\"0.0000025\"} 4",
            "t_bucket{le=\"0.0005\"} 4",
            "t_bucket{le=\"0.001\"} 5",
            "t_bucket{le=\"10.0\"} 5",
            "t_bucket{le=\"+Inf\"} 6",
            "t_count 6",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("t_sum 20.0007"), "{text}");
    }
}
