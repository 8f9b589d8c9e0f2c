//! What the parts of a write and of a read cost on their own: `cargo bench --bench micro`, with `-- --quick`
//! in less time, with `-- hash` those rows alone. `cargo test --all-targets` does each of them once.

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use keepboth::protocol::{Answer, Format, Object, decode_request, encode_answer};
use keepboth_core::digest::{Digest, DigestTree};
use keepboth_core::hash::{self, data_hash};
use keepboth_core::history::History;
use keepboth_core::ids::{NodeId, StoreId, VersionId};
use keepboth_core::json;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{Before, Draft, Factory, Origin, Put, Site, Source};
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::view::View;
use keepboth_core::wire::Message;
use keepboth_core::write::Condition;
use keepboth_store::baseline::{self, BareJournal};
use keepboth_store::{Op, Options, Store, Task};
use serde_json::{Value as Json, json};
use smallvec::smallvec;

type Failed = Box<dyn Error>;
type Group<'c> = BenchmarkGroup<'c, WallTime>;

/// How long each row is done before it is measured, and how long it is measured.
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_secs(1);
/// Samples of a row of writes: fewer than of other rows, so that each is of several writes.
const WRITES: usize = 30;
/// Puts that are made durable together.
const TOGETHER: [usize; 3] = [1, 64, 1_024];
const NOW: u64 = 1_700_000_000_000;
const STORE: StoreId = StoreId([7; 16]);
const SCHEMA: &str = include_str!("../schemas/note.schema.json");
const HOOK: &str = include_str!("../server/node/src/cli/bench/hook.luau");

fn main() -> Result<(), Failed> {
    let criterion = Criterion::default().warm_up_time(WARM_UP).measurement_time(MEASURED);
    let mut criterion = criterion.without_plots().configure_from_args();
    hashes(&mut criterion)?;
    views(&mut criterion)?;
    codecs(&mut criterion)?;
    plugins(&mut criterion)?;
    digests(&mut criterion)?;
    journal(&mut criterion)?;
    store(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Measures one thing.
fn row<T>(group: &mut Group<'_>, what: &str, mut one: impl FnMut() -> T) {
    group.bench_function(what, |bencher| bencher.iter(&mut one));
}

/// A note of about 1 KiB.
fn note() -> Json {
    json!({"title": "A note", "revision": 7, "text": "to be or not to be ".repeat(51)})
}

fn key() -> Result<Key, Failed> {
    Ok(Key::new("note/0123456789abcdef")?)
}

fn hashes(criterion: &mut Criterion) -> Result<(), Failed> {
    let (tree, parent) = (note(), VersionId([1; 32]));
    let (value, text) = (Value::json(&tree), serde_json::to_vec(&tree)?);
    let (data, large) = (data_hash(&value), Value::bytes(vec![7; 65_536]));
    let mut group = criterion.benchmark_group("value");
    row(&mut group, "JSON of 1 KiB parsed", || json::parse(&text).is_ok());
    row(&mut group, "canonical form of a tree of 1 KiB", || Value::json(&tree));
    group.finish();
    let mut group = criterion.benchmark_group("hash");
    row(&mut group, "value of 1 KiB", || data_hash(&value));
    row(&mut group, "value of 64 KiB", || data_hash(&large));
    row(&mut group, "a first version", || hash::first("note/0123456789abcdef", &data, NOW));
    row(&mut group, "a version on another", || hash::next(&[parent], &data));
    group.finish();
    Ok(())
}

/// A history of a line of so many versions, on which so many sides stand.
fn history(line: u64, sides: u64) -> Result<History, Failed> {
    let data = |n: u64| data_hash(&Value::json(&json!(n)));
    let mut history = History::new(key()?);
    let mut last = Version::first(&key()?, data(0), NOW, STORE);
    history.insert(last.clone())?;
    for n in 1..line {
        last = Version::next(smallvec![last.id], data(n), NOW, STORE);
        history.insert(last.clone())?;
    }
    for side in 0..sides {
        history.insert(Version::next(smallvec![last.id], data(line + side), NOW, STORE))?;
    }
    Ok(history)
}

fn views(criterion: &mut Criterion) -> Result<(), Failed> {
    let mut group = criterion.benchmark_group("view");
    for (line, sides) in [(1, 0), (10, 0), (100, 0), (10, 2), (10, 100)] {
        let history = history(line, sides)?;
        row(&mut group, &format!("{line} versions, {sides} sides"), || View::of(&history));
    }
    let first = Version::first(&key()?, data_hash(&Value::json(&note())), NOW, STORE);
    let next = Version::next(smallvec![first.id], first.data, NOW, STORE);
    let view = View::first(&first);
    row(&mut group, "one version on the only one", || view.clone().advance(&next));
    group.finish();
    Ok(())
}

fn codecs(criterion: &mut Criterion) -> Result<(), Failed> {
    let mut group = criterion.benchmark_group("codec");
    let (namespace, value) = (Namespace::new("notes")?, Value::json(&note()));
    let put = json!({"id": 1, "put": {"ns": "notes", "key": key()?.as_str(), "value": note()}});
    let (text, packed) = (serde_json::to_vec(&put)?, rmp_serde::to_vec(&put)?);
    for (format, bytes) in [(Format::Json, &text), (Format::MessagePack, &packed)] {
        let what = format!("a put of 1 KiB read, {format:?}");
        row(&mut group, &what, || decode_request(format, bytes).is_ok());
    }
    let version = Version::first(&key()?, data_hash(&value), NOW, STORE);
    let answer = Ok(Answer::Object(Object {
        key: key()?,
        name: Name::Key(key()?),
        version: version.id,
        value: value.clone(),
        timestamp: NOW,
        origin: STORE,
    }));
    let mut out = Vec::new();
    for format in [Format::Json, Format::MessagePack] {
        row(&mut group, &format!("an object of 1 KiB written, {format:?}"), || {
            out.clear();
            encode_answer(format, Some(1), &answer, &mut out);
        });
    }
    let event = Event::new(key()?, version, Some(value));
    let written = || {
        let live = Message::Live {
            namespace: namespace.clone(),
            sequence: 5,
            root: Some(Digest::default()),
            maker: NodeId([2; 32]),
            events: vec![event.clone()].into(),
        };
        live.encode()
    };
    let bytes = written();
    row(&mut group, "a version of 1 KiB for a peer written", written);
    row(&mut group, "a version of 1 KiB of a peer read", || Message::decode(&bytes).is_ok());
    group.finish();
    Ok(())
}

fn plugins(criterion: &mut Criterion) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("note.schema.json"), SCHEMA)?;
    std::fs::write(folder.path().join("hook.luau"), HOOK)?;
    let site = Site {
        namespace: Namespace::new("notes")?,
        folder: folder.path().into(),
        schemas: folder.path().into(),
        scripts: folder.path().into(),
        value_bytes_max: 65_536,
    };
    let schema = json!({"bind": {"note/*": "note.schema.json"}, "strict": true});
    let cases: [(&str, Factory, Json); 2] = [
        ("schema, a put of 1 KiB", keepboth_schema::FACTORY, schema),
        ("hook, a put of 1 KiB", keepboth_lua::FACTORY, json!({"scripts": ["hook.luau"]})),
    ];
    let (tree, key) = (note(), key()?);
    let (value, namespace) = (Value::json(&tree), site.namespace.clone());
    let put = || Put {
        namespace: namespace.clone(),
        name: Name::Key(key.clone()),
        key: key.clone(),
        origin: Origin::new(Source::Client, "ada", NOW),
        draft: Draft::new(value.clone(), Some(tree.clone())),
        before: Before::nothing(),
    };
    let mut group = criterion.benchmark_group("plugin");
    row(&mut group, "a put of 1 KiB made ready, in the next two", || put().draft.into_value());
    for (what, factory, settings) in cases {
        let plugin = factory.build(&site, settings).map_err(|mistakes| format!("{mistakes:?}"))?;
        let mut worker = plugin.worker()?;
        worker.before_put(&mut put())?;
        row(&mut group, what, || {
            let mut put = put();
            (worker.before_put(&mut put).is_ok(), put.draft.into_value())
        });
    }
    group.finish();
    Ok(())
}

fn digests(criterion: &mut Criterion) -> Result<(), Failed> {
    let mut group = criterion.benchmark_group("digest");
    let (before, after) = ([VersionId([1; 32])], [VersionId([2; 32])]);
    let (mut tree, mut key) = (DigestTree::default(), key()?.hash());
    row(&mut group, "a key that changes", || Digest::change(&key, &before, &after));
    row(&mut group, "a key that changes, in a tree that fills up", || {
        key = key.map(|byte| byte.wrapping_mul(5).wrapping_add(113));
        tree.replace(&key, &before, &after);
    });
    row(&mut group, "the whole tree's", || tree.root());
    group.finish();
    Ok(())
}

/// Keys in no order that a tree would like.
fn keys() -> impl Iterator<Item = Key> {
    let names = (0_u64..).map(|n| format!("note/{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    names.map(|name| Key::new(&name).expect("a key"))
}

/// Rows of writes: each sample has as many as the others, for some writes wait for what earlier ones left
/// behind, and only all of them together tell what they cost.
fn writes<'c>(criterion: &'c mut Criterion, what: &str) -> Group<'c> {
    let mut group = criterion.benchmark_group(what);
    group.sampling_mode(SamplingMode::Flat).sample_size(WRITES);
    group
}

/// The rows of so many puts of 1 KiB, made ahead, appended to a journal on disk as one group and synced.
fn journal(criterion: &mut Criterion) -> Result<(), Failed> {
    let (folder, value) = (tempfile::tempdir()?, Value::json(&note()));
    let mut group = writes(criterion, "journal");
    for together in TOGETHER {
        let mut journal = BareJournal::create(&folder.path().join("notes.redb"))?;
        let puts = keys().map(|key| baseline::Put::new(key, value.as_bytes()));
        let mut puts: Vec<_> = puts.take(together).collect();
        group.throughput(Throughput::Elements(together as u64));
        group.bench_function(format!("rows of {together} puts, appended and synced"), |bencher| {
            let made = || baseline::Group::new(&mut puts);
            let append = |rows| journal.append(rows).expect("appended");
            bencher.iter_batched(made, append, BatchSize::PerIteration);
        });
    }
    group.finish();
    Ok(())
}

/// Groups of puts of 1 KiB, each put a task of its own, in a store that was empty before: on disk with its
/// journal, and in memory, where it has none.
///
/// The store on disk is the faster one for groups, unless the disk is slow: a group is answered when it was
/// appended to the journal and synced, and redb gets many groups in one transaction behind the answers. A
/// store in memory has no journal, so each group is a transaction of redb, and its answers wait for that.
/// Only for a put alone does a sync cost more than a transaction.
fn store(criterion: &mut Criterion) -> Result<(), Failed> {
    let (namespace, value) = (Namespace::new("notes")?, Value::json(&note()));
    let mut group = writes(criterion, "store");
    for together in TOGETHER {
        group.throughput(Throughput::Elements(together as u64));
        for (what, on_disk) in [("with the journal", true), ("in memory", false)] {
            let (folder, options) = (tempfile::tempdir()?, Options::default());
            let file = folder.path().join("notes.redb");
            let store = match on_disk {
                true => Store::open(&file, &namespace, options, |_| {})?,
                false => Store::in_memory(&namespace, options, |_| {})?,
            };
            let mut puts = keys().map(|key| put(key, &value));
            group.bench_function(format!("{together} puts at once, {what}"), |bencher| {
                let made = || puts.by_ref().take(together).collect();
                bencher.iter_batched(made, |ops| carry_out(&store, ops), BatchSize::PerIteration);
            });
            store.close();
        }
    }
    group.finish();
    Ok(())
}

fn put(key: Key, value: &Value) -> Op {
    Op::Put { name: Name::Key(key), value: value.clone(), condition: Condition::None }
}

/// Each as a task of its own, until all are answered.
fn carry_out(store: &Store, ops: Vec<Op>) {
    let ((done, answers), tasks) = (mpsc::channel(), ops.len());
    for op in ops {
        let done = done.clone();
        let done = Box::new(move |outcome| drop(done.send(outcome)));
        let task = Task::Local { ops: vec![op], now: NOW, done };
        assert!(store.submit_blocking(task).is_ok(), "the store is closed");
    }
    drop(done);
    let written = answers.iter().map(|answer| answer.expect("written"));
    assert_eq!(written.count(), tasks, "not all were answered");
}
