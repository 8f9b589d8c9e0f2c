//! Random tasks that take rows away or hide them, for tests with faults: each may be refused at any time.

use keepboth_core::ids::NodeId;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::Event;
use keepboth_store::{Collected, Incoming, Keep, Place, Received, Task, Verdict, Written};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::harness::{Bench, delete_op, key, mark, put_op};

/// What was done, as far as it is known.
#[derive(Debug)]
pub enum Done {
    Wrote(Result<Written, Refusal>),
    Received(Result<Vec<Received>, Refusal>),
    Judged(Result<bool, Refusal>),
    Forgot(String, Result<usize, Refusal>),
    Collected(Result<Collected, Refusal>),
    Agreed,
}

impl Done {
    /// True if it is unknown whether it was done.
    pub fn is_unknown(&self) -> bool {
        let refusal = match self {
            Done::Wrote(outcome) => outcome.as_ref().err(),
            Done::Received(outcome) => outcome.as_ref().err(),
            Done::Judged(outcome) => outcome.as_ref().err(),
            Done::Forgot(_, outcome) => outcome.as_ref().err(),
            Done::Collected(outcome) => outcome.as_ref().err(),
            Done::Agreed => None,
        };
        refusal.is_some_and(|refusal| refusal.code == Code::StoreFailed)
    }
}

/// One task on one of five keys. `peer` makes what comes from elsewhere.
pub fn chore(bench: &Bench, peer: &Bench, rng: &mut StdRng, now: u64) -> Done {
    let at = format!("k{}", rng.random_range(0..5));
    let snapshot = bench.store.snapshot();
    match rng.random_range(0..12) {
        0..3 => Done::Wrote(bench.op(put_op(&at, &now.to_string()), now)),
        3..5 => Done::Wrote(bench.op(delete_op(&at), now)),
        5..7 => {
            peer.put(&at, &format!("peer {now}"), now);
            let events: Vec<Event> = peer.store.snapshot().missing(&key(&at), &[]).expect("events");
            let judged = events.into_iter().map(|event| {
                let hide = rng.random_bool(0.3);
                let refused = hide.then(|| Refusal::new(Code::SchemaRefused, "no"));
                Incoming { event, refused }
            });
            let (events, from) = (judged.collect(), NodeId([5; 32]));
            Done::Received(bench.ask(|done| Task::Remote { events, from, maker: None, now, done }))
        }
        7 => {
            let page = snapshot.quarantine(None, 1);
            let Some(item) = page.ok().and_then(|mut page| page.items.pop()) else {
                return Done::Judged(Ok(false));
            };
            let verdict = if rng.random_bool(0.5) { Verdict::Admit } else { Verdict::Discard };
            let (key, version) = (item.key, item.version);
            Done::Judged(bench.ask(|done| Task::Judge { key, version, verdict, now, done }))
        }
        8 => {
            let tips = snapshot.tips(&key(&at)).unwrap_or_default();
            let keys = vec![(key(&at), tips)];
            let task = |done| Task::Forget { keys, local: true, purge: false, done };
            Done::Forgot(at, bench.ask(task))
        }
        9 => {
            let marks = vec![(NodeId([7; 32]), mark(now, now, now))];
            let _ = bench.store.submit_blocking(Task::Agreed { marks });
            Done::Agreed
        }
        _ => {
            let rules = Keep { values: 1, records: 2, trash_keep: 3, trash_forget: 6 };
            let (horizon, budget) = (u64::MAX, rng.random_range(1..40));
            let from = Place::default();
            let task = |done| Task::Collect { from, rules, horizon, now, budget, done };
            Done::Collected(bench.ask(task))
        }
    }
}
