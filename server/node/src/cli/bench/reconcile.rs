//! Two nodes with many keys of which few differ: what it costs them to find out and to mend it, what two
//! equal ones say to each other, and how long it takes to open such a store.

use std::path::Path;
use std::time::{Duration, Instant};

use keepboth_core::name::Namespace;
use keepboth_store::{Options, Store, journal_of};

use super::node::Node;
use super::pair::{self, Talk};
use super::report::Row;
use super::setup::Way;
use super::{Bench, bulk, data};
use crate::cli::exit::Failure;

/// Bytes of values.
const BYTES: usize = 100;
/// Objects that are put at once.
const BATCH: u64 = 50_000;

/// Puts after which the digests are written the next time, less some.
const CHANGES_MAX: u64 = 32_000;

/// Measures all of it on the same two nodes.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let keys = bench.plan.many;
    bench.report.talk(&format!("two nodes with {keys} keys: this takes a while"));
    let mut nodes = Nodes::filled(&bench.below, keys)?;
    let greeting = nodes.equal(bench)?;
    for differing in bench.plan.differing.iter().filter(|count| **count * 2 <= keys) {
        bench.report.talk(&format!("{differing} of {keys} keys differ"));
        nodes.differ(bench, *differing, &greeting)?;
    }
    nodes.open(bench)?;
    bench.report.show()
}

/// Two nodes that are not connected.
struct Nodes {
    a: Node,
    b: Node,
    keys: u64,
    value: String,
    /// How often keys were changed.
    changed: u64,
}

impl Nodes {
    /// Two nodes with the same objects.
    fn filled(below: &Path, keys: u64) -> Result<Nodes, Failure> {
        let (a, b) = (Node::start(below, Way::Plain, &[])?, Node::start(below, Way::Plain, &[])?);
        let value = data::value(BYTES);
        bulk::put(&a.store()?, 0..keys, BATCH, &value)?;
        bulk::copy(&a.store()?, &b.store()?)?;
        Ok(Nodes { a, b, keys, value, changed: 0 })
    }

    /// Makes so many keys differ, half of them newer here and half there.
    fn part(&mut self, differing: u64) -> Result<(), Failure> {
        self.changed += 1;
        let value = self.value.replacen('7', &(10 + self.changed).to_string(), 1);
        let half = differing / 2;
        bulk::put(&self.a.store()?, 0..half, BATCH, &value)?;
        bulk::put(&self.b.store()?, half..differing, BATCH, &value)
    }

    /// What the sessions of two equal stores say of a namespace; gives the greeting without one.
    fn equal(&self, bench: &mut Bench) -> Result<Talk, Failure> {
        let with = pair::agree(&self.a, &self.b, true)?;
        let without = pair::agree(&self.a, &self.b, false)?;
        let row = |what| format!("two equal stores of {} keys connect, {what}", self.keys);
        let limit = "the limit for a namespace";
        let mut add = |what, bytes: u64| {
            bench.report.add(Row::one(row(what), bytes as f64, "bytes", limit, 200.0));
        };
        add("digests", with.roots);
        add("digests and what the greeting says of the namespace", with.bytes - without.bytes);
        Ok(without)
    }

    /// The cost by two sessions in memory, then the time of two nodes over a socket.
    fn differ(
        &mut self,
        bench: &mut Bench,
        differing: u64,
        greeting: &Talk,
    ) -> Result<(), Failure> {
        self.part(differing)?;
        let talk = pair::agree(&self.a, &self.b, true)?;
        self.part(differing)?;
        let (a, b) = (self.a.store()?, self.b.store()?);
        let started = Instant::now();
        self.b.dial(&self.a.url)?;
        let took = bulk::until_same(&a, &b, started)?;
        drop((a, b));
        let row = format!("{differing} of {} keys differ", self.keys);
        add(bench, &row, (&talk, greeting), took);
        self.part_ways()
    }

    /// Ends their connection. Each would tell the other where it is now, were that one still there.
    fn part_ways(&mut self) -> Result<(), Failure> {
        self.a.stop();
        self.b.stop();
        self.a.start_again()?;
        self.b.start_again()
    }

    /// How long it takes to open the database of a node that has stopped, and of one that had no time to
    /// after few changes, and after as many as there can be since the digests were written.
    fn open(mut self, bench: &mut Bench) -> Result<(), Failure> {
        let (few, many) = (1_000.min(self.keys / 4), CHANGES_MAX.min(self.keys / 4));
        let (file, folder, node) = (self.a.file()?, self.a.folder(), self.a.mesh()?.node);
        let options = Options { node, ..Options::default() };
        self.a.stop();
        self.b.stop();
        let (stopped, read) = opened(&file, &options)?;
        let row = format!("opening a store of {} keys", self.keys);
        let all = |bench: &mut Bench, what: &str, read: u64, keys: u64| {
            let row = format!("{row}, changes of digests read after {what}");
            bench.report.add(Row::one(row, read as f64, "changes", "all keys", keys as f64));
        };
        all(bench, "a stop", read, self.keys);
        for changes in [few, many] {
            self.a.start_again()?;
            bulk::put(&self.a.store()?, 0..changes, 1_000, &self.value)?;
            // What a power cut leaves is what is in the file now.
            let cut = folder.path().join("cut.redb");
            std::fs::copy(&file, &cut)?;
            for (from, to) in journal_of(&file).iter().zip(journal_of(&cut)) {
                std::fs::copy(from, to)?;
            }
            self.a.stop();
            let (took, read) = opened(&cut, &options)?;
            let what = format!("{changes} puts and a crash");
            all(bench, &what, read, self.keys);
            let (took, stopped) = (milliseconds(took), milliseconds(stopped));
            let row = format!("{row}, after {what}");
            bench.report.add(Row::one(row, took, "ms", "the same, after a stop", stopped));
        }
        Ok(())
    }
}

/// Opens a database; how long that took and how many changes were read.
fn opened(file: &Path, options: &Options) -> Result<(Duration, u64), Failure> {
    let name = Namespace::new(data::NAMESPACE).map_err(bulk::failed)?;
    let started = Instant::now();
    let store = Store::open(file, &name, options.clone(), |_| {}).map_err(bulk::failed)?;
    let took = started.elapsed();
    let read = store.changes_read_at_opening();
    store.close();
    Ok((took, read))
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn add(bench: &mut Bench, row: &str, (talk, greeting): (&Talk, &Talk), took: Duration) {
    let beyond = talk.bytes.saturating_sub(talk.histories) as f64;
    let mut add = |what: &str, ours, unit, against, baseline| {
        bench.report.add(Row::one(format!("{row}, {what}"), ours, unit, against, baseline));
    };
    let rounds = talk.rounds_beyond(greeting) as f64;
    add("after the greeting", rounds, "round trips", "the limit for 1,000", 10.0);
    add("beyond the histories", beyond, "bytes", "bytes of histories", talk.histories as f64);
    let alone = milliseconds(talk.took);
    add("dialled until equal", milliseconds(took), "ms", "two sessions in memory", alone);
}
