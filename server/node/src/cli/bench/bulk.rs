//! Many objects at once, given to a store from within.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use keepboth_core::ids::NodeId;
use keepboth_core::name::Name;
use keepboth_core::refusal::Refusal;
use keepboth_core::session::Received;
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::write::Condition;
use keepboth_store::{Incoming, Op, Store, Task};

use super::data;
use crate::cli::exit::{Exit, Failure};
use crate::clock;

/// Bytes of histories that are copied at once.
const PAGE: usize = 32 * 1024 * 1024;
/// Batches that are under way at once, so that the next is ready when one is written.
const AT_ONCE: usize = 3;
/// How often stores are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long stores may take to become what they are to be.
const SAME_WITHIN: Duration = Duration::from_secs(300);

/// Puts this value at the keys with these numbers, in batches of so many.
pub fn put(store: &Store, numbers: Range<u64>, batch: u64, value: &str) -> Result<(), Failure> {
    let value: serde_json::Value = serde_json::from_str(value).map_err(failed)?;
    let value = Value::json(&value);
    let (mut waiting, mut from) = (VecDeque::new(), numbers.start);
    while from < numbers.end {
        let until = numbers.end.min(from + batch);
        let op = |number| {
            let name = Name::Key(data::checked_key(number)?);
            Ok(Op::Put { name, value: value.clone(), condition: Condition::None })
        };
        let ops = (from..until).map(op).collect::<Result<Vec<Op>, Refusal>>().map_err(failed)?;
        let (done, answer) = mpsc::channel();
        let done = Box::new(move |outcome| drop(done.send(outcome)));
        submit(store, Task::Local { ops, now: clock::now(), done })?;
        waiting.push_back(answer);
        from = until;
        settle(&mut waiting, AT_ONCE - 1)?;
    }
    settle(&mut waiting, 0)
}

/// Gives a store all that another one has.
pub fn copy(from: &Store, to: &Store) -> Result<(), Failure> {
    let (mut waiting, mut next) = (VecDeque::new(), Some([0; 16]));
    while let Some(first) = next {
        let page = from.snapshot().page(first, [0xff; 16], PAGE).map_err(failed)?;
        waiting.push_back(give(to, page.events)?);
        next = page.next;
        settle(&mut waiting, AT_ONCE - 1)?;
    }
    settle(&mut waiting, 0)
}

/// Gives a store versions as a peer would.
pub fn give(store: &Store, events: Vec<Event>) -> Result<Answer<Vec<Received>>, Failure> {
    let events = events.into_iter().map(Incoming::from).collect();
    let (done, answer) = mpsc::channel();
    let done = Box::new(move |outcome| drop(done.send(outcome)));
    let (from, maker) = (NodeId([0; 32]), None);
    submit(store, Task::Remote { events, from, maker, now: clock::now(), done })?;
    Ok(answer)
}

/// An answer that comes when something is durable.
pub type Answer<T> = Receiver<Result<T, Refusal>>;

/// Waits for answers until so many are left.
fn settle<T>(waiting: &mut VecDeque<Answer<T>>, rest: usize) -> Result<(), Failure> {
    while waiting.len() > rest
        && let Some(answer) = waiting.pop_front()
    {
        answer.recv().map_err(failed)?.map_err(failed)?;
    }
    Ok(())
}

fn submit(store: &Store, task: Task) -> Result<(), Failure> {
    store.submit_blocking(task).map_err(|_| failed("it is closed"))
}

/// Waits until two stores hold the same, and more than nothing; how long that took from `since`.
pub fn until_same(a: &Store, b: &Store, since: Instant) -> Result<Duration, Failure> {
    until(since, "it did not become the same as the other", || {
        a.root() == b.root() && a.counts().keys > 0
    })
}

/// Waits until this holds; how long that took from `since`.
pub fn until(since: Instant, late: &str, holds: impl Fn() -> bool) -> Result<Duration, Failure> {
    while !holds() {
        if since.elapsed() > SAME_WITHIN {
            return Err(failed(late));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(since.elapsed())
}

/// Why a part could not be measured.
pub fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the benchmark's store: {error}"))
}
