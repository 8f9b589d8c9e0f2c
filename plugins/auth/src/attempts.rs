//! How often an address may show wrong tokens: a few times at once, then after a pause that doubles.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use keepboth_core::refusal::{Code, Refusal};

/// Most addresses that are remembered; the one that was heard of longest ago gives way.
const ADDRESSES_MAX: usize = 10_000;
/// The longest pause. An address that was quiet for as long is forgotten.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// The first pause, which doubles with each wrong token.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The addresses that have shown wrong tokens of late.
#[derive(Debug)]
pub struct Attempts {
    /// Wrong tokens that cost no pause.
    free: u32,
    seen: HashMap<IpAddr, Seen>,
}

#[derive(Debug)]
struct Seen {
    wrong: u32,
    last: Instant,
    /// Until then nothing is looked at.
    until: Instant,
}

/// An attempt that was taken: of whom, when, and the end of the pause after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    address: IpAddr,
    at: Instant,
    until: Instant,
}

impl Attempts {
    /// Nobody was seen yet.
    pub fn new(free: u32) -> Attempts {
        Attempts { free, seen: HashMap::new() }
    }

    /// Refused with `rate_limited` while the address has to wait.
    pub fn may_try(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        let until = self.seen.get(&net(address)).map(|seen| seen.until);
        let left = until.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
        if left.is_zero() {
            return Ok(());
        }
        let seconds = left.as_secs() + 1;
        let words = format!("too many wrong tokens from {address}; try again in {seconds} s");
        Err(Refusal::new(Code::RateLimited, words))
    }

    /// Takes an attempt, which counts as a wrong token unless it is given back. Refused as in
    /// [`Attempts::may_try`].
    pub fn take(&mut self, address: IpAddr, now: Instant) -> Result<Taken, Refusal> {
        self.may_try(address, now)?;
        let address = net(address);
        if !self.seen.contains_key(&address) {
            self.make_room(now);
        }
        let seen = self.seen.entry(address).or_insert(Seen { wrong: 0, last: now, until: now });
        if now.saturating_duration_since(seen.last) > PAUSE_MAX {
            seen.wrong = 0;
        }
        seen.wrong = seen.wrong.saturating_add(1);
        seen.last = now;
        if let Some(beyond) = seen.wrong.checked_sub(self.free.saturating_add(1)) {
            let pause = PAUSE_MIN.saturating_mul(1 << beyond.min(16)).min(PAUSE_MAX);
            seen.until = now + pause;
        }
        Ok(Taken { address, at: now, until: seen.until })
    }

    /// Gives an attempt back: the token was right. The pause that it began ends, no other.
    pub fn give_back(&mut self, taken: Taken) {
        let Some(seen) = self.seen.get_mut(&taken.address) else { return };
        seen.wrong = seen.wrong.saturating_sub(1);
        if seen.until == taken.until {
            seen.until = seen.until.min(taken.at);
        }
        if seen.wrong == 0 {
            self.seen.remove(&taken.address);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.seen.len() < ADDRESSES_MAX {
            return;
        }
        self.seen.retain(|_, seen| now.saturating_duration_since(seen.last) <= PAUSE_MAX);
        if self.seen.len() == ADDRESSES_MAX {
            let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.last).map(|(ip, _)| *ip);
            oldest.map(|address| self.seen.remove(&address));
        }
    }
}

/// The network that one client has: of IPv6 the first 64 bits.
fn net(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn after_a_few_wrong_tokens_the_address_waits_twice_as_long_each_time() {
        let (mut attempts, mut now) = (Attempts::new(2), Instant::now());
        let address = ip("10.0.0.1");
        for _ in 0..2 {
            attempts.take(address, now).expect("an attempt");
            assert_eq!(attempts.may_try(address, now), Ok(()));
        }
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            attempts.take(address, now).expect("an attempt");
            let refusal = attempts.may_try(address, now).expect_err("refused");
            assert_eq!(refusal.code, Code::RateLimited);
            let words =
                format!("too many wrong tokens from {address}; try again in {} s", pause + 1);
            assert_eq!(refusal.message, words);
            assert_eq!(attempts.may_try(ip("10.0.0.2"), now), Ok(()), "another waits for nothing");
            now += Duration::from_secs(pause);
            assert_eq!(attempts.may_try(address, now), Ok(()));
        }
        now += Duration::from_millis(1);
        attempts.take(address, now).expect("an attempt");
        assert_eq!(attempts.may_try(address, now), Ok(()), "all is forgotten");
    }

    #[test]
    fn an_attempt_that_is_given_back_leaves_neither_a_count_nor_a_pause() {
        let (mut attempts, mut now) = (Attempts::new(1), Instant::now());
        let address = ip("10.0.0.1");
        let first = attempts.take(address, now).expect("an attempt");
        attempts.give_back(first);
        assert!(attempts.seen.is_empty());
        attempts.take(address, now).expect("the free one");
        for _ in 0..3 {
            let right = attempts.take(address, now).expect("an attempt");
            assert!(attempts.take(address, now).is_err(), "nothing is left meanwhile");
            attempts.give_back(right);
        }
        let slow = attempts.take(address, now).expect("an attempt");
        now += PAUSE_MIN;
        attempts.take(address, now).expect("after the pause");
        attempts.give_back(slow);
        assert!(attempts.may_try(address, now).is_err(), "the pause of another goes on");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let (mut attempts, now) = (Attempts::new(0), Instant::now());
        attempts.take(ip("2001:db8::1"), now).expect("an attempt");
        assert!(attempts.may_try(ip("2001:db8::2"), now).is_err());
        assert!(attempts.may_try(ip("2001:db8:0:1::1"), now).is_ok());
        attempts.take(ip("::ffff:10.0.0.1"), now).expect("an attempt");
        assert!(attempts.may_try(ip("10.0.0.1"), now).is_err());
    }

    #[test]
    fn no_more_than_so_many_addresses_are_remembered_and_the_oldest_gives_way() {
        let (mut attempts, start) = (Attempts::new(0), Instant::now());
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..=ADDRESSES_MAX as u32 {
            attempts.take(address(n), start + Duration::from_micros(n.into())).expect("an attempt");
        }
        assert_eq!(attempts.seen.len(), ADDRESSES_MAX);
        assert!(attempts.may_try(address(0), start).is_ok());
        assert!(attempts.may_try(address(1), start).is_err());
    }
}
