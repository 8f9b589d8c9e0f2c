//! What the parts of a write and of a read cost on their own: `cargo bench --bench micro`. Each row has the
//! best of its runs, for what else the machine does only makes runs longer.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::sync::mpsc;
use std::time::{Duration, Instant};

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
use keepboth_store::{Op, Options, Store, Task};
use serde_json::{Value as Json, json};
use smallvec::smallvec;

type Failed = Box<dyn Error>;

/// Runs of each row; the best counts.
const RUNS: u32 = 10;
/// About how long each takes.
const RUN: Duration = Duration::from_millis(30);
const NOW: u64 = 1_700_000_000_000;
const STORE: StoreId = StoreId([7; 16]);
const SCHEMA: &str = include_str!("../schemas/note.schema.json");
const HOOK: &str = include_str!("../server/node/src/cli/bench/hook.luau");

fn main() -> Result<(), Failed> {
    // `cargo test --all-targets` runs this too, without the flag, and does not want to measure.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    writeln!(stdout(), "{:56}{:>12}{:>14}", "", "us", "a second")?;
    hashes()?;
    views()?;
    codecs()?;
    plugins()?;
    digests()?;
    store()
}

/// Measures one thing, as often as a run takes.
fn row<T>(what: &str, mut one: impl FnMut() -> T) -> Result<(), Failed> {
    let mut times = 1_u32;
    let best = loop {
        let started = Instant::now();
        (0..times).for_each(|_| drop(black_box(one())));
        let took = started.elapsed();
        if took >= RUN / 2 {
            break took;
        }
        times = times.saturating_mul(2);
    };
    let runs = (1..RUNS).map(|_| {
        let started = Instant::now();
        (0..times).for_each(|_| drop(black_box(one())));
        started.elapsed()
    });
    let best = runs.fold(best, Duration::min).as_secs_f64() / f64::from(times);
    show(what, best)
}

fn show(what: &str, seconds: f64) -> Result<(), Failed> {
    Ok(writeln!(stdout(), "{what:56}{:12.3}{:14.0}", seconds * 1e6, 1.0 / seconds)?)
}

/// A note of about 1 KiB.
fn note() -> Json {
    json!({"title": "A note", "revision": 7, "text": "to be or not to be ".repeat(51)})
}

fn key() -> Result<Key, Failed> {
    Ok(Key::new("note/0123456789abcdef")?)
}

fn hashes() -> Result<(), Failed> {
    let (tree, parent) = (note(), VersionId([1; 32]));
    let (value, text) = (Value::json(&tree), serde_json::to_vec(&tree)?);
    let (data, large) = (data_hash(&value), Value::bytes(vec![7; 65_536]));
    row("value: JSON of 1 KiB parsed", || json::parse(&text).is_ok())?;
    row("value: canonical form of a tree of 1 KiB", || Value::json(&tree))?;
    row("hash: value of 1 KiB", || data_hash(&value))?;
    row("hash: value of 64 KiB", || data_hash(&large))?;
    row("hash: a first version", || hash::first("note/0123456789abcdef", &data, NOW))?;
    row("hash: a version on another", || hash::next(&[parent], &data))
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

fn views() -> Result<(), Failed> {
    for (line, sides) in [(1, 0), (10, 0), (100, 0), (10, 2), (10, 100)] {
        let history = history(line, sides)?;
        row(&format!("view: {line} versions, {sides} sides"), || View::of(&history))?;
    }
    let first = Version::first(&key()?, data_hash(&Value::json(&note())), NOW, STORE);
    let next = Version::next(smallvec![first.id], first.data, NOW, STORE);
    let view = View::first(&first);
    row("view: one version on the only one", || view.clone().advance(&next))
}

fn codecs() -> Result<(), Failed> {
    let (namespace, value) = (Namespace::new("notes")?, Value::json(&note()));
    let put = json!({"id": 1, "put": {"ns": "notes", "key": key()?.as_str(), "value": note()}});
    let (text, packed) = (serde_json::to_vec(&put)?, rmp_serde::to_vec(&put)?);
    row("codec: a put of 1 KiB read, JSON", || decode_request(Format::Json, &text).is_ok())?;
    let read = || decode_request(Format::MessagePack, &packed).is_ok();
    row("codec: a put of 1 KiB read, MessagePack", read)?;
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
        row(&format!("codec: an object of 1 KiB written, {format:?}"), || {
            out.clear();
            encode_answer(format, Some(1), &answer, &mut out);
        })?;
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
    row("codec: a version of 1 KiB for a peer written", written)?;
    row("codec: a version of 1 KiB of a peer read", || Message::decode(&bytes).is_ok())
}

fn plugins() -> Result<(), Failed> {
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
        ("schema: a put of 1 KiB", keepboth_schema::FACTORY, schema),
        ("hook: a put of 1 KiB", keepboth_lua::FACTORY, json!({"scripts": ["hook.luau"]})),
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
    row("a put of 1 KiB made ready for plugins, in the next two", || put().draft.into_value())?;
    for (what, factory, settings) in cases {
        let plugin = factory.build(&site, settings).map_err(|mistakes| format!("{mistakes:?}"))?;
        let mut worker = plugin.worker()?;
        worker.before_put(&mut put())?;
        row(what, || {
            let mut put = put();
            (worker.before_put(&mut put).is_ok(), put.draft.into_value())
        })?;
    }
    Ok(())
}

fn digests() -> Result<(), Failed> {
    let (before, after) = ([VersionId([1; 32])], [VersionId([2; 32])]);
    let (mut tree, mut key) = (DigestTree::default(), key()?.hash());
    row("digest: a key that changes", || Digest::change(&key, &before, &after))?;
    row("digest: a key that changes, in a tree that fills up", || {
        key = key.map(|byte| byte.wrapping_mul(5).wrapping_add(113));
        tree.replace(&key, &before, &after);
    })?;
    row("digest: the whole tree's", || tree.root())
}

/// Groups of puts of 1 KiB, each put a task of its own: on the disk with journal and tables, and in memory
/// with the tables alone. What the one takes longer is the journal with its fsync.
fn store() -> Result<(), Failed> {
    let (folder, namespace) = (tempfile::tempdir()?, Namespace::new("notes")?);
    let file = folder.path().join("notes.redb");
    let stores = [
        ("journal and tables", Store::open(&file, &namespace, Options::default(), |_| {})?),
        ("tables in memory", Store::in_memory(&namespace, Options::default(), |_| {})?),
    ];
    let value = Value::json(&note());
    for group in [1, 64, 1_024] {
        for (what, store) in &stores {
            let took = groups(store, group, &value)?;
            show(&format!("store: each of {group} puts at once, {what}"), took)?;
        }
    }
    stores.iter().for_each(|(_, store)| store.close());
    Ok(())
}

/// How many seconds each put took in the best of some groups.
fn groups(store: &Store, group: u32, value: &Value) -> Result<f64, Failed> {
    let mut best = f64::MAX;
    let started = Instant::now();
    while started.elapsed() < RUN * RUNS {
        let tasks = (0..group).map(|n| {
            let number = store.counts().last_sequence * 2_048 + u64::from(n);
            // In no order that a tree would like.
            let key = format!("note/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let name = Name::Key(Key::new(&key)?);
            Ok(Op::Put { name, value: value.clone(), condition: Condition::None })
        });
        let ops = tasks.collect::<Result<Vec<Op>, Failed>>()?;
        let (done, answers) = mpsc::channel();
        let begun = Instant::now();
        for op in ops {
            let done = done.clone();
            let done = Box::new(move |outcome| drop(done.send(outcome)));
            let task = Task::Local { ops: vec![op], now: NOW, done };
            store.submit_blocking(task).map_err(|_| "the store is closed")?;
        }
        for _ in 0..group {
            answers.recv()??;
        }
        best = best.min(begun.elapsed().as_secs_f64() / f64::from(group));
    }
    Ok(best)
}
