//! Builds the plugin from a script in a folder of its own and calls its hooks.

use std::fs;

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Address, Key, Name, Namespace};
use keepboth_core::plugin::{
    Before, Built, Conflict, Delete, Done, Draft, Effect, Failure, Origin, Put, Side, Site, Source,
    Worker,
};
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use keepboth_core::version::Change;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// The time of all events.
pub const NOW: u64 = 1_700_000_000_123;

/// A folder of scripts.
pub struct Scripts(pub TempDir);

impl Scripts {
    pub fn new(files: &[(&str, &str)]) -> Scripts {
        let folder = TempDir::new().expect("folder");
        for (name, source) in files {
            fs::write(folder.path().join(name), source).expect("script");
        }
        Scripts(folder)
    }

    pub fn build(&self, settings: Json) -> Built {
        build_in(self.0.path(), settings)
    }
}

pub fn site(folder: &std::path::Path) -> Site {
    Site {
        namespace: namespace(),
        folder: ".".into(),
        schemas: folder.into(),
        scripts: folder.into(),
        value_bytes_max: 65_536,
    }
}

pub fn build_in(folder: &std::path::Path, settings: Json) -> Built {
    keepboth_lua::FACTORY.build(&site(folder), settings)
}

/// The worker of one script called `a.luau`.
pub fn worker(source: &str) -> Box<dyn Worker> {
    worker_with(source, json!({}))
}

/// The same with more settings.
pub fn worker_with(source: &str, mut settings: Json) -> Box<dyn Worker> {
    let scripts = Scripts::new(&[("a.luau", source)]);
    settings["scripts"] = json!(["a.luau"]);
    // A busy machine must not stop a script that is no test of the time limit.
    if settings["time_limit_ms"].is_null() {
        settings["time_limit_ms"] = json!(5_000);
    }
    let plugin = scripts.build(settings).unwrap_or_else(|e| panic!("{e:?}"));
    plugin.worker().expect("worker")
}

/// The worker of a script that the project ships.
pub fn shipped(name: &str, options: Json) -> Box<dyn Worker> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let built =
        build_in(&folder, json!({"scripts": [name], "options": options, "time_limit_ms": 5_000}));
    built.unwrap_or_else(|e| panic!("{e:?}")).worker().expect("worker")
}

/// The only mistake that building this script finds.
pub fn mistake(source: &str) -> String {
    let scripts = Scripts::new(&[("a.luau", source)]);
    let mistakes = scripts.build(json!({"scripts": ["a.luau"]})).err().expect("a mistake");
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!(mistakes[0].pointer, "/scripts/0");
    without_line(&mistakes[0].message)
}

/// Words without the line of the script that stands behind them.
pub fn without_line(words: &str) -> String {
    words.split(" | ").next().unwrap_or_default().to_owned()
}

pub fn namespace() -> Namespace {
    Namespace::new("notes").expect("namespace")
}

pub fn key(text: &str) -> Key {
    Key::new(text).expect("key")
}

pub fn origin() -> Origin {
    Origin::new(Source::Client, "ada", NOW)
}

pub fn a_put(name: &str, value: Value) -> Put {
    let key = key(name);
    let draft = Draft::new(value, None);
    Put {
        namespace: namespace(),
        name: Name::Key(key.clone()),
        key,
        origin: origin(),
        draft,
        before: Before::nothing(),
    }
}

/// Puts a value under the key `a`; what the value is afterwards.
pub fn put_value(worker: &mut dyn Worker, value: Value) -> Result<Value, Refusal> {
    let mut put = a_put("a", value);
    worker.before_put(&mut put)?;
    Ok(put.draft.into_value())
}

/// The same with JSON.
pub fn put(worker: &mut dyn Worker, tree: Json) -> Result<Json, Refusal> {
    let value = put_value(worker, Value::json(&tree))?;
    Ok(whole_tree(&value))
}

/// The tree of a value, with whole numbers as integers.
fn whole_tree(value: &Value) -> Json {
    match value.to_number() {
        Some(n) if n.fract() == 0.0 => Json::from(n as i64),
        _ => value.to_json().expect("json"),
    }
}

/// The words with which this put is refused.
pub fn refused(worker: &mut dyn Worker, tree: Json) -> String {
    without_line(&put(worker, tree).expect_err("refused").message)
}

/// Runs the body as an on_put with `v` for `ev.value`; what the value is afterwards.
pub fn run(body: &str, tree: Json) -> Result<Json, Refusal> {
    let source = format!("kb.namespace():on_put(function(ev) local v = ev.value\n{body}\nend)");
    put(&mut *worker(&source), tree)
}

/// The words with which the body fails; they follow the place.
pub fn fails(body: &str, tree: Json) -> String {
    let refusal = run(body, tree).expect_err("refused");
    let start = "hook failed: scripts/a.luau:2 (on_put, namespace notes, key \"a\"): ";
    let words = without_line(&refusal.message);
    words.strip_prefix(start).unwrap_or_else(|| panic!("{}", refusal.message)).into()
}

pub fn delete(worker: &mut dyn Worker, name: &str) -> Result<(), Refusal> {
    let key = key(name);
    let name = Name::Key(key.clone());
    worker.before_delete(&Delete {
        namespace: namespace(),
        name,
        key,
        origin: origin(),
        before: Before::nothing(),
    })
}

pub fn version(n: u8) -> VersionId {
    VersionId([n; 32])
}

pub fn after(
    worker: &mut dyn Worker,
    name: &str,
    value: Option<Value>,
) -> (Vec<Effect>, Result<(), Failure>) {
    let key = key(name);
    let name = Name::Key(key.clone());
    let (version, origin) = (version(7), origin());
    let change = if value.is_some() { Change::Put } else { Change::Delete };
    let done = Done {
        namespace: namespace(),
        name,
        key,
        version,
        change,
        value,
        origin,
        before: Before::nothing(),
    };
    let mut writes = Vec::new();
    let result = worker.after(&done, &mut writes);
    (writes, result)
}

pub fn a_conflict(base: Option<Value>, sides: Vec<Value>) -> Conflict {
    let key = key("a");
    let side = |(n, value): (usize, Value)| {
        let address = Address { key: key.hash(), branch: [n as u8; 16] };
        Side { version: version(n as u8), address, value }
    };
    let sides = sides.into_iter().enumerate().map(side).collect();
    Conflict { namespace: namespace(), key: key.clone(), base, sides }
}

pub fn conflict(worker: &mut dyn Worker, base: Json, sides: &[Json]) -> Option<Json> {
    let sides = sides.iter().map(Value::json).collect();
    let base = (!base.is_null()).then(|| Value::json(&base));
    let merged = worker.conflict(&a_conflict(base, sides)).expect("no failure");
    merged.map(|value| whole_tree(&value))
}
