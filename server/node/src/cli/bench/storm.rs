//! Conflicts in masses: many keys in conflict at once, the same merged by a hook, and one key with many sides.

use std::time::Instant;

use keepboth_core::hash::data_hash;
use keepboth_core::ids::StoreId;
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};

use super::bulk::{self, failed};
use super::node::Node;
use super::report::Row;
use super::setup::Way;
use super::wire::Wire;
use super::{Bench, data};
use crate::cli::exit::Failure;
use crate::clock;

/// Bytes of values.
const BYTES: usize = 100;
/// Objects that are put at once.
const BATCH: u64 = 1_000;

/// Measures all three.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let keys = bench.plan.conflicts;
    bench.report.talk(&format!("{keys} conflicts"));
    let without = heal(bench, keys, Way::Plain, Sides::Apart)?;
    let with = heal(bench, keys, Way::Plain, Sides::Meeting)?;
    let merging = heal(bench, keys, Way::Merging, Sides::Meeting)?;
    let mut add = |what: &str, ours, unit, against, baseline| {
        bench.report.add(Row::one(format!("{keys} {what}"), ours, unit, against, baseline));
    };
    let changed = "as many changes on each side that do not meet";
    add("conflicts, dialled until both nodes have them", with, "conflicts/s", changed, without);
    let unmerged = "the same without a hook";
    add("conflicts, until on_conflict merged all", merging, "merges/s", unmerged, with);
    many_sides(bench)?;
    bench.report.show()
}

/// Which keys two nodes change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sides {
    /// Each its own.
    Apart,
    /// Both the same, another member each.
    Meeting,
}

/// Two nodes with the same objects change many and are dialled; how many changes of a node a second it took
/// until both held the same and, if a hook merges, nothing was in conflict.
fn heal(bench: &Bench, keys: u64, way: Way, sides: Sides) -> Result<f64, Failure> {
    let (a, b) = (Node::start(&bench.below, way, &[])?, Node::start(&bench.below, way, &[])?);
    let (here, there) = (a.store()?, b.store()?);
    let value = data::value(BYTES);
    bulk::put(&here, 0..2 * keys, BATCH, &value)?;
    bulk::copy(&here, &there)?;
    bulk::put(&here, 0..keys, BATCH, &value.replacen("A note", "A title", 1))?;
    let others = if sides == Sides::Apart { keys..2 * keys } else { 0..keys };
    bulk::put(&there, others, BATCH, &value.replacen('7', "8", 1))?;
    let started = Instant::now();
    b.dial(&a.url)?;
    bulk::until_same(&here, &there, started)?;
    let expected = if sides == Sides::Meeting && way != Way::Merging { keys } else { 0 };
    let took = bulk::until(started, "the conflicts are not those that were made", || {
        let counts = [&here, &there].map(|store| store.counts().conflicts);
        counts == [expected; 2] && here.root() == there.root()
    })?;
    Ok(keys as f64 / took.as_secs_f64())
}

/// A key that has as many sides as there are stores that wrote it: taken from a peer, read and resolved.
fn many_sides(bench: &mut Bench) -> Result<(), Failure> {
    let sides = bench.plan.sides;
    bench.report.talk(&format!("a key with {sides} sides"));
    let node = Node::start(&bench.below, Way::Plain, &[])?;
    let store = node.store()?;
    let first = |key: u64, side: u64| {
        let value = Value::json(&serde_json::json!({"title": "A note", "revision": side}));
        let key = data::checked_key(key).map_err(failed)?;
        let mut origin = [7; 16];
        origin[..8].copy_from_slice(&side.to_be_bytes());
        let version = Version::first(&key, data_hash(&value), clock::now(), StoreId(origin));
        Ok::<Event, Failure>(Event::new(key, version, Some(value)))
    };
    let take = |events: Result<Vec<Event>, Failure>| {
        let (events, started) = (events?, Instant::now());
        bulk::give(&store, events)?.recv().map_err(failed)?.map_err(failed)?;
        Ok::<f64, Failure>(sides as f64 / started.elapsed().as_secs_f64())
    };
    let plain = take((1..=sides).map(|side| first(side, side)).collect())?;
    let meeting = take((0..sides).map(|side| first(0, side)).collect())?;
    let (read, got, resolved, put) = bench.wait(async {
        let mut wire = Wire::open(&node.place).await?;
        let mut timed = async |request: &dyn Fn(&mut Vec<u8>)| {
            let started = Instant::now();
            wire.ask(request).await?;
            Ok::<f64, Failure>(started.elapsed().as_secs_f64() * 1e3)
        };
        let value = data::value(BYTES);
        let got = timed(&|out| data::get(1, 1, out)).await?;
        let read = timed(&|out| data::conflict(2, 0, out)).await?;
        let put = timed(&|out| data::put(3, 1, &value, out)).await?;
        let resolved = timed(&|out| data::resolve(4, 0, &value, out)).await?;
        Ok((read, got, resolved, put))
    })?;
    if store.counts().conflicts > 0 {
        return Err(failed("a conflict outlived its end"));
    }
    let mut add = |what: &str, ours, unit, against, baseline| {
        let row = format!("a key with {sides} sides, {what}");
        bench.report.add(Row::one(row, ours, unit, against, baseline));
    };
    add("taken from a peer", meeting, "versions/s", "as many keys", plain);
    add("read with all values", read, "ms", "a get", got);
    add("resolved", resolved, "ms", "a put", put);
    Ok(())
}
