//! How many writes a namespace takes in a second: a bucket that fills steadily and holds one second's.

use keepboth_core::limits::figure;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};

/// The room for writes, in thousandths of a write so that milliseconds fill it without a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// What is left; less than nothing after a batch of more than one second's writes.
    left: i64,
    /// When that was, in milliseconds of the steady clock.
    at: u64,
    /// The rate for which that holds; another one begins with a full bucket.
    per_second: u32,
}

impl Bucket {
    /// Takes so many writes, or gives the milliseconds after which they could be taken. A batch of more
    /// than one second's writes is taken when the bucket is full, and paid for afterwards: otherwise it
    /// could never be sent.
    pub fn take(&mut self, writes: usize, per_second: u32, now: u64) -> Result<(), u64> {
        let per_second = per_second.max(1);
        let full = i64::from(per_second) * 1_000;
        if self.per_second != per_second {
            *self = Bucket { left: full, at: now, per_second };
        }
        let passed = i64::try_from(now.saturating_sub(self.at)).unwrap_or(i64::MAX);
        let filled = passed.saturating_mul(i64::from(per_second));
        (self.left, self.at) = (self.left.saturating_add(filled).min(full), now);
        let wanted = i64::try_from(writes).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
        let missing = wanted.min(full) - self.left;
        if missing > 0 {
            let rate = i64::from(per_second);
            return Err(u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX));
        }
        self.left -= wanted;
        Ok(())
    }
}

/// The refusal of writes that come too early by so many milliseconds.
pub fn too_early(namespace: &Namespace, writes: usize, per_second: u32, wait_ms: u64) -> Refusal {
    let (writes, limit) = (figure(writes), figure(per_second as usize));
    let words = format!(
        "{writes} more would be over the limit of {limit} writes a second of namespace {namespace} (writes_per_second)"
    );
    let hint = format!("send it again in {wait_ms} ms");
    Refusal::new(Code::RateLimited, words).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert_eq!(bucket.take(1, 10, 5_000), Ok(()));
        }
        assert_eq!(bucket.take(1, 10, 5_000), Err(100));
        assert_eq!(bucket.take(1, 10, 5_099), Err(1));
        assert_eq!(bucket.take(1, 10, 5_100), Ok(()));
        assert_eq!(bucket.take(3, 10, 5_200), Err(200));
        assert_eq!(bucket.take(10, 10, 60_000), Ok(()), "it holds no more than one second's");
        assert_eq!(bucket.take(1, 10, 60_000), Err(100));
    }

    #[test]
    fn a_batch_of_more_than_a_second_is_taken_and_paid_for_afterwards() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(25, 10, 0), Ok(()));
        assert_eq!(bucket.take(1, 10, 0), Err(1_600));
        assert_eq!(bucket.take(25, 10, 1_600), Err(900), "only a full bucket takes it");
        assert_eq!(bucket.take(25, 10, 2_500), Ok(()));
    }

    #[test]
    fn another_rate_holds_at_once() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(1, 1, 0), Ok(()));
        assert_eq!(bucket.take(1, 1, 0), Err(1_000));
        assert_eq!(bucket.take(2, 2, 0), Ok(()));
        assert_eq!(bucket.take(1, 2, 0), Err(500));
    }

    #[test]
    fn the_clock_may_stand_still_and_go_on_for_ages() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(usize::MAX, u32::MAX, u64::MAX), Ok(()));
        assert!(bucket.take(1, u32::MAX, 0).is_err());
    }
}
