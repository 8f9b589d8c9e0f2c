//! Writing: requests of clients on their way to the namespace's door.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::limits::{FRAME_BYTES_MAX, KEY_BYTES_MAX, figure};
use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::{Origin, Source};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::{Op, Resolution as StoreResolution};
use tokio::sync::oneshot;

use super::connection::Connection;
use super::out::{Out, Owed, Slot};
use crate::clock;
use crate::namespace::Space;
use crate::namespace::door::{self, Item, Reply, Write};
use crate::peers::ask::Wait;
use crate::protocol::{
    self, Answer, BatchOp, Call, Estimate, PutValue, Reached, Resolution, Waiting, Written,
};

impl Connection {
    /// Gives a write to its namespace. The answer comes when it is durable, through the slot.
    pub async fn write(&mut self, id: u64, request: WriteRequest, slot: Slot) {
        let WriteRequest { namespace, items, batch, wait } = request;
        let space = match self.clients.space(&namespace) {
            Ok(space) => space,
            Err(refusal) => return self.answer(slot, id, Err(refusal)),
        };
        let ops_max = self.clients.limits.load().batch_ops_max;
        let value_bytes_max = space.setup().bounds.value_bytes_max;
        let checked = check(&items, value_bytes_max, ops_max)
            .and_then(|()| wait.map_or(Ok(()), |_| check_shared(&space)))
            .and_then(|()| space.take_rate(items.len(), clock::steady()));
        if let Err(refusal) = checked {
            return self.answer(slot, id, Err(refusal));
        }
        // This one has a slot by now.
        let alone = self.out.capacity() + 1 == self.out.max_capacity();
        let room = space.byte_room(items.iter().map(bytes).sum()).await;
        let (clients, owed) = (self.clients.clone(), Owed::new(slot, id));
        let answer = move |outcome: Result<Done, Refusal>| {
            if let Err(refusal) = &outcome {
                clients.metrics.refused(refusal.code);
            }
            owed.pay(outcome.and_then(|done| answer(done, batch)));
        };
        let reply: Reply = match wait {
            None => Box::new(move |outcome| {
                drop(room);
                answer(outcome.map(|written| Done { written, reached: None }));
            }),
            Some(waiting) => {
                let (reply, written) = oneshot::channel();
                self.wait(&space, waiting, written, answer);
                Box::new(move |outcome| {
                    drop(room);
                    // The task waits for it, unless the server was cut off.
                    let _ = reply.send(outcome);
                })
            }
        };
        let origin = Origin::new(Source::Client, self.actor.clone(), clock::now());
        let write = Write { items, origin, reply, room: None, alone };
        let rest = space.write(write, self.lane).await;
        // A client that does not read holds up nobody's news: then, and without room for it, it is done now.
        if let Some(rest) = rest.filter(|_| !self.unread.is_waited_for()) {
            let _ = self.out.try_send(Out::After(rest));
        }
    }

    /// Answers a write when enough members have it, when the time is over, or when the connection ends,
    /// in a task of its own.
    fn wait(
        &self,
        space: &Arc<Space>,
        waiting: Waiting,
        written: oneshot::Receiver<Result<Vec<keepboth_store::Written>, Refusal>>,
        answer: impl FnOnce(Result<Done, Refusal>) + Send + 'static,
    ) {
        let (clients, space, left) = (self.clients.clone(), space.clone(), self.left.clone());
        self.clients.tasks.spawn(async move {
            let lost = || Refusal::new(Code::StoreFailed, "whether it was written is unknown");
            let written = match written.await.unwrap_or_else(|_| Err(lost())) {
                Ok(written) => written,
                Err(refusal) => return answer(Err(refusal)),
            };
            let sequence = written.iter().map(|written| written.sequence).max().unwrap_or(0);
            let (wait, within) = (wait_of(waiting.wait), Duration::from_millis(waiting.ms));
            let reached = tokio::select! {
                biased;
                reached = clients.mesh.reach(&space, sequence, wait, within) => reached,
                () = left.cancelled() => {
                    clients.mesh.reach(&space, sequence, wait, Duration::ZERO).await
                }
            };
            let reached = Reached {
                enough: reached.is_enough(wait),
                nodes: reached.nodes,
                missing: reached.missing,
            };
            answer(Ok(Done { written, reached: Some(reached) }));
        });
    }
}

/// A write that is durable, and how far it has come.
struct Done {
    written: Vec<keepboth_store::Written>,
    reached: Option<Reached>,
}

fn wait_of(wait: protocol::Wait) -> Wait {
    match wait {
        protocol::Wait::All => Wait::All,
        protocol::Wait::Count(count) => Wait::Count(count),
    }
}

/// Who waits for other members must be told that none will ever have it.
fn check_shared(space: &Space) -> Result<(), Refusal> {
    if space.setup().bounds.replicate {
        return Ok(());
    }
    let words = format!("the namespace {} is not shared with other nodes", space.name);
    Err(Refusal::new(Code::BadRequest, words).hint("leave out wait, or set replicate = true"))
}

fn answer(done: Done, batch: bool) -> Result<Answer, Refusal> {
    let Done { written, reached } = done;
    let written = written.into_iter().map(|written| Written {
        name: written.name,
        key: written.key,
        version: written.version,
        sequence: written.sequence,
    });
    if batch {
        return Ok(Answer::Batch(written.collect(), reached));
    }
    let none = || Refusal::new(Code::StoreFailed, "the store did not say what it wrote");
    let last = written.last().ok_or_else(none)?;
    Ok(Answer::Written(last, reached))
}

/// About how much of the memory for waiting writes an operation takes.
fn bytes(item: &Item) -> usize {
    match &item.op {
        Op::Put { value, .. } | Op::Resolve { with: StoreResolution::Value(value), .. } => {
            value.as_bytes().len()
        }
        _ => 0,
    }
}

/// The limits, as the client sent it.
fn check(items: &[Item], value_bytes_max: usize, ops_max: usize) -> Result<(), Refusal> {
    if items.len() > ops_max {
        let (size, limit) = (figure(items.len()), figure(ops_max));
        let words = format!("the batch has {size} operations, the limit is {limit}");
        return Err(Refusal::new(Code::BatchTooLarge, words));
    }
    let answered = if items.len() > 1 { items.iter().map(answer_bytes).sum() } else { 0 };
    if answered > FRAME_BYTES_MAX {
        // It would be done, and its writer could not be told.
        let (size, limit) = (figure(answered), figure(FRAME_BYTES_MAX));
        let words = format!("the batch's answer may take {size} bytes, the limit is {limit}");
        let hint = "each name stands there twice: cut the batch, or use shorter keys";
        return Err(Refusal::new(Code::BatchTooLarge, words).hint(hint));
    }
    for item in items {
        if let Op::Put { value, .. } | Op::Resolve { with: StoreResolution::Value(value), .. } =
            &item.op
        {
            door::check_client_value(value, value_bytes_max)?;
        }
    }
    Ok(())
}

/// What an entry of a batch's answer takes besides its name and key, which may be an address.
const ENTRY_BYTES: usize = 256;

/// The most bytes that one operation of a batch takes in the answer: its name, its key, and the rest.
fn answer_bytes(item: &Item) -> usize {
    let key = match &item.op {
        Op::Put { name, .. } | Op::Delete { name, .. } | Op::Revert { name, .. } => match name {
            Name::Key(key) => key,
            Name::Address(_) => return ENTRY_BYTES + KEY_BYTES_MAX,
        },
        Op::Resolve { key, .. } | Op::Restore { key, .. } => key,
    };
    2 * key.as_str().bytes_estimate() + ENTRY_BYTES
}

/// The part of the protocol that writes.
pub struct WriteRequest {
    namespace: Namespace,
    items: Vec<Item>,
    /// Whether the answer lists one entry for each operation.
    batch: bool,
    /// For which members the answer waits.
    wait: Option<Waiting>,
}

/// A call, sorted by whether it writes.
pub enum Sorted {
    /// It goes through the namespace's door.
    Write(WriteRequest),
    /// It is answered here.
    Other(Call),
}

impl WriteRequest {
    /// Takes a call that writes, or gives it back.
    pub fn sort(call: Call) -> Sorted {
        let (namespace, op, wait) = match call {
            Call::Put { ns, key, value, condition, wait } => {
                (ns, BatchOp::Put { key, value, condition }, wait)
            }
            Call::Delete { ns, key, condition, wait } => {
                (ns, BatchOp::Delete { key, condition }, wait)
            }
            Call::Revert { ns, key, version, condition, wait } => {
                (ns, BatchOp::Revert { key, version, condition }, wait)
            }
            Call::Resolve { ns, key, with, if_conflict, wait } => {
                (ns, BatchOp::Resolve { key, with, if_conflict }, wait)
            }
            Call::Restore { ns, key, version, wait } => {
                let items = vec![Item { op: Op::Restore { key, version }, tree: None }];
                return Sorted::Write(WriteRequest { namespace: ns, items, batch: false, wait });
            }
            Call::Batch { ns, ops, wait } => {
                let items = ops.into_iter().map(item).collect();
                return Sorted::Write(WriteRequest { namespace: ns, items, batch: true, wait });
            }
            other => return Sorted::Other(other),
        };
        Sorted::Write(WriteRequest { namespace, items: vec![item(op)], batch: false, wait })
    }
}

fn item(op: BatchOp) -> Item {
    match op {
        BatchOp::Put { key, value: PutValue { value, tree }, condition } => {
            Item { op: Op::Put { name: key, value, condition }, tree }
        }
        BatchOp::Delete { key, condition } => {
            Item { op: Op::Delete { name: key, condition }, tree: None }
        }
        BatchOp::Revert { key, version, condition } => {
            Item { op: Op::Revert { name: key, version, condition }, tree: None }
        }
        BatchOp::Resolve { key, with, if_conflict } => {
            let (with, tree) = match with {
                Resolution::Value(PutValue { value, tree }) => {
                    (StoreResolution::Value(value), tree)
                }
                Resolution::Side(address) => (StoreResolution::Side(address), None),
            };
            Item { op: Op::Resolve { key, with, conflict: if_conflict }, tree }
        }
    }
}
