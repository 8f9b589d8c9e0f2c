//! What each side lacks of the keys that differ: offered, asked for, and given.

use super::bulk::{Bulk, Missing};
use super::forget::knows;
use super::live::TIPS_MAX;
use super::{Held, Replica, Session};
use crate::digest::{Digest, Prefix};
use crate::ids::{KeyHash, VersionId};
use crate::limits::figure;
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::wire::{KeyTips, Message};

/// Keys in one [`Message::Offer`], and the bytes after which it is sent.
pub(super) const OFFER_KEYS: usize = 256;
const OFFER_BYTES: usize = 256 * 1024;

impl Session {
    pub(super) fn on_root(
        &mut self,
        namespace: &Namespace,
        root: Digest,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        shared.exchanged.see();
        if shared.theirs.replace(root).is_some_and(|before| before != root) {
            shared.moved(now);
        }
        shared.look(replica.root(namespace));
        shared.see(namespace, replica);
        if shared.repairing == 0 {
            self.tell_if_new(namespace, replica);
        }
        self.compare_if_due(namespace, replica)
    }

    /// What a message of [`Message::Histories`] brought is applied.
    pub(super) fn on_repaired(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        shared.repairing = shared.repairing.saturating_sub(1);
        if shared.repairing > 0 {
            return Ok(());
        }
        let held = shared.held.take();
        self.tell_if_new(namespace, replica);
        match held {
            Some(parts) => self.on_compare(namespace.clone(), parts, replica),
            None => Ok(()),
        }
    }

    /// Names what this node has of keys that differ, and those that it lacks.
    pub(super) fn offer(
        &mut self,
        namespace: &Namespace,
        hashes: Vec<[u8; 16]>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let (mut keys, mut wanted, mut bytes) = (Vec::new(), Vec::new(), 0);
        for hash in hashes {
            match self.mine(namespace, &hash, replica)? {
                None => wanted.push(KeyHash(hash)),
                Some((key, Held { forgotten: true, tips, .. })) => {
                    let (namespace, key) = (namespace.clone(), KeyTips { key, tips });
                    self.queue(Bulk::Forget { namespace, key })?;
                }
                Some((key, held)) => {
                    let mut tips = held.tips;
                    tips.truncate(TIPS_MAX);
                    bytes += 16 + key.as_str().len() + 34 * tips.len();
                    keys.push(KeyTips { key, tips });
                }
            }
            if bytes > OFFER_BYTES {
                let (keys, wanted) = (std::mem::take(&mut keys), std::mem::take(&mut wanted));
                self.send_offer(namespace, keys, wanted);
                bytes = 0;
            }
        }
        if !(keys.is_empty() && wanted.is_empty()) {
            self.send_offer(namespace, keys, wanted);
        }
        Ok(())
    }

    fn send_offer(&mut self, namespace: &Namespace, keys: Vec<KeyTips>, wanted: Vec<KeyHash>) {
        self.opened(namespace);
        self.send(Message::Offer { namespace: namespace.clone(), keys, wanted });
    }

    pub(super) fn mine(
        &self,
        namespace: &Namespace,
        hash: &[u8; 16],
        replica: &impl Replica,
    ) -> Result<Option<(Key, Held)>, Refusal> {
        let Some(key) = replica.key_of(namespace, hash)? else { return Ok(None) };
        Ok(replica.held(namespace, &key)?.map(|held| (key, held)))
    }

    /// Asks for what differs, and gets ready what the peer lacks.
    pub(super) fn on_offer(
        &mut self,
        namespace: &Namespace,
        keys: Vec<KeyTips>,
        wanted: Vec<KeyHash>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let count = keys.len() + wanted.len();
        if count > OFFER_KEYS {
            let words =
                format!("{} keys offered at once, the limit is {OFFER_KEYS}", figure(count));
            return Err(Refusal::new(Code::BadFrame, words));
        }
        for KeyTips { key, tips } in keys {
            self.settle(namespace, key, tips, replica)?;
        }
        for hash in wanted {
            match self.mine(namespace, &hash.0, replica)? {
                None => {}
                Some((key, Held { forgotten: true, tips, .. })) => {
                    let (namespace, key) = (namespace.clone(), KeyTips { key, tips });
                    self.queue(Bulk::Forget { namespace, key })?;
                }
                Some((key, _)) => self.give(Missing::of(namespace, key, Vec::new()), replica)?,
            }
        }
        self.queue(Bulk::Done { namespace: namespace.clone() })
    }

    /// Finds out who lacks what of a key.
    fn settle(
        &mut self,
        namespace: &Namespace,
        key: Key,
        theirs: Vec<VersionId>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let Some(mine) = replica.held(namespace, &key)? else {
            return self.want(namespace, &key, replica);
        };
        let same = mine.tips == theirs && theirs.len() < TIPS_MAX;
        if same && !mine.forgotten {
            return Ok(());
        }
        if !same && !knows(replica, namespace, &key, &theirs)? {
            // What is beyond here is asked for when the answer shows where the histories part.
            return self.catch_up(namespace, key, replica);
        }
        let forgotten = mine.forgotten.then(|| KeyTips { key: key.clone(), tips: mine.tips });
        if !same {
            self.give(Missing::of(namespace, key, theirs), replica)?;
        }
        match forgotten {
            Some(key) => self.queue(Bulk::Forget { namespace: namespace.clone(), key }),
            None => Ok(()),
        }
    }

    pub(super) fn on_want(
        &mut self,
        namespace: &Namespace,
        key: Key,
        have: Vec<VersionId>,
        known: Vec<VersionId>,
        question: u64,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let more_there = !knows(replica, namespace, &key, &have)?;
        let missing = Missing::of(namespace, key.clone(), have);
        self.give(Missing { known, question: Some(question), ..missing }, replica)?;
        if more_there { self.want_once(namespace, &key, replica) } else { Ok(()) }
    }

    pub(super) fn on_fetch(
        &mut self,
        namespace: &Namespace,
        prefix: Prefix,
    ) -> Result<(), Refusal> {
        self.queue(Bulk::range(namespace, prefix, Vec::new()))?;
        self.queue(Bulk::Done { namespace: namespace.clone() })
    }

    pub(super) fn on_done(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let now = self.now;
        if let Some(running) = self.running(namespace) {
            running.moved(now);
            running.closed();
        }
        self.go_on(namespace, replica)
    }
}
