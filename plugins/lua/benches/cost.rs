//! What a hook costs over the same write without one: `cargo bench -p keepboth-lua`. Each row has the
//! best of its runs, what that is over the row without a hook, and that as a share of what it may be.

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use keepboth_core::name::{Address, Key, Name, Namespace};
use keepboth_core::plugin::{
    Before, Conflict, Draft, Origin, Plugin, Put, Side, Site, Source, Worker,
};
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

type Failed = Box<dyn Error>;

/// Runs of each row; the best counts, for what else the machine does only makes runs longer.
const RUNS: usize = 15;

/// What is done to a write of 1 KiB, and how fast it is to be at most, in microseconds.
const BODIES: [(&str, &str, Option<f64>); 7] = [
    ("does nothing", "", None),
    ("looks at the key alone", "if ev.key == 'x' then kb.reject('X') end", Some(2.0)),
    (
        "reads two members, sets one",
        "local v = ev.value if v.title and v.n then v.by = ev.actor end",
        Some(5.0),
    ),
    ("reads ten members", "local v = ev.value for i = 0, 9 do local x = v[NAMES[i + 1]] end", None),
    ("iterates over 20 members", "for k, x in ev.value do end", None),
    ("copies to a table and back", "return kb.table(ev.value)", None),
    ("as JSON text and back", "return kb.json.decode(kb.json.encode(ev.value))", None),
];

fn main() -> Result<(), Failed> {
    let mut out = std::io::stdout().lock();
    let tree = a_kibibyte();
    let value = Value::json(&tree);
    writeln!(out, "{:42}{:>10}{:>10}{:>12}", "a write of 1 KiB of JSON", "us", "over", "at most")?;
    // A server has the tree of what came as JSON; of other values it is parsed for the first that asks.
    for (form, tree) in [("with its tree", Some(&tree)), ("to be parsed", None)] {
        let without = best(|| per_put(None, &value, tree))?;
        writeln!(out, "{:42}{without:10.3}", format!("{form}: no hook"))?;
        for (what, body, most) in BODIES {
            let what = format!("{form}: {what}");
            if !is_meant(&what) {
                continue;
            }
            let mut worker = plugin(body)?.worker()?;
            let took = best(|| per_put(Some(&mut *worker), &value, tree))?;
            let over = took - without;
            let most = most.filter(|_| tree.is_some());
            let most = most.map_or_else(String::new, |most| {
                format!("{most:.1} ({:.0} %)", 100.0 * over / most)
            });
            writeln!(out, "{what:42}{took:10.3}{over:10.3}{most:>12}")?;
        }
    }
    let row = |what: &str, run: fn() -> Result<f64, Failed>| match is_meant(what) {
        true => best(run).map(|took| format!("{what:42}{took:10.3}\n")),
        false => Ok(String::new()),
    };
    write!(out, "{}", row("a worker with its VM, made", per_load)?)?;
    write!(out, "{}", row("a conflict, in a VM of its own", per_conflict)?)?;
    Ok(())
}

/// Whether a row is asked for: `cargo bench -p keepboth-lua -- "ten members"`; all are if none is named.
fn is_meant(what: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| what.contains(&word))
}

/// An object of 20 members, about 1 KiB.
fn a_kibibyte() -> Json {
    let mut tree = json!({"title": "a title", "n": 5});
    for i in 0..18 {
        tree[format!("member{i}")] = json!("x".repeat(40));
    }
    tree
}

fn best(run: impl FnMut() -> Result<f64, Failed>) -> Result<f64, Failed> {
    let mut run = run;
    run()?;
    let mut took = (0..RUNS).map(|_| run()).collect::<Result<Vec<f64>, Failed>>()?;
    took.sort_by(f64::total_cmp);
    Ok(took[0])
}

/// Microseconds of one write, from its draft to the value that is written.
fn per_put(
    worker: Option<&mut dyn Worker>,
    value: &Value,
    tree: Option<&Json>,
) -> Result<f64, Failed> {
    const ROUNDS: usize = 5_000;
    let (namespace, key) = (Namespace::new("notes")?, Key::new("some/key")?);
    let origin = Origin::new(Source::Client, "ada", 1_700_000_000_000);
    // Made before the clock starts: they are the server's work, not the hook's.
    let puts: Vec<Put> = (0..ROUNDS)
        .map(|_| Put {
            namespace: namespace.clone(),
            name: Name::Key(key.clone()),
            key: key.clone(),
            origin: origin.clone(),
            draft: Draft::new(value.clone(), tree.cloned()),
            before: Before::nothing(),
        })
        .collect();
    let mut written = Vec::with_capacity(ROUNDS);
    let started = Instant::now();
    match worker {
        None => puts.into_iter().for_each(|put| written.push(put.draft.into_value())),
        Some(worker) => {
            for mut put in puts {
                worker.before_put(&mut put)?;
                written.push(put.draft.into_value());
            }
        }
    }
    let took = started.elapsed();
    black_box(&written);
    Ok(took.as_secs_f64() * 1e6 / ROUNDS as f64)
}

fn per_load() -> Result<f64, Failed> {
    const ROUNDS: usize = 200;
    let plugin = plugin("ev.value.x = 1")?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(plugin.worker()?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64)
}

fn per_conflict() -> Result<f64, Failed> {
    const ROUNDS: usize = 200;
    let source = "kb.namespace():on_conflict(function(c)
        return kb.merge3(c.base, c.sides[1].value, c.sides[2].value) end)";
    let mut worker = plugin_of(source)?.worker()?;
    let (base, mut one, mut other) = (a_kibibyte(), a_kibibyte(), a_kibibyte());
    (one["title"], other["n"]) = (json!("another"), json!(6));
    let key = Key::new("some/key")?;
    let side = |n: u8, tree: &Json| Side {
        version: keepboth_core::ids::VersionId([n; 32]),
        address: Address { key: key.hash(), branch: [n; 16] },
        value: Value::json(tree),
    };
    let conflict = Conflict {
        namespace: Namespace::new("notes")?,
        key: key.clone(),
        base: Some(Value::json(&base)),
        sides: vec![side(1, &one), side(2, &other)],
    };
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(worker.conflict(&conflict)?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64)
}

fn plugin(body: &str) -> Result<Arc<dyn Plugin>, Failed> {
    let names = "local NAMES = {} for i = 0, 9 do NAMES[i + 1] = 'member' .. i end";
    plugin_of(&format!("{names} kb.namespace():on_put(function(ev) {body} end)"))
}

fn plugin_of(source: &str) -> Result<Arc<dyn Plugin>, Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.luau"), source)?;
    let site = Site {
        namespace: Namespace::new("notes")?,
        folder: ".".into(),
        schemas: folder.path().into(),
        scripts: folder.path().into(),
        value_bytes_max: 65_536,
    };
    let plugin =
        keepboth_lua::FACTORY.build(&site, json!({"scripts": ["a.luau"], "time_limit_ms": 10_000}));
    Ok(plugin.map_err(|mistakes| format!("{mistakes:?}"))?)
}
