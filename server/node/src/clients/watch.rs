//! A watch: what is there (if asked), a mark, and then every change, each with a cursor.
//!
//! The task reads the namespace's news as they come. When it lags behind, or resumes from a cursor,
//! it reads the store's feed, which has one entry for each key: the latest. So a slow client costs
//! nothing, misses nothing but states that were overwritten meanwhile, and gets nothing twice.

use std::sync::Arc;

use bytes::Bytes;
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::KeyState;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::out::{Out, Slot, Unread};
use crate::metrics::Metrics;
use crate::namespace::news::{self, News};
use crate::namespace::{Space, removed};
use crate::protocol::{
    Answer, Call, Cursor, Format, Notice, State, Told, encode_end, encode_event, encode_live,
};

/// Keys that are read from the store at once.
const PAGE: usize = 256;

/// One watch of a connection.
struct Watch {
    sub: u64,
    format: Format,
    prefix: String,
    values: bool,
    space: Arc<Space>,
    out: mpsc::Sender<Out>,
    unread: Unread,
    /// The state of the store as it was last told.
    state: State,
    /// Everything up to here was told.
    sequence: u64,
}

/// A watch as its connection holds it.
pub struct Open {
    /// Cancelled when it ends, by whomever.
    pub stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Open {
    /// Ends it. When this returns, its last frame is on the way.
    pub async fn end(self) {
        self.stop.cancel();
        // One that panicked has told its last as well.
        let _ = self.task.await;
    }
}

/// The client is gone, or the watch was ended.
struct Gone;

impl Connection {
    /// Opens a watch; its answer goes out before its first event.
    pub fn watch(&mut self, id: u64, call: Call, slot: Slot) {
        match self.open(call) {
            Ok((sub, start)) => {
                self.answer(slot, id, Ok(Answer::Watch { sub }));
                self.watches.insert(sub, start());
            }
            Err(refusal) => self.answer(slot, id, Err(refusal)),
        }
    }

    fn open(&mut self, call: Call) -> Result<(u64, impl FnOnce() -> Open + use<>), Refusal> {
        let Call::Watch { ns, prefix, initial, cursor, values } = call else {
            return Err(Refusal::new(Code::UnknownMethod, "not a watch"));
        };
        let space = self.clients.space(&ns)?;
        self.watches.retain(|_, watch| !watch.stop.is_cancelled());
        let most = self.clients.limits.load().watches_max;
        if self.watches.len() >= most {
            let words = format!("the connection has {most} watches, which is the limit");
            return Err(Refusal::new(Code::TooManyWatches, words));
        }
        if let Some(cursor) = &cursor {
            check_cursor(&space, cursor)?;
        }
        let sub = self.next_watch;
        self.next_watch += 1;
        let stop = self.stop.child_token();
        let news = space.listen();
        let watch = Watch {
            sub,
            format: self.format,
            prefix: prefix.unwrap_or_default(),
            values,
            sequence: cursor.map_or_else(|| space.store.counts().last_sequence, |c| c.sequence),
            state: news::level(space.state().level),
            space,
            out: self.out.clone(),
            unread: self.unread.clone(),
        };
        let initial = initial && cursor.is_none();
        let (metrics, tasks) = (self.clients.metrics.clone(), self.clients.tasks.clone());
        Ok((sub, move || {
            let task = tasks.spawn(run(watch, news, initial, stop.clone(), metrics));
            Open { stop, task }
        }))
    }
}

fn check_cursor(space: &Space, cursor: &Cursor) -> Result<(), Refusal> {
    let (own, last) = (space.cursor(cursor.sequence), space.store.counts().last_sequence);
    let forgotten = space.store.forgotten_high();
    if *cursor == own && (forgotten..=last).contains(&cursor.sequence) {
        return Ok(());
    }
    let what = match *cursor == own {
        true if cursor.sequence > last => "is ahead of the store",
        true => "is older than deletes that were forgotten since, in the store",
        false => "is of another store",
    };
    let words = format!("the cursor {cursor} {what}, which is at {}", space.cursor(last));
    Err(Refusal::new(Code::BadCursor, words).hint("watch without a cursor, with `initial`"))
}

async fn run(
    mut watch: Watch,
    news: broadcast::Receiver<Arc<News>>,
    initial: bool,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
) {
    metrics.watches.inc();
    let space = watch.space.clone();
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        () = space.until_gone() => Ok(()),
        ended = watch.tell(news, initial) => ended,
    };
    // A store that was closed under the watch is no reason of its own.
    let ended = match space.is_gone() && !stop.is_cancelled() {
        true => Err(removed(&space.name)),
        false => ended,
    };
    metrics.watches.dec();
    // Whoever hears of the end may open another one.
    stop.cancel();
    if let Err(refusal) = ended {
        let mut frame = Vec::new();
        encode_end(watch.format, watch.sub, &refusal, &mut frame);
        let _ = watch.out.send(Out::Pushed(frame.into(), None)).await;
    }
}

impl Watch {
    /// Tells until the client is gone; an error ends the watch and is told.
    async fn tell(
        &mut self,
        mut news: broadcast::Receiver<Arc<News>>,
        initial: bool,
    ) -> Result<(), Refusal> {
        let told = if initial { self.tell_present().await? } else { self.catch_up().await? };
        if told.is_err() || self.push_live().await.is_err() {
            return Ok(());
        }
        loop {
            let told = match news.recv().await {
                Ok(item) => self.tell_news(&item).await,
                Err(RecvError::Lagged(_)) => match self.catch_up().await? {
                    Ok(()) => self.tell_missed_state().await,
                    gone => gone,
                },
                Err(RecvError::Closed) => return Ok(()),
            };
            if told.is_err() {
                return Ok(());
            }
        }
    }

    /// Everything that is there, in the order of keys, as of one moment.
    async fn tell_present(&mut self) -> Result<Result<(), Gone>, Refusal> {
        let snapshot = self.space.store.snapshot();
        self.sequence = snapshot.counts().last_sequence;
        let mut after: Option<Key> = None;
        loop {
            let page = snapshot.states(&self.prefix, after.as_ref(), PAGE)?;
            for state in page.items {
                let told = Told::new(self.space.notice(&state, false));
                if self.push(&told).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Ok(())),
            }
        }
    }

    /// Everything that changed since what was told, in the order of the feed.
    async fn catch_up(&mut self) -> Result<Result<(), Gone>, Refusal> {
        let snapshot = self.space.store.snapshot();
        while self.sequence < snapshot.counts().last_sequence {
            let (states, next) = snapshot.changes(self.sequence, PAGE)?;
            for state in states {
                if self.tell_state_of(&state).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
            self.sequence = next;
            // A page may have nothing for this watch, and then nothing else waits.
            tokio::task::yield_now().await;
        }
        Ok(Ok(()))
    }

    /// A change of state that was among the news that were missed.
    async fn tell_missed_state(&mut self) -> Result<(), Gone> {
        let (before, now) = (self.state, self.space.state());
        self.state = news::level(now.level);
        if self.state == before {
            return Ok(());
        }
        self.push(&Told::new(self.space.state_notice(before, &now))).await
    }

    async fn tell_state_of(&mut self, state: &KeyState) -> Result<(), Gone> {
        if !state.key.as_str().starts_with(&self.prefix) {
            return Ok(());
        }
        self.push(&Told::new(self.space.notice(state, true))).await
    }

    async fn tell_news(&mut self, news: &News) -> Result<(), Gone> {
        let published = match news {
            News::State(told) => {
                if let Notice::State { state, .. } = told.notice() {
                    self.state = *state;
                }
                return self.push(told).await;
            }
            News::Commit(published) => published,
        };
        for (at, change) in published.commit.changes.iter().enumerate() {
            let state = &change.state;
            if state.sequence <= self.sequence {
                continue;
            }
            if state.key.as_str().starts_with(&self.prefix)
                && let Some(told) = published.told(at, &self.space)
            {
                self.push(&told).await?;
            }
            self.sequence = state.sequence;
        }
        Ok(())
    }

    async fn push(&self, told: &Told) -> Result<(), Gone> {
        let body = told.body(self.format, self.values);
        let mut frame = Vec::with_capacity(body.len() + 32);
        encode_event(self.format, self.sub, body, &mut frame);
        self.send(frame.into()).await
    }

    async fn push_live(&self) -> Result<(), Gone> {
        let mut frame = Vec::new();
        let cursor = self.space.cursor(self.sequence);
        encode_live(self.format, self.sub, &cursor, &mut frame);
        self.send(frame.into()).await
    }

    async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        let room = self.unread.room(frame.len()).await;
        self.out.send(Out::Pushed(frame, room)).await.map_err(|_| Gone)
    }
}
