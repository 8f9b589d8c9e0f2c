//! Each task on a draft: what is to be written, and the answer that it gets when that is durable.

use keepboth_core::ids::StoreId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::Refusal;
use keepboth_core::write::Writer;

use crate::beside::Asked;
use crate::collect::Step;
use crate::draft::Draft;
use crate::local::Local;
use crate::options::Options;
use crate::remote::Judge;
use crate::task::{Collected, Done, Task};
use crate::verdict;

/// Gives a task its answer: what was planned, or the failure of its group.
pub type Answer = Box<dyn FnOnce(Option<Refusal>) + Send>;

/// What planning knows besides the draft.
pub struct Planner {
    store: StoreId,
    namespace: Namespace,
    asked: Asked,
}

impl Planner {
    /// The planner of a store.
    pub fn new(store: StoreId, namespace: Namespace) -> Planner {
        Planner { store, namespace, asked: Asked::default() }
    }

    /// Plans a task; a refused one leaves nothing in the draft.
    pub fn plan(&mut self, draft: &mut Draft, options: &Options, task: Task) -> Answer {
        let writer = |now| Writer { store: self.store, now };
        match task {
            Task::Local { ops, now, done } => {
                answer(done, Local { draft, writer: writer(now), options }.batch(ops))
            }
            Task::Merge { key, conflict, value, now, done } => {
                let local = Local { draft, writer: writer(now), options };
                answer(done, local.merge(key, conflict, value))
            }
            Task::Remote { events, from, maker, now, done } => {
                let (store, asked) = (self.store, &mut self.asked);
                let judge = Judge { draft, options, store, asked, from, maker, now };
                answer(done, Ok(judge.receive(events)))
            }
            Task::Agreed { marks } => {
                draft.marks.extend(marks);
                Box::new(|_| {})
            }
            Task::Judge { key, version, verdict, now, done } => {
                draft.now = now;
                alone(draft, done, |draft| verdict::judge(draft, &key, &version, verdict))
            }
            Task::Replace { keys, events, from, now, done } => {
                let (store, asked) = (self.store, &mut self.asked);
                alone(draft, done, |draft| {
                    verdict::drop_older(draft, &keys)?;
                    let judge = Judge { draft, options, store, asked, from, maker: None, now };
                    judge.replace(events, &keys)
                })
            }
            Task::Forget { keys, local, purge, done } => {
                let namespace = &self.namespace;
                alone(draft, done, |draft| {
                    let mut count = 0;
                    for (key, tips) in keys {
                        let forgotten = verdict::forget(draft, &key, &tips, local);
                        count += usize::from(verdict::skipped(&key, forgotten)?);
                    }
                    tracing::info!(%namespace, count, purge, "keys of the trash are forgotten");
                    Ok(count)
                })
            }
            Task::Collect { from, rules, horizon, now, budget, done } => {
                alone(draft, done, |draft| {
                    let done = Collected::default();
                    Step { draft, from, rules, horizon, now, budget, done }.run()
                })
            }
        }
    }
}

/// Plans a task that has the draft for itself; nothing is left of it after a refusal.
fn alone<T: Send + 'static>(
    draft: &mut Draft,
    done: Done<T>,
    plan: impl FnOnce(&mut Draft) -> Result<T, Refusal>,
) -> Answer {
    let planned = plan(draft);
    if planned.is_err() {
        *draft = draft.anew();
    }
    answer(done, planned)
}

fn answer<T: Send + 'static>(done: Done<T>, planned: Result<T, Refusal>) -> Answer {
    Box::new(move |failure| {
        done(match failure {
            None => planned,
            Some(refusal) => Err(refusal),
        });
    })
}
