//! A store without values and digests kept up, in which a test sets what is held, forgotten and when.

use std::collections::BTreeMap;

use keepboth_core::digest::{Digest, FANOUT, Prefix};
use keepboth_core::history::History;
use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{Entry, Held, Histories, Replica};
use keepboth_core::version::Event;
use keepboth_core::view::View;

struct Kept {
    history: History,
    events: Vec<Event>,
    held: Held,
}

/// One namespace, whatever its name.
#[derive(Default)]
pub struct Fake {
    keys: BTreeMap<[u8; 16], Kept>,
}

impl Fake {
    /// Holds these versions of one key, the last of which came with this sequence.
    pub fn hold(&mut self, events: &[Event], last: u64) {
        let key = events[0].key.clone();
        let mut history = History::new(key.clone());
        for event in events {
            history.insert(event.version.clone()).expect("a version in good form");
        }
        let tips = View::of(&history).tips.to_vec();
        let held = Held { tips, last, forgotten: false };
        self.keys.insert(key.hash(), Kept { history, events: events.to_vec(), held });
    }

    /// Forgets a deleted key, but not its history.
    pub fn forget(&mut self, key: &Key) {
        self.keys.get_mut(&key.hash()).expect("a key that is held").held.forgotten = true;
    }

    fn range(&self, prefix: Prefix) -> impl Iterator<Item = Entry> {
        let shown = self.keys.range(prefix.first()..=prefix.last());
        let shown = shown.filter(|(_, kept)| !kept.held.forgotten);
        shown.map(|(hash, kept)| {
            let (key, tips) = (kept.history.key().clone(), kept.held.tips.clone());
            Entry { hash: *hash, key, tips }
        })
    }
}

impl Replica for Fake {
    fn root(&self, _: &Namespace) -> Digest {
        let mut root = Digest::default();
        self.range(Prefix::WHOLE).for_each(|e| root.add(&Digest::entry(&e.hash, &e.tips)));
        root
    }

    fn sequence(&self, _: &Namespace) -> u64 {
        self.keys.values().map(|kept| kept.held.last).max().unwrap_or(0)
    }

    fn sequence_of(&self, _: &Namespace, _: &Digest) -> Option<u64> {
        None
    }

    fn children(&self, _: &Namespace, prefix: Prefix) -> Result<[Digest; FANOUT], Refusal> {
        let mut children = [Digest::default(); FANOUT];
        for entry in self.range(prefix) {
            let nibble = usize::from(prefix.nibble(&entry.hash));
            children[nibble].add(&Digest::entry(&entry.hash, &entry.tips));
        }
        Ok(children)
    }

    fn entries(
        &self,
        _: &Namespace,
        prefix: Prefix,
        most: usize,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        let entries: Vec<Entry> = self.range(prefix).take(most + 1).collect();
        Ok((entries.len() <= most).then_some(entries))
    }

    fn key_of(&self, _: &Namespace, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        Ok(self.keys.get(hash).map(|kept| kept.history.key().clone()))
    }

    fn held(&self, _: &Namespace, key: &Key) -> Result<Option<Held>, Refusal> {
        Ok(self.keys.get(&key.hash()).map(|kept| kept.held.clone()))
    }

    fn history(&self, _: &Namespace, key: &Key) -> Result<Option<History>, Refusal> {
        Ok(self.keys.get(&key.hash()).map(|kept| kept.history.clone()))
    }

    fn known(&self, _: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        let kept = self.keys.get(&key.hash());
        let events = kept.map(|kept| &kept.events[..]).unwrap_or_default();
        Ok(events.iter().map(|event| event.version.id).collect())
    }

    fn missing(
        &self,
        _: &Namespace,
        key: &Key,
        have: &[VersionId],
        known: &[VersionId],
        after: Option<u64>,
        room: usize,
    ) -> Result<(Vec<Event>, Option<u64>), Refusal> {
        let Some(kept) = self.keys.get(&key.hash()) else { return Ok((Vec::new(), None)) };
        let known = have.iter().chain(known).filter_map(|id| kept.history.find(id));
        let known = kept.history.with_ancestors(known);
        let mut unknown = (1..)
            .zip(kept.events.iter().zip(known))
            .filter(|(number, (_, known))| !known && Some(*number) > after)
            .peekable();
        let (mut events, mut last) = (Vec::new(), after);
        while let Some((number, (event, _))) = unknown.next_if(|_| 200 * events.len() <= room) {
            events.push(event.clone());
            last = Some(number);
        }
        Ok((events, unknown.peek().and(last)))
    }

    fn page(
        &self,
        _: &Namespace,
        first: [u8; 16],
        last: [u8; 16],
        bytes: usize,
    ) -> Result<Histories, Refusal> {
        let mut page = Histories::default();
        for (hash, kept) in self.keys.range(first..=last) {
            if 200 * page.events.len() > bytes {
                page.next = Some(*hash);
                break;
            }
            if !kept.held.forgotten {
                page.events.extend(kept.events.iter().cloned());
            }
        }
        Ok(page)
    }
}
