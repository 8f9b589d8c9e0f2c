//! What is made on one side is told to the other, checked and taken there, and acknowledged.

use super::compare::Compare;
use super::forget::knows;
use super::shared::Unacked;
use super::{Output, REFUSALS_MAX, Received, Replica, Session, Ticket};
use crate::digest::Digest;
use crate::ids::{NodeId, VersionId};
use crate::limits::{PARENTS_MAX, VALUE_BYTES_MAX, figure};
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::version::{Change, Event};
use crate::wire::{ConflictNote, Events, Message};

/// Most tips of one key in a message. A list as long as this may lack some, and equals no other.
pub(super) const TIPS_MAX: usize = PARENTS_MAX;

impl Session {
    pub(super) fn on_made(
        &mut self,
        namespace: &Namespace,
        sequence: u64,
        root: Digest,
        maker: NodeId,
        told: Vec<Events>,
        room: bool,
    ) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        shared.moved_at = Some(now);
        let count = told.iter().map(|events| events.len() as u64).sum();
        if count == 0 {
            // Nothing to acknowledge; the next tick tells the digest, if it is another. Who does not know
            // what it has missed says so with no room.
            shared.unsure = if room { shared.unsure } else { sequence };
            return;
        }
        if !room || shared.skipped > 0 {
            // Once something was left out, later events would lack their parents: repair brings all.
            shared.skipped += count;
            shared.unsure = sequence;
            return;
        }
        shared.moved(now);
        shared.told = Some(root);
        shared.exchanged.show();
        shared.unacked.push_back(Unacked { sequence, events: count, since: now });
        let mut told = told.into_iter().peekable();
        while let Some(events) = told.next() {
            let root = told.peek().is_none().then_some(root);
            let namespace = namespace.clone();
            self.send(Message::Live { namespace, sequence, root, maker, events });
        }
    }

    pub(super) fn on_live(
        &mut self,
        namespace: Namespace,
        sequence: u64,
        root: Option<Digest>,
        maker: NodeId,
        events: Events,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if let Some(shared) = self.shared.get_mut(&namespace) {
            if root.is_some() {
                shared.exchanged.see();
                shared.theirs = root;
            }
            shared.see(&namespace, replica);
        }
        // What was made here comes back by repair only, if this store was put back and lacks it.
        let (own, mut short) = (self.my_store(&namespace), false);
        let mut events = events.into_vec();
        for event in events.extract_if(.., |event| Some(event.version.origin) == own) {
            short |= !knows(replica, &namespace, &event.key, &[event.version.id])?;
        }
        // Only the last message of a commit is acknowledged, and with it the whole.
        let (live, maker, answered) = (root.map(|_| sequence), Some(maker), Vec::new());
        self.apply(Ticket { namespace, live, maker, short, answered }, events);
        Ok(())
    }

    pub(super) fn on_ack(
        &mut self,
        namespace: &Namespace,
        sequence: u64,
        root: Digest,
        whole: bool,
        replica: &impl Replica,
    ) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        shared.exchanged.see();
        shared.theirs = Some(root);
        shared.look(replica.root(namespace));
        shared.moved(now);
        // A commit with events of several makers is sent, and acknowledged, in several messages.
        while let Some(sent) = shared.unacked.front().filter(|sent| sent.sequence <= sequence) {
            let sent = sent.sequence;
            shared.unacked.pop_front();
            if sent == sequence {
                break;
            }
        }
        if !whole {
            shared.unsure = shared.unsure.max(sequence);
        }
        if shared.unacked.front().is_none_or(|next| next.sequence > sequence) {
            shared.acked = shared.acked.max(sequence);
        }
        shared.see(namespace, replica);
    }

    /// Checks what the peer sent and gives the good part to the store.
    pub(super) fn apply(&mut self, mut ticket: Ticket, mut events: Vec<Event>) {
        let (now, live) = (self.now, ticket.maker.is_some());
        events.retain(|event| {
            let Err(refusal) = checked(event, live) else { return true };
            ticket.short = true;
            self.on_not_taken(&ticket.namespace, &event.key);
            self.refuse(&ticket.namespace, &event.key, &refusal);
            false
        });
        let Some(shared) = self.shared.get_mut(&ticket.namespace) else { return };
        if !live && events.is_empty() && shared.applying == 0 {
            return self.on_answered(&ticket.namespace, &ticket.answered);
        }
        shared.applying += 1;
        shared.repairing += usize::from(!live);
        if let (Compare::Running(running), false) = (&mut shared.compare, live) {
            running.moved(now);
        }
        shared.moved(now);
        let replaces = if live { Vec::new() } else { shared.replaced_by(&events) };
        if !self.closed {
            self.out.push(Output::Apply { ticket, events, replaces });
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
        let (now, namespace, mut short) = (self.now, &ticket.namespace, ticket.short);
        if ticket.maker.is_none() {
            self.on_answered(namespace, &ticket.answered);
            self.on_repeated(namespace, keys, &outcomes, replica)?;
            self.on_part_of_answer(namespace, keys, &outcomes, replica)?;
        }
        for (key, outcome) in keys.iter().zip(outcomes) {
            short |= matches!(outcome, Received::Missing(_) | Received::Refused(_));
            self.on_outcome(namespace, key, outcome, ticket.maker.is_none(), replica)?;
        }
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        shared.applying = shared.applying.saturating_sub(1);
        shared.moved(now);
        shared.see(namespace, replica);
        if self.closed {
            return Ok(());
        }
        if ticket.maker.is_none() {
            return self.on_repaired(namespace, replica);
        }
        shared.short |= short;
        // More of the same commit is to come, and is acknowledged with it.
        let Some(sequence) = ticket.live else { return Ok(()) };
        let (root, whole) = (replica.root(namespace), !std::mem::take(&mut shared.short));
        shared.told = Some(root);
        shared.exchanged.show();
        shared.look(root);
        self.send(Message::Ack { namespace: namespace.clone(), sequence, root, whole });
        Ok(())
    }

    fn on_outcome(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        outcome: Received,
        repairs: bool,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        match outcome {
            Received::Missing(_) if repairs && self.want_whole(namespace, key) => {}
            Received::Missing(_) => self.want_once(namespace, key, replica)?,
            // The peer's operator learns of it too.
            Received::Quarantined(refusal) => self.refuse(namespace, key, &refusal),
            Received::Refused(refusal) => {
                self.on_not_taken(namespace, key);
                self.refuse(namespace, key, &refusal);
            }
            Received::New | Received::Known => {}
        }
        Ok(())
    }

    /// Tells the peer of a conflict that this node was the first to find. One that fills a message it
    /// finds by itself.
    pub(super) fn announce(&mut self, note: ConflictNote) {
        if self.shared.contains_key(&note.namespace) && note.sides.len() <= TIPS_MAX {
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
        let history = replica.history(&note.namespace, &note.key)?;
        let known = |id: &VersionId| history.as_ref().is_some_and(|h| h.find(id).is_some());
        if note.sides.iter().all(|side| known(&side.version)) {
            return Ok(());
        }
        self.want_once(&note.namespace, &note.key, replica)
    }
}

/// Checks what can be checked without the history. Only what is repaired may lack a value: an old one
/// that the peer has forgotten.
fn checked(event: &Event, live: bool) -> Result<(), Refusal> {
    event.check(VALUE_BYTES_MAX)?;
    if live && event.value.is_none() && event.version.change == Change::Put {
        let words = format!("version {}: a new put without its value", event.version.id);
        return Err(Refusal::new(Code::BadVersion, words));
    }
    Ok(())
}
