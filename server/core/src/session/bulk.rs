//! Histories that the peer lacks, sent when there is room, and the marks between them.

use std::collections::{BTreeMap, VecDeque};

use super::live::TIPS_MAX;
use super::{Histories, Output, Replica, Session};
use crate::digest::Prefix;
use crate::ids::VersionId;
use crate::limits::figure;
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::version::Event;
use crate::wire::{Answered, Events, KeyTips, Message, size};

/// Items that wait to be sent; a peer that asks for more at once is cut off.
const BULK_MAX: usize = 100_000;
/// What anything takes of the room, even if nothing comes of it.
const MARK_BYTES: usize = 64;
/// Versions and keys, of 32 or 16 bytes, that all these items may name.
const NAMES_MAX: usize = 2_000_000;

/// Something that is sent when there is room, in its turn.
#[derive(Debug)]
pub(super) enum Bulk {
    /// What the peer lacks of a key.
    Missing(Missing),
    /// Everything in a range, but for these keys; sorted.
    Range { namespace: Namespace, next: [u8; 16], last: [u8; 16], except: Vec<[u8; 16]> },
    /// A key that nobody needs any more.
    Forget { namespace: Namespace, key: KeyTips },
    /// All that the peer asked for up to here was sent.
    Done { namespace: Namespace },
}

/// What the peer lacks of a key.
#[derive(Debug)]
pub(super) struct Missing {
    pub namespace: Namespace,
    pub key: Key,
    /// The peer's tips, and other versions that it has.
    pub have: Vec<VersionId>,
    pub known: Vec<VersionId>,
    /// The question of the peer that it answers.
    pub question: Option<u64>,
    /// Where the last step has ended.
    pub after: Option<u64>,
}

impl Missing {
    /// All of a key beyond these versions, not asked for by the peer.
    pub fn of(namespace: &Namespace, key: Key, have: Vec<VersionId>) -> Missing {
        let (namespace, known) = (namespace.clone(), Vec::new());
        Missing { namespace, key, have, known, question: None, after: None }
    }

    /// True if all of the key is to be sent.
    fn is_whole(&self) -> bool {
        self.have.is_empty() && self.known.is_empty()
    }
}

impl Bulk {
    /// Everything in a range, but for these keys; sorted.
    pub fn range(namespace: &Namespace, prefix: Prefix, except: Vec<[u8; 16]>) -> Bulk {
        let (next, last) = (prefix.first(), prefix.last());
        Bulk::Range { namespace: namespace.clone(), next, last, except }
    }

    /// How many versions and keys it names.
    fn names(&self) -> usize {
        match self {
            Bulk::Missing(missing) => missing.have.len() + missing.known.len(),
            Bulk::Range { except, .. } => except.len(),
            Bulk::Forget { key, .. } => key.tips.len(),
            Bulk::Done { .. } => 0,
        }
    }
}

/// What waits to be sent, in order, each key at most once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<Bulk>,
    /// The number of the first item; the others count on from it.
    first: i64,
    /// The number of the last item that is about a key.
    keys: BTreeMap<(Namespace, Key), i64>,
    names: usize,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    fn pop(&mut self) -> Option<Bulk> {
        let bulk = self.queue.pop_front()?;
        if let Bulk::Missing(Missing { namespace, key, .. }) = &bulk {
            let key = (namespace.clone(), key.clone());
            if self.keys.get(&key) == Some(&self.first) {
                self.keys.remove(&key);
            }
        }
        self.first += 1;
        self.names = self.names.saturating_sub(bulk.names());
        Some(bulk)
    }

    /// Puts the rest of an item back, to be sent next.
    fn put_back(&mut self, bulk: Bulk) {
        self.first -= 1;
        self.names += bulk.names();
        if let Bulk::Missing(Missing { namespace, key, .. }) = &bulk {
            self.keys.entry((namespace.clone(), key.clone())).or_insert(self.first);
        }
        self.queue.push_front(bulk);
    }

    fn push(&mut self, bulk: Bulk) {
        self.names += bulk.names();
        if let Bulk::Missing(Missing { namespace, key, .. }) = &bulk {
            let number = self.first + self.queue.len() as i64;
            self.keys.insert((namespace.clone(), key.clone()), number);
        }
        self.queue.push_back(bulk);
    }

    /// Takes up what the peer says of a key that waits already, so that it is not sent twice: what it
    /// has said last counts, also for the rest of what has begun. If the peer wants all of a history of
    /// which a part has begun, all follows; if all is what is being sent, that goes on. Gives back what is
    /// to be queued.
    fn renew(&mut self, missing: Missing) -> Option<Missing> {
        let number = self.keys.get(&(missing.namespace.clone(), missing.key.clone()));
        let at = number.and_then(|number| usize::try_from(number - self.first).ok());
        let Some(Bulk::Missing(old)) = at.and_then(|at| self.queue.get_mut(at)) else {
            return Some(missing);
        };
        let (begun, question) = (old.after.is_some(), missing.question.or(old.question));
        if begun && missing.is_whole() && !old.is_whole() {
            return Some(missing);
        }
        if !(begun && old.is_whole()) {
            self.names += missing.have.len() + missing.known.len();
            self.names = self.names.saturating_sub(old.have.len() + old.known.len());
            *old = Missing { after: old.after, ..missing };
        }
        old.question = question;
        None
    }
}

impl Session {
    /// Sends about `bytes` of what waits for room.
    pub fn more(&mut self, replica: &impl Replica, bytes: usize) {
        let (mut load, mut marks) = (Load::default(), Vec::new());
        while load.bytes < bytes
            && !self.closed
            && let Some(bulk) = self.bulk.pop()
        {
            if let Err(refusal) = self.load(bulk, &mut load, &mut marks, bytes, replica) {
                return self.close(refusal);
            }
        }
        // Marks come after the histories that were queued before them, and these go together.
        let histories = load.spaces.into_iter().flat_map(|(namespace, (events, mut answered))| {
            let mut groups = Events::of_messages(events);
            if groups.is_empty() && !answered.is_empty() {
                groups.push(Vec::new().into());
            }
            let last = groups.len().saturating_sub(1);
            groups.into_iter().enumerate().map(move |(n, events)| {
                let answered = if n == last { std::mem::take(&mut answered) } else { Vec::new() };
                Message::Histories { namespace: namespace.clone(), events, answered }
            })
        });
        self.out.extend(histories.chain(marks).map(Output::Send));
    }

    fn load(
        &mut self,
        bulk: Bulk,
        load: &mut Load,
        marks: &mut Vec<Message>,
        bytes: usize,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let room = bytes.saturating_sub(load.bytes);
        load.bytes += MARK_BYTES;
        match bulk {
            Bulk::Done { namespace } => marks.push(Message::Done { namespace }),
            Bulk::Forget { namespace, mut key } => {
                key.tips.truncate(TIPS_MAX);
                load.bytes += key.key.as_str().len() + 34 * key.tips.len();
                marks.push(Message::Forget { namespace, keys: vec![key] });
            }
            Bulk::Missing(missing) => {
                let Missing { namespace, key, have, known, question, after } = &missing;
                let (events, rest) = replica.missing(namespace, key, have, known, *after, room)?;
                load.add(namespace, events);
                if let (None, Some(question)) = (rest, *question) {
                    load.answered(namespace, key, question);
                }
                if rest.is_some() {
                    self.bulk.put_back(Bulk::Missing(Missing { after: rest, ..missing }));
                }
            }
            Bulk::Range { namespace, next, last, except } => {
                let page = replica.page(&namespace, next, last, room)?;
                self.load_page(&namespace, page, last, except, load, replica)?;
            }
        }
        Ok(())
    }

    fn load_page(
        &mut self,
        namespace: &Namespace,
        page: Histories,
        last: [u8; 16],
        except: Vec<[u8; 16]>,
        load: &mut Load,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let Histories { mut events, rest, next } = page;
        let (sent, read) = (load.bytes, events.iter().map(size).sum::<usize>());
        let wanted = |key: &Key| except.binary_search(&key.hash()).is_err();
        if !except.is_empty() {
            events.retain(|event| wanted(&event.key));
        }
        load.add(namespace, self.not_superseded(namespace, events, replica)?);
        // What was read and is not sent counts too: it takes time, and may be all there is.
        load.bytes = sent + read;
        let rest = rest.filter(|(key, _)| wanted(key));
        if let Some(next) = next {
            let namespace = namespace.clone();
            self.bulk.put_back(Bulk::Range { namespace, next, last, except });
        }
        if let Some((key, after)) = rest
            && self.superseded(namespace, &key, replica)?.is_none()
        {
            let missing = Missing::of(namespace, key, Vec::new());
            self.bulk.put_back(Bulk::Missing(Missing { after: Some(after), ..missing }));
        }
        Ok(())
    }

    /// Keeps something to be sent when there is room.
    pub(super) fn queue(&mut self, bulk: Bulk) -> Result<(), Refusal> {
        let bulk = match bulk {
            Bulk::Missing(missing) => self.bulk.renew(missing).map(Bulk::Missing),
            other => Some(other),
        };
        if bulk.is_some() && self.bulk.len() >= BULK_MAX {
            let words = format!("more than {} keys asked for at once", figure(BULK_MAX));
            return Err(Refusal::new(Code::Overloaded, words));
        }
        if let Some(bulk) = bulk {
            self.bulk.push(bulk);
        }
        if self.bulk.names > NAMES_MAX {
            let words = format!("more than {} versions named at once", figure(NAMES_MAX));
            return Err(Refusal::new(Code::Overloaded, words));
        }
        Ok(())
    }
}

/// Histories that are sent together, by namespace, and the keys of which they are the answer.
#[derive(Default)]
struct Load {
    spaces: BTreeMap<Namespace, (Vec<Event>, Vec<Answered>)>,
    bytes: usize,
}

impl Load {
    fn add(&mut self, namespace: &Namespace, events: Vec<Event>) {
        self.bytes += events.iter().map(size).sum::<usize>();
        self.spaces.entry(namespace.clone()).or_default().0.extend(events);
    }

    fn answered(&mut self, namespace: &Namespace, key: &Key, question: u64) {
        self.bytes += key.as_str().len();
        let answered = Answered { key: key.clone(), question };
        self.spaces.entry(namespace.clone()).or_default().1.push(answered);
    }
}
