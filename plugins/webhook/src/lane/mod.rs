//! One target: what it reads from the feed, and sends.

use std::any::Any;
use std::ops::Bound;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepboth_core::plugin::{Feed, RowChange, behind};
use keepboth_core::refusal::{Code, Refusal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::dead::{Graveyard, ROWS_MAX, corrupt, rows_between};
use crate::deliver::{Shared, deliver};
use crate::orders::Order;
use crate::post::Post;
use crate::queue::{Queue, WAITING_MAX, Waiting};
use crate::rows::{self, Dead, PLACE, Place, WAITING};
use crate::target::Target;
use crate::verdict::{self, Verdict};

/// What somebody asks of it.
mod obey;

/// Changes that are read at once.
const CHANGES_MAX: usize = 100;
/// How long rows may wait to be durable. A crash costs what was delivered since, which is delivered again.
const FLUSH: Duration = Duration::from_secs(1);
/// How long nothing is looked at where nothing happens.
const IDLE: Duration = Duration::from_secs(60);
/// How long requests under way may take when the plugin stops; what has no answer then is sent again.
const LAST: Duration = Duration::from_secs(1);

/// One target at work.
pub struct Lane {
    shared: Arc<Shared>,
    target: Arc<Target>,
    post: Arc<Post>,
    queue: Queue,
    place: Place,
    dead: Graveyard,
    under_way: JoinSet<Sent>,
    /// The receiver wants to be left alone until then.
    paused: u64,
    last_error: Option<String>,
    /// Since when rows wait to be durable.
    unsure: Option<Instant>,
    /// How many keys wait by the metrics.
    counted: i64,
}

/// What became of a change.
struct Sent {
    key: Arc<str>,
    waiting: Waiting,
    verdict: Verdict,
}

/// Serves a target until it is over. What goes wrong with the rows is logged, and all is taken up from them
/// again. Refused with `store_failed` when the table has failed: then it is to be opened again.
pub async fn run(
    shared: Arc<Shared>,
    target: Arc<Target>,
    mut news: watch::Receiver<u64>,
    mut orders: mpsc::Receiver<Order>,
) -> Result<(), Refusal> {
    while !shared.stop.is_cancelled() {
        let outcome = match Lane::open(shared.clone(), target.clone()) {
            Ok(mut lane) => {
                shared.host.warn(&format!("target {}", target.name), None);
                lane.work(&mut news, &mut orders).await
            }
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = outcome else { break };
        match refusal.code {
            Code::ShuttingDown | Code::UnknownNamespace => break,
            // It may as well be the store that failed.
            Code::StoreFailed if shared.table.write(&[], true).is_err() => return Err(refusal),
            _ => {}
        }
        let words = format!("the target {} is told nothing at this moment: {refusal}", target.name);
        shared.host.fails(&format!("target {}", target.name), words);
        let _ = timeout(FLUSH, shared.stop.cancelled()).await;
    }
    Ok(())
}

/// What a task has ended with: None if it was cut off, or its panic.
pub fn joined<T>(outcome: Result<T, JoinError>) -> Result<Option<T>, Box<dyn Any + Send>> {
    outcome.map(Some).or_else(|error| error.try_into_panic().map_or(Ok(None), Err))
}

impl Lane {
    fn open(shared: Arc<Shared>, target: Arc<Target>) -> Result<Lane, Refusal> {
        let (table, name) = (shared.table.as_ref(), target.name.as_str());
        let feed = shared.host.feed(&shared.namespace)?;
        let kept = table.get(&rows::key(PLACE, name, &[]))?;
        let kept = kept.map(|row| Place::decode(&row).ok_or_else(corrupt)).transpose()?;
        // A target that is new begins with what comes, if it does not want what is there.
        let sequence = if target.declared.initial { 0 } else { feed.last };
        let place = kept.unwrap_or(Place { store: feed.store, epoch: feed.epoch, sequence });
        if kept.is_none() {
            table.write(&[(rows::key(PLACE, name, &[]), Some(place.encode()))], true)?;
        }
        let mut queue = Queue::default();
        let prefix = rows::key(WAITING, name, &[]);
        let mut from = Bound::Included(prefix.clone());
        loop {
            let found = rows_between(table, &from, &behind(&prefix), ROWS_MAX)?;
            let Some((last, _)) = found.last() else { break };
            from = Bound::Excluded(last.clone());
            for (key, value) in &found {
                let key = key.get(prefix.len()..).and_then(|key| std::str::from_utf8(key).ok());
                let (key, waiting) = key.zip(Waiting::decode(value)).ok_or_else(corrupt)?;
                queue.load(key, waiting);
            }
        }
        let dead = Graveyard::open(table, name, target.declared.dead_max)?;
        let lane = Lane {
            post: Arc::new(Post::new(&target)),
            queue,
            place,
            dead,
            under_way: JoinSet::new(),
            paused: 0,
            last_error: None,
            unsure: None,
            counted: 0,
            shared,
            target,
        };
        lane.warn_of_dead();
        Ok(lane)
    }

    /// Has status say that something was given up, as long as it is there.
    fn warn_of_dead(&self) {
        let (name, namespace) = (&self.target.name, &self.shared.namespace);
        let words = |count| {
            format!(
                "{count} events for the target {name} are dead: keepboth plugin {namespace} webhook dead shows why"
            )
        };
        let dead = Some(self.dead.count()).filter(|count| *count > 0);
        self.shared.host.warn(&format!("dead {name}"), dead.map(words));
    }

    async fn work(
        &mut self,
        news: &mut watch::Receiver<u64>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<(), Refusal> {
        let stop = self.shared.stop.clone();
        loop {
            let more = self.read()?;
            self.send();
            if self.unsure.is_some_and(|since| since.elapsed() >= FLUSH) {
                self.flush()?;
            }
            let pause = if more { Duration::ZERO } else { self.pause() };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((order, reply)) = orders.recv() => {
                    // Who does not wait any more misses nothing.
                    let _ = reply.send(self.obey(&order));
                }
                Some(sent) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    match joined(sent) {
                        Ok(Some(sent)) => self.settle(sent)?,
                        Ok(None) => {}
                        Err(panic) => resume_unwind(panic),
                    }
                }
                Ok(()) = news.changed(), if self.has_room() => {}
                () = sleep(pause) => {}
            }
        }
        let _ = timeout(LAST, async {
            while let Some(Ok(sent)) = self.under_way.join_next().await {
                if self.settle(sent).is_err() {
                    return;
                }
            }
        })
        .await;
        self.flush()
    }

    fn now(&self) -> u64 {
        self.shared.host.now()
    }

    fn has_room(&self) -> bool {
        self.queue.len() < WAITING_MAX
    }

    /// How long there is nothing to be done if nothing happens.
    fn pause(&self) -> Duration {
        let free = self.under_way.len() < self.target.declared.concurrency;
        let due = self.queue.next_due().filter(|_| free).map(|due| due.max(self.paused));
        let due = due.map(|due| Duration::from_millis(due.saturating_sub(self.now())));
        let flush = self.unsure.map(|since| FLUSH.saturating_sub(since.elapsed()));
        let flush = flush.unwrap_or(IDLE);
        due.map_or(flush, |due| due.min(flush))
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        if self.unsure.take().is_some() {
            self.shared.table.write(&[], true)?;
        }
        Ok(())
    }

    fn write(&mut self, changes: &[RowChange]) -> Result<(), Refusal> {
        self.shared.table.write(changes, false)?;
        self.unsure.get_or_insert_with(Instant::now);
        let waiting = i64::try_from(self.queue.len()).unwrap_or(i64::MAX);
        let more = waiting - std::mem::replace(&mut self.counted, waiting);
        let all = self.shared.waiting.fetch_add(more, Ordering::Relaxed) + more;
        self.shared.host.gauge("waiting", all);
        Ok(())
    }

    /// Reads some of the feed, if there is room for what it tells. True if there is more.
    fn read(&mut self) -> Result<bool, Refusal> {
        let shared = self.shared.clone();
        let feed = shared.host.feed(&shared.namespace)?;
        if (self.place.store, self.place.epoch) != (feed.store, feed.epoch) {
            self.begin_anew(&feed, "the store was replaced or put back from a backup")?;
        }
        if self.place.sequence >= feed.last || !self.has_room() {
            return Ok(false);
        }
        let found = match shared.host.changes(&shared.namespace, self.place.sequence, CHANGES_MAX) {
            Err(refusal) if refusal.code == Code::BadCursor => {
                self.begin_anew(&feed, "deletes were forgotten that it had not read")?;
                return Ok(true);
            }
            found => found?,
        };
        let now = self.now();
        let mut changes = Vec::with_capacity(found.items.len() + 1);
        for changed in &found.items {
            let key = changed.key.as_str();
            if self.target.tells(changed) {
                let waiting = self.queue.changed(key, changed.sequence, now);
                changes.push(self.row(key, Some(waiting)));
            }
        }
        self.place.sequence = found.next;
        changes.push((rows::key(PLACE, &self.target.name, &[]), Some(self.place.encode())));
        self.write(&changes)?;
        Ok(found.next < feed.last && self.has_room())
    }

    /// Everything that is there is told, and what waits is part of it.
    fn begin_anew(&mut self, feed: &Feed, why: &str) -> Result<(), Refusal> {
        let (namespace, target) = (&self.shared.namespace, &self.target.name);
        tracing::warn!(%namespace, target, "the webhook tells everything anew: {why}");
        self.place = Place { store: feed.store, epoch: feed.epoch, sequence: 0 };
        let row = (rows::key(PLACE, &self.target.name, &[]), Some(self.place.encode()));
        self.write(&[row])
    }

    fn row(&self, key: &str, waiting: Option<Waiting>) -> RowChange {
        let row = rows::key(WAITING, &self.target.name, key.as_bytes());
        (row, waiting.map(|waiting| waiting.encode()))
    }

    /// Begins as many requests as there may be.
    fn send(&mut self) {
        let now = self.now();
        while now >= self.paused
            && self.under_way.len() < self.target.declared.concurrency
            && let Some((key, waiting)) = self.queue.next(now)
        {
            let (shared, target) = (self.shared.clone(), self.target.clone());
            let (post, place) = (self.post.clone(), self.place);
            self.under_way.spawn(async move {
                let verdict = deliver(&shared, &target, &post, place, &key, waiting).await;
                Sent { key, waiting, verdict }
            });
        }
    }

    fn settle(&mut self, sent: Sent) -> Result<(), Refusal> {
        let Sent { key, waiting, verdict } = sent;
        let attempts = waiting.attempts.saturating_add(1);
        let (now, host) = (self.now(), self.shared.host.clone());
        let (namespace, target) = (self.shared.namespace.clone(), self.target.clone());
        let name = &target.name;
        let (why, after) = match verdict {
            Verdict::Overtaken => {
                let next = self.queue.done(&key, waiting.sequence, now);
                return self.write(&[self.row(&key, next)]);
            }
            Verdict::Done => {
                if self.last_error.take().is_some() {
                    tracing::info!(%namespace, target = name, "the webhook is answered again");
                }
                host.count("delivered", 1);
                let next = self.queue.done(&key, waiting.sequence, now);
                return self.write(&[self.row(&key, next)]);
            }
            Verdict::Again { why, after } if attempts < target.declared.attempts => (why, after),
            Verdict::Again { why, .. } => {
                return self.bury(
                    &key,
                    waiting,
                    attempts,
                    format!("{attempts} attempts, the last: {why}"),
                );
            }
            Verdict::Dead(why) => return self.bury(&key, waiting, attempts, why),
        };
        host.count("failed", 1);
        if self.last_error.as_ref() != Some(&why) {
            tracing::warn!(%namespace, target = name, key = &*key, "{why}; it is tried again");
        }
        self.last_error = Some(why);
        if let Some(after) = after {
            let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            self.paused = self.paused.max(now.saturating_add(after));
        }
        let chance = getrandom::u64().unwrap_or_default();
        let pause = verdict::pause(&target.declared, attempts, after, chance);
        let next = self.queue.again(&key, attempts, now.saturating_add(pause));
        self.write(&[self.row(&key, next)])
    }

    /// Gives an event up.
    fn bury(
        &mut self,
        key: &str,
        waiting: Waiting,
        attempts: u32,
        why: String,
    ) -> Result<(), Refusal> {
        let (namespace, target) = (&self.shared.namespace, &self.target.name);
        tracing::warn!(%namespace, target, key, "an event is dead: {why}");
        let now = self.now();
        let next = self.queue.done(key, waiting.sequence, now);
        let mut changes = vec![self.row(key, next)];
        let dead = Dead { key: key.to_owned(), attempts, at: now, why: why.clone() };
        let table = self.shared.table.clone();
        if self.dead.bury(table.as_ref(), waiting.sequence, &dead, &mut changes)? {
            tracing::warn!(%namespace, target, "too many events are dead: the oldest is dropped");
            self.shared.host.count("dropped", 1);
        }
        self.shared.host.count("dead", 1);
        self.last_error = Some(why);
        self.warn_of_dead();
        self.write(&changes)
    }
}
