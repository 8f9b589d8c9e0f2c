//! Writing: requests of clients on their way to the namespace's door.

use keepboth_core::limits::figure;
use keepboth_core::name::Namespace;
use keepboth_core::plugin::Origin;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::{Op, Resolution as StoreResolution};

use super::connection::{Connection, Out, Slot};
use crate::clock;
use crate::namespace::door::{self, Item, Write};
use crate::protocol::{Answer, BatchOp, Call, PutValue, Resolution, Written};

impl Connection {
    /// Gives a write to its namespace. The answer comes when it is durable, through the slot.
    pub async fn write(&mut self, id: u64, request: WriteRequest, slot: Slot) {
        let WriteRequest { namespace, items, batch } = request;
        let space = match self.clients.space(&namespace).cloned() {
            Ok(space) => space,
            Err(refusal) => return self.answer(slot, id, Err(refusal)),
        };
        let ops_max = self.clients.limits.batch_ops_max;
        if let Err(refusal) = check(&items, space.bounds.value_bytes_max, ops_max) {
            return self.answer(slot, id, Err(refusal));
        }
        let room = space.byte_room(items.iter().map(bytes).sum()).await;
        let clients = self.clients.clone();
        let reply = move |outcome: Result<Vec<keepboth_store::Written>, Refusal>| {
            drop(room);
            if let Err(refusal) = &outcome {
                clients.metrics.refused(refusal.code);
            }
            slot.send(Out::Answer(id, outcome.and_then(|written| answer(written, batch))));
        };
        let origin = Origin { actor: self.actor.clone(), depth: 0, now: clock::now() };
        let write = Write { items, origin, reply: Box::new(reply), room: None };
        space.write(write, self.lane).await;
    }
}

fn answer(written: Vec<keepboth_store::Written>, batch: bool) -> Result<Answer, Refusal> {
    let written = written.into_iter().map(|written| Written {
        name: written.name,
        key: written.key,
        version: written.version,
        sequence: written.sequence,
    });
    if batch {
        return Ok(Answer::Batch(written.collect()));
    }
    let none = || Refusal::new(Code::StoreFailed, "the store did not say what it wrote");
    written.last().map(Answer::Written).ok_or_else(none)
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
    for item in items {
        if let Op::Put { value, .. } | Op::Resolve { with: StoreResolution::Value(value), .. } =
            &item.op
        {
            door::check_client_value(value, value_bytes_max)?;
        }
    }
    Ok(())
}

/// The part of the protocol that writes.
pub struct WriteRequest {
    namespace: Namespace,
    items: Vec<Item>,
    /// Whether the answer lists one entry for each operation.
    batch: bool,
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
        let (namespace, op) = match call {
            Call::Put { ns, key, value, condition } => (ns, BatchOp::Put { key, value, condition }),
            Call::Delete { ns, key, condition } => (ns, BatchOp::Delete { key, condition }),
            Call::Revert { ns, key, version, condition } => {
                (ns, BatchOp::Revert { key, version, condition })
            }
            Call::Resolve { ns, key, with, if_conflict } => {
                (ns, BatchOp::Resolve { key, with, if_conflict })
            }
            Call::Restore { ns, key, version } => {
                let items = vec![Item { op: Op::Restore { key, version }, tree: None }];
                return Sorted::Write(WriteRequest { namespace: ns, items, batch: false });
            }
            Call::Batch { ns, ops } => {
                let items = ops.into_iter().map(item).collect();
                return Sorted::Write(WriteRequest { namespace: ns, items, batch: true });
            }
            other => return Sorted::Other(other),
        };
        Sorted::Write(WriteRequest { namespace, items: vec![item(op)], batch: false })
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
