//! Keeping and forgetting: a namespace's store drops, step by step, what nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::refusal::Refusal;
use keepboth_store::{Collected, Place, Task};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Mesh;
use crate::clock;
use crate::namespace::Space;

/// How often it is looked whether anything may go, at the most and at the least.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(250);
/// Rows that one step looks at, so that writes wait for it no longer than for another group of writes.
const STEP_ROWS: usize = 2_000;
/// For this many times as long as a step took nothing is looked at: it is writes that the store is for.
const REST: u32 = 3;
const REST_MAX: Duration = Duration::from_millis(100);

/// Runs until the task is ended.
pub async fn run(mesh: Arc<Mesh>, space: Arc<Space>) {
    let mut looks = interval(every(&space));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = mesh.stop.cancelled() => return,
            () = space.until_gone() => return,
            _ = looks.tick() => {}
        }
        if write_marks(&space).await.is_err() || collect(&mesh, &space).await.is_err() {
            // The store is closed.
            return;
        }
    }
}

/// Often enough for the shortest time that the config names.
fn every(space: &Space) -> Duration {
    let keep = space.setup().bounds.keep();
    let shortest = Duration::from_millis(keep.trash_keep.min(keep.trash_forget) / 4);
    shortest.clamp(LOOK_EVERY_MIN, LOOK_EVERY)
}

async fn write_marks(space: &Space) -> Result<(), Task> {
    let marks = space.marks().take_changed();
    if marks.is_empty() { Ok(()) } else { space.store.submit(Task::Agreed { marks }).await }
}

/// A round: everything is looked at once.
async fn collect(mesh: &Mesh, space: &Space) -> Result<(), Task> {
    let (mut next, mut marked) = (Some(Place::default()), Instant::now());
    while let Some(from) = next {
        if marked.elapsed() >= LOOK_EVERY {
            write_marks(space).await?;
            marked = Instant::now();
        }
        let (answer, answered) = oneshot::channel();
        let task = Task::Collect {
            from,
            rules: space.setup().bounds.keep(),
            horizon: mesh.horizon(space),
            now: clock::now(),
            budget: STEP_ROWS,
            done: Box::new(move |outcome: Result<Collected, Refusal>| {
                let _ = answer.send(outcome);
            }),
        };
        let started = Instant::now();
        space.store.submit(task).await?;
        next = match answered.await {
            Ok(Ok(collected)) => collected.next,
            Ok(Err(refusal)) => {
                tracing::warn!(namespace = space.name.as_str(), "nothing was forgotten: {refusal}");
                None
            }
            Err(_) => None,
        };
        if next.is_some() {
            let rest = (started.elapsed() * REST).min(REST_MAX);
            tokio::select! {
                () = mesh.stop.cancelled() => break,
                () = space.until_gone() => break,
                () = sleep(rest) => {}
            }
        }
    }
    Ok(())
}
