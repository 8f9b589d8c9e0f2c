//! `hooks`: the script under test, as its tests call it.

use std::cell::RefCell;
use std::rc::Rc;

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{Host, Level, Site, Source, StateChange};
use keepboth_core::refusal::Code;
use keepboth_core::value::Value as Stored;
use mlua::{Function, IntoLua, Lua, LuaString, Table, Value};
use serde_json::{Value as Json, json};

use crate::fault::raise;
use crate::memory::NOW;
use crate::named::named;
use crate::node::copy;
use crate::tree::{to_json, to_stored};
use crate::trial::{Event, Outcome, Trial};
use crate::words::no_such_name;

/// What one test has: the script once it is loaded, and its namespace.
pub struct Stage {
    site: Site,
    script: String,
    trial: Option<Trial>,
}

type Shared = Rc<RefCell<Stage>>;
type Told<T> = Result<T, String>;

impl Stage {
    /// The script of this name.
    pub fn new(site: &Site, script: &str) -> Stage {
        Stage { site: site.clone(), script: script.to_owned(), trial: None }
    }

    /// The namespace to which the script is bound.
    pub fn namespace(&self) -> &Namespace {
        &self.site.namespace
    }

    /// A new test: nothing is loaded, nothing is stored.
    pub fn clear(&mut self) {
        self.trial = None;
    }

    fn load(&mut self, mut settings: Json) -> Told<&mut Trial> {
        settings["scripts"] = json!([self.script]);
        // A busy machine must not fail a test that is none of the time limit.
        if settings["time_limit_ms"].is_null() {
            settings["time_limit_ms"] = json!(5_000);
        }
        let trial = Trial::new(&self.site, settings).map_err(|mistakes| {
            let words: Vec<&str> = mistakes.iter().map(|m| m.message.as_str()).collect();
            words.join("; ")
        })?;
        Ok(self.trial.insert(trial))
    }

    fn trial(&mut self) -> Told<&mut Trial> {
        if self.trial.is_none() {
            return self.load(json!({}));
        }
        self.trial.as_mut().ok_or_else(|| "the script is not loaded".into())
    }
}

/// The table `hooks`.
pub fn table(lua: &Lua, stage: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let set = |name: &'static str, run: fn(&Lua, &mut Stage, &Table) -> Told<Value>| {
        table.raw_set(name, function(lua, stage, name, run)?)
    };
    set("load", |lua, stage, given| {
        only(given, &["options", "on_failure", "disable_after", "time_limit_ms", "memory_limit"])?;
        let settings = to_json(lua, &Value::Table(given.clone()), || "its settings".into())?;
        stage.load(settings).map(|_| Value::Nil)
    })?;
    set("put", |lua, stage, given| {
        let event = event(lua, given, &["value"])?;
        let value = value(lua, given, "value")?.ok_or("value is missing")?;
        told(lua, stage.trial()?.put(&event, value))
    })?;
    set("delete", |lua, stage, given| {
        let event = event(lua, given, &[])?;
        told(lua, stage.trial()?.delete(&event))
    })?;
    set("after_put", |lua, stage, given| {
        let event = event(lua, given, &["value"])?;
        let value = value(lua, given, "value")?.ok_or("value is missing")?;
        told(lua, stage.trial()?.after(&event, Some(value)))
    })?;
    set("after_delete", |lua, stage, given| {
        let event = event(lua, given, &[])?;
        told(lua, stage.trial()?.after(&event, None))
    })?;
    set("conflict", |lua, stage, given| {
        only(given, &["key", "base", "sides"])?;
        let key = key(given)?;
        let base = value(lua, given, "base")?;
        let Ok(Value::Table(sides)) = given.raw_get::<Value>("sides") else {
            return Err("sides are a list of values".into());
        };
        let sides = sides.sequence_values::<Value>().map(|side| {
            let side = side.map_err(|e| e.to_string())?;
            to_stored(lua, &side, "a side").map(|whole| whole.into_stored())
        });
        let sides = sides.collect::<Told<Vec<Stored>>>()?;
        told(lua, stage.trial()?.conflict(&key, base, sides))
    })?;
    set("state", |lua, stage, given| {
        only(given, &["before", "now", "reason"])?;
        let level = |name: &str| {
            let wanted = text(given, name)?.unwrap_or_default();
            let found = Level::ALL.into_iter().find(|level| level.as_str() == wanted);
            found.ok_or_else(|| format!("{name} is \"empty\", \"not_synced\" or \"synced\""))
        };
        let (before, now) = (level("before")?, level("now")?);
        let reason = text(given, "reason")?.unwrap_or_default();
        let namespace = stage.namespace().clone();
        told(lua, stage.trial()?.state(&StateChange { namespace, before, now, reason }))
    })?;
    set("tick", |lua, stage, given| {
        only(given, &["every", "timestamp"])?;
        let every = text(given, "every")?.ok_or("every is missing, like \"1h\"")?;
        let now = number(given, "timestamp")?.unwrap_or(NOW);
        let trial = stage.trial()?;
        let is = |text: &str| text == every;
        let timer = trial
            .hooks()
            .into_iter()
            .find(|hook| hook.declared.timer.as_ref().is_some_and(|timer| is(&timer.text)));
        let timer = timer.ok_or_else(|| format!("the script has no timer of {every:?}"))?;
        told(lua, trial.timer(&timer, now))
    })?;
    set("store", |lua, stage, given| {
        only(given, &["namespace", "key", "value"])?;
        let (namespace, name) = place(stage, given)?;
        let value = value(lua, given, "value")?;
        stage.trial()?.memory().set(&namespace, &name, value);
        Ok(Value::Nil)
    })?;
    set("stored", |lua, stage, given| {
        only(given, &["namespace", "key"])?;
        let (namespace, name) = place(stage, given)?;
        let found = stage.trial()?.memory().get(&namespace, &name).map_err(|e| e.message)?;
        found.map_or(Ok(Value::Nil), |value| copy(lua, &value).map_err(|e| e.to_string()))
    })?;
    named(lua, "hooks", table)
}

fn function(
    lua: &Lua,
    stage: &Shared,
    name: &'static str,
    run: fn(&Lua, &mut Stage, &Table) -> Told<Value>,
) -> mlua::Result<Function> {
    let stage = stage.clone();
    lua.create_function(move |lua, given: Option<Table>| {
        let fail = |words: String| raise(lua, format!("hooks.{name}: {words}"));
        let given = given.map_or_else(|| lua.create_table(), Ok)?;
        let mut stage = stage.try_borrow_mut().map_err(|_| fail("runs already".into()))?;
        run(lua, &mut stage, &given).map_err(fail)
    })
}

fn only(given: &Table, names: &[&str]) -> Told<()> {
    for pair in given.pairs::<Value, Value>() {
        let (name, _) = pair.map_err(|e| e.to_string())?;
        let name = name.as_string().map_or_else(String::new, LuaString::to_string_lossy);
        if !names.contains(&name.as_str()) {
            return Err(no_such_name("its argument", &name, names));
        }
    }
    Ok(())
}

fn event(lua: &Lua, given: &Table, more: &[&str]) -> Told<Event> {
    let names = ["key", "actor", "source", "depth", "timestamp", "version", "old"];
    only(given, &[&names, more].concat())?;
    let mut event = Event::new(key(given)?);
    if let Some(actor) = text(given, "actor")? {
        event.actor = actor;
    }
    if let Some(source) = text(given, "source")? {
        let peer = Source::Peer(keepboth_core::ids::NodeId([7; 32]));
        let all = [Source::Client, peer, Source::Hook, Source::Timer, Source::Plugin];
        let found = all.into_iter().find(|one| one.as_str() == source);
        event.source = found.ok_or_else(|| {
            no_such_name("source", &source, &["client", "hook", "peer", "plugin", "timer"])
        })?;
    }
    event.now = number(given, "timestamp")?.unwrap_or(event.now);
    event.depth = number(given, "depth")?.map_or(0, |depth| depth.min(255) as u8);
    event.old = value(lua, given, "old")?;
    if let Some(version) = text(given, "version")? {
        event.version.0 = *blake3::hash(version.as_bytes()).as_bytes();
    }
    Ok(event)
}

fn place(stage: &Stage, given: &Table) -> Told<(Namespace, Name)> {
    let namespace = text(given, "namespace")?.map(|name| Namespace::new(&name)).transpose();
    let namespace = namespace.map_err(|e| e.message)?.unwrap_or(stage.namespace().clone());
    Ok((namespace, Name::Key(key(given)?)))
}

fn key(given: &Table) -> Told<Key> {
    let key = text(given, "key")?.unwrap_or_else(|| "key".into());
    Key::new(&key).map_err(|e| format!("key: {}", e.message))
}

fn text(given: &Table, name: &str) -> Told<Option<String>> {
    match given.raw_get::<Value>(name) {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::String(text)) => Ok(Some(text.to_string_lossy())),
        _ => Err(format!("{name} is a text")),
    }
}

fn number(given: &Table, name: &str) -> Told<Option<u64>> {
    match given.raw_get::<Value>(name) {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::Integer(n)) if n >= 0 => Ok(Some(n as u64)),
        Ok(Value::Number(n)) if n >= 0.0 && n.fract() == 0.0 && n < 9e15 => Ok(Some(n as u64)),
        _ => Err(format!("{name} is a whole number that is not below zero")),
    }
}

fn value(lua: &Lua, given: &Table, name: &str) -> Told<Option<Stored>> {
    match given.raw_get::<Value>(name).map_err(|e| e.to_string())? {
        Value::Nil => Ok(None),
        value => to_stored(lua, &value, name).map(|whole| Some(whole.into_stored())),
    }
}

/// What an event came to, as a table.
fn told(lua: &Lua, outcome: Outcome) -> Told<Value> {
    let made = || {
        let table = lua.create_table()?;
        let fault = outcome.fault().map(str::to_owned);
        table.raw_set("ok", outcome.refused.is_none() && outcome.failed.is_none())?;
        table.raw_set("failed", fault)?;
        if let Some(refusal) = outcome.refused.filter(|r| r.code == Code::HookRefused) {
            table.raw_set("refused", refusal.reason.map(String::from))?;
            table.raw_set("message", refusal.message)?;
        }
        if let Some(value) = &outcome.value {
            table.raw_set("value", copy(lua, value)?)?;
        }
        let writes = lua.create_table()?;
        for write in outcome.writes {
            let entry = lua.create_table()?;
            entry.raw_set("namespace", write.namespace.as_str())?;
            entry.raw_set("key", write.name.to_string())?;
            if let Some(value) = &write.value {
                entry.raw_set("value", copy(lua, value)?)?;
            }
            writes.raw_push(entry)?;
        }
        table.raw_set("writes", writes)?;
        let log = lua.create_table()?;
        for line in outcome.log {
            let entry = lua.create_table()?;
            entry.raw_set("level", line.level.as_str())?;
            entry.raw_set("text", line.text)?;
            log.raw_push(entry)?;
        }
        table.raw_set("log", log)?;
        table.into_lua(lua)
    };
    made().map_err(|e: mlua::Error| e.to_string())
}
