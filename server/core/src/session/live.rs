//! What is made on one side is told to the other, checked and taken there, and acknowledged.

use super::{Output, REFUSALS_MAX, Received, Replica, Session, Ticket};
use crate::digest::Digest;
use crate::limits::{PARENTS_MAX, figure};
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::version::Event;
use crate::wire::{ConflictNote, Message};

/// Bytes of values and keys after which a message of events is sent and the next begun.
pub(super) const EVENTS_BYTES: usize = 256 * 1024;
/// Most tips of one key in a message. A list as long as this may lack some, and equals no other.
pub(super) const TIPS_MAX: usize = PARENTS_MAX;
/// Keys that are being asked for at once; more wait for the next comparison.
const ASKED_MAX: usize = 1_000;
/// After this time a key may be asked for once more, in milliseconds.
pub(super) const ASK_AGAIN: u64 = 5_000;

impl Session {
    pub(super) fn on_made(
        &mut self,
        namespace: &Namespace,
        sequence: u64,
        root: Digest,
        events: Vec<Event>,
        room: bool,
    ) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        shared.moved_at = Some(now);
        if !room || shared.skipped > 0 {
            // Once something was left out, later events would lack their parents: repair brings all.
            shared.skipped += events.len() as u64;
            return;
        }
        shared.moved(now);
        shared.told = Some(root);
        shared.unacked.push_back((sequence, events.len() as u64));
        let mut groups = grouped(events).into_iter().peekable();
        while let Some(events) = groups.next() {
            let root = groups.peek().is_none().then_some(root);
            self.send(Message::Live { namespace: namespace.clone(), sequence, root, events });
        }
    }

    pub(super) fn on_live(
        &mut self,
        namespace: Namespace,
        sequence: u64,
        root: Option<Digest>,
        mut events: Vec<Event>,
        replica: &impl Replica,
    ) {
        if let Some(shared) = self.shared.get_mut(&namespace) {
            shared.theirs = root.or(shared.theirs);
        }
        let own = self.my_store(&namespace);
        events.retain(|event| Some(event.version.origin) != own);
        // Only the last message of a commit is acknowledged, and with it the whole.
        self.apply(namespace, root.map(|_| sequence), events, replica);
    }

    pub(super) fn on_ack(&mut self, namespace: &Namespace, sequence: u64, root: Digest) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        shared.theirs = Some(root);
        shared.moved(now);
        while shared.unacked.front().is_some_and(|(sent, _)| *sent <= sequence) {
            shared.unacked.pop_front();
        }
    }

    /// Checks what the peer sent and gives the good part to the store.
    pub(super) fn apply(
        &mut self,
        namespace: Namespace,
        live: Option<u64>,
        mut events: Vec<Event>,
        replica: &impl Replica,
    ) {
        let limit = replica.value_bytes_max(&namespace);
        events.retain(|event| {
            let checked = event.check(limit);
            checked.inspect_err(|refusal| self.refuse(&namespace, &event.key, refusal)).is_ok()
        });
        let now = self.now;
        let Some(shared) = self.shared.get_mut(&namespace) else { return };
        shared.applying += 1;
        shared.repairing += usize::from(live.is_none());
        shared.moved(now);
        if !self.closed {
            self.out.push(Output::Apply { ticket: Ticket { namespace, live }, events });
        }
    }

    /// Tells the peer that an event of it was not taken. An honest peer may offer the same again after
    /// each comparison: that is said once. One that is forged is told of, and counted, every time.
    fn refuse(&mut self, namespace: &Namespace, key: &Key, refusal: &Refusal) {
        let words = format!("namespace {namespace}, key {:?}: {refusal}", key.as_str());
        if refusal.code.retry() {
            // It is this node that failed; the next comparison brings the event again.
            return self.out.push(Output::Warn(format!("not taken from the peer: {words}")));
        }
        // Limits and schemas may differ between honest nodes: that is said, some of it, and never ends
        // the stream. Forgery is another matter.
        let forged = matches!(refusal.code, Code::BadVersion | Code::BadValue);
        let room = self.refused.len() < REFUSALS_MAX as usize;
        let is_new = room && self.refused.insert(words.clone());
        if self.closed || !(is_new || forged) {
            return;
        }
        self.out.push(Output::Warn(format!("refused from the peer: {words}")));
        self.send(Message::Refused { code: refusal.code.as_str().into(), message: words });
        self.forgeries += u32::from(forged);
        if self.forgeries >= REFUSALS_MAX {
            let count = figure(REFUSALS_MAX as usize);
            let words = format!("{count} of the peer's events were forged, the last: {refusal}");
            self.close(Refusal::new(Code::BadVersion, words));
        }
    }

    pub(super) fn on_applied(
        &mut self,
        ticket: &Ticket,
        keys: &[Key],
        outcomes: Vec<Received>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let (now, namespace) = (self.now, &ticket.namespace);
        for (key, outcome) in keys.iter().zip(outcomes) {
            self.on_outcome(namespace, key, outcome, replica)?;
        }
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        shared.applying = shared.applying.saturating_sub(1);
        shared.moved(now);
        if self.closed {
            return Ok(());
        }
        let Some(sequence) = ticket.live else { return self.on_repaired(namespace, replica) };
        let root = replica.root(namespace);
        shared.told = Some(root);
        self.send(Message::Ack { namespace: namespace.clone(), sequence, root });
        Ok(())
    }

    fn on_outcome(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        outcome: Received,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        match outcome {
            Received::Missing(_) => self.want(namespace, key, replica)?,
            Received::Refused(refusal) => self.refuse(namespace, key, &refusal),
            Received::New | Received::Known => {
                if let Some(shared) = self.shared.get_mut(namespace) {
                    shared.asked.remove(key);
                }
            }
        }
        Ok(())
    }

    /// Asks for what is missing of a key, once until it comes.
    fn want(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        if shared.asked.contains_key(key) || shared.asked.len() >= ASKED_MAX {
            return Ok(());
        }
        shared.asked.insert(key.clone(), now);
        let mut have = replica.tips(namespace, key)?;
        have.truncate(TIPS_MAX);
        self.send(Message::Want { namespace: namespace.clone(), key: key.clone(), have });
        Ok(())
    }

    /// Tells the peer of a conflict that this node was the first to find.
    pub(super) fn announce(&mut self, note: ConflictNote) {
        if self.shared.contains_key(&note.namespace) {
            self.send(Message::Conflict(note));
        }
    }

    pub(super) fn on_conflict(
        &mut self,
        note: ConflictNote,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        self.out.push(Output::Heard(note.id));
        if self.shared.get(&note.namespace).is_none_or(|shared| shared.applying > 0) {
            // The sides are probably among what is being applied; if not, repair brings them.
            return Ok(());
        }
        let known = replica.tips(&note.namespace, &note.key)?;
        if note.sides.iter().all(|side| known.contains(&side.version)) {
            return Ok(());
        }
        self.want(&note.namespace, &note.key, replica)
    }
}

/// About how many bytes an event takes in a message.
pub(super) fn size(event: &Event) -> usize {
    let value = event.value.as_ref().map_or(0, |value| value.as_bytes().len());
    160 + event.key.as_str().len() + 34 * event.version.parents.len() + value
}

/// Cuts events into groups of about [`EVENTS_BYTES`], in order.
pub(super) fn grouped(events: Vec<Event>) -> Vec<Vec<Event>> {
    let mut groups = vec![Vec::new()];
    let mut bytes = 0;
    for event in events {
        if bytes > EVENTS_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size(&event);
        if let Some(group) = groups.last_mut() {
            group.push(event);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}
