//! Keeping and forgetting: a namespace's store drops, step by step, what nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::refusal::Refusal;
use keepboth_store::{Collected, Task};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::Mesh;
use crate::clock;
use crate::namespace::Space;

/// How often it is looked whether anything may go, at the most and at the least.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(250);
/// Rows that one step looks at, so that writes do not wait for long.
const STEP_ROWS: usize = 2_000;
/// Steps in a row, until the next look.
const STEPS_MAX: usize = 500;

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

async fn collect(mesh: &Mesh, space: &Space) -> Result<(), Task> {
    for _ in 0..STEPS_MAX {
        let (answer, answered) = oneshot::channel();
        let task = Task::Collect {
            rules: space.setup().bounds.keep(),
            horizon: mesh.horizon(space),
            now: clock::now(),
            budget: STEP_ROWS,
            done: Box::new(move |outcome: Result<Collected, Refusal>| {
                let _ = answer.send(outcome);
            }),
        };
        space.store.submit(task).await?;
        match answered.await {
            Ok(Ok(collected)) if collected.more => tokio::task::yield_now().await,
            Ok(Err(refusal)) => {
                tracing::warn!(namespace = space.name.as_str(), "nothing was forgotten: {refusal}");
                break;
            }
            _ => break,
        }
    }
    Ok(())
}
