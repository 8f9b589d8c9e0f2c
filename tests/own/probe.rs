//! A plugin that does a bit of everything and writes down what becomes of it, for tests to look at.

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Built, Done, Effect, End, Factory, Failure, Host, Make, Now, Origin, Plugin, Points, Put,
    Quarantined, Site, Source, Thread, Worker,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

/// `use = "probe"`. `word` tells one from another. With `fails` it cannot start. With `trail` each write
/// leaves an entry in that namespace. With `mirror` a thread of its own follows the feed and copies each
/// key to that namespace, and panics once when it comes to the key `slip`. With `refuses` no version of a
/// peer is shown. `panics` names a step of its life at which it panics.
pub const FACTORY: Factory = Factory {
    name: "probe",
    about: "Does a bit of everything.",
    several: true,
    schema: || {
        json!({
            "type": "object",
            "properties": {
                "word": {"type": "string"},
                "fails": {"type": "boolean"},
                "refuses": {"type": "boolean"},
                "panics": {"enum": ["make", "points", "fingerprint", "start"]},
                "trail": {"type": "string"},
                "mirror": {"type": "string"}
            },
            "additionalProperties": false
        })
    },
    make: Make::Plugin(build),
};

struct Probe {
    settings: Json,
    host: Arc<OnceLock<Arc<dyn Host>>>,
    thread: Thread,
}

fn build(_: &Site, settings: Json) -> Built {
    let probe = Probe { settings, host: Arc::default(), thread: Thread::default() };
    probe.may_panic("make");
    Ok(Arc::new(probe))
}

impl Probe {
    fn namespace(&self, setting: &str) -> Option<Namespace> {
        self.settings[setting].as_str().and_then(|name| Namespace::new(name).ok())
    }

    fn may_panic(&self, step: &str) {
        assert_ne!(self.settings["panics"], step, "it does so at this step");
    }

    fn note(&self, what: &str) {
        if let Some(host) = self.host.get() {
            note(host.as_ref(), &format!("{what} {}", self.settings["word"]));
        }
    }
}

/// Writes a line into the file `life` of the plugin's folder.
fn note(host: &dyn Host, line: &str) {
    let file = host.folder().expect("a folder").join("life");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    writeln!(file.expect("a file"), "{line}").expect("written");
}

impl Plugin for Probe {
    fn points(&self) -> Points {
        self.may_panic("points");
        let trail = self.namespace("trail").is_some();
        Points {
            before_put: true,
            after: trail,
            after_replicated: trail,
            quarantine: true,
            ..Points::default()
        }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        let host = self.host.get().ok_or("it was not started")?.clone();
        Ok(Box::new(Clerk { host, trail: self.namespace("trail") }))
    }

    fn admit(&self, _: &Key, _: Option<&Value>) -> Result<(), Refusal> {
        match self.settings["refuses"] == true {
            true => Err(Refusal::new(Code::HookRefused, "nothing from elsewhere")),
            false => Ok(()),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.may_panic("fingerprint");
        Fingerprint::new().with(self.settings.to_string()).finish()
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        self.may_panic("start");
        if self.settings["fails"] == true {
            return Err("it does not want to".into());
        }
        let _ = self.host.set(host.clone());
        self.note("start");
        if let Some(mirror) = self.namespace("mirror") {
            let (own, mut slipped) = (host.clone(), false);
            let follow = move |_: &End| follow(own.as_ref(), &mirror, &mut slipped);
            self.thread.start("mirror", host, follow)?;
        }
        Ok(())
    }

    fn answer(&self, op: &str, arguments: &Json) -> Option<Result<Json, Refusal>> {
        match op {
            "echo" => Some(Ok(json!({"word": self.settings["word"], "told": arguments}))),
            "refuse" => Some(Err(Refusal::new(Code::NotFound, "nothing of that here"))),
            "panic" => panic!("a question makes it panic"),
            "much" => Some(Ok(json!({"much": "x".repeat(2 << 20)}))),
            _ => None,
        }
    }

    fn drain(&self) {
        self.thread.drain();
        self.note("drain");
    }

    fn stop(&self) {
        self.thread.stop();
        self.note("stop");
    }
}

/// Copies each key to the mirror, from where it was the last time, until the server says that it is over.
fn follow(host: &dyn Host, mirror: &Namespace, slipped: &mut bool) {
    let own = host.namespace().expect("a namespace").clone();
    let place = host.folder().expect("a folder").join("place");
    let kept = std::fs::read_to_string(&place).unwrap_or_default();
    let mut after: u64 = kept.parse().unwrap_or_default();
    while host.wait_changed(&own, after, Duration::from_secs(60)).is_ok() {
        let Ok(changes) = host.changes(&own, after, 10) else { return };
        for changed in changes.items {
            if changed.key.as_str() == "slip" && !std::mem::replace(slipped, true) {
                panic!("it slips");
            }
            let value = match changed.now {
                Now::Value { value, .. } => Some(value),
                Now::Conflict(sides) => Some(Value::json(&json!({"sides": sides.len()}))),
                Now::Nothing => None,
            };
            let effect = Effect { namespace: mirror.clone(), name: Name::Key(changed.key), value };
            let origin = Origin::new(Source::Plugin, "probe", host.now());
            // Before it can be seen, so that whoever sees it finds it counted.
            host.count("copied", 1);
            if host.write(effect, origin).is_err() {
                return;
            }
        }
        after = changes.next;
        host.gauge("place", i64::try_from(after).unwrap_or(i64::MAX));
        std::fs::write(&place, after.to_string()).expect("written");
    }
}

struct Clerk {
    host: Arc<dyn Host>,
    trail: Option<Namespace>,
}

impl Worker for Clerk {
    fn before_put(&mut self, put: &mut Put) -> Result<(), Refusal> {
        match put.key.as_str() {
            "panic" => panic!("a key makes it panic"),
            "wait" => {
                let (namespace, name) = (put.namespace.clone(), put.name.clone());
                let effect = Effect { namespace, name, value: None };
                let origin = put.origin.caused_by(Source::Hook, self.host.now());
                self.host.write(effect, origin).map(|_| ())
            }
            "deep" => {
                let read = self.host.get(&put.namespace, &put.name)?;
                put.draft.set(Value::json(&json!({"read": read.and_then(|v| v.to_json())})));
                Ok(())
            }
            _ => {
                let old = put.old()?.and_then(|old| old.to_json());
                if let Some(tree) = put.draft.tree_mut().and_then(Json::as_object_mut) {
                    tree.insert("was".into(), old.map_or(Json::Null, |old| old["n"].clone()));
                }
                Ok(())
            }
        }
    }

    fn after(&mut self, done: &Done, writes: &mut Vec<Effect>) -> Result<(), Failure> {
        let Some(trail) = &self.trail else { return Ok(()) };
        let failed = |refusal: Refusal| Failure(refusal.message);
        let old = done.old().map_err(failed)?.and_then(|old| old.to_json());
        let entry = json!({
            "key": done.key.as_str(),
            "actor": &*done.origin.actor,
            "source": done.origin.source.as_str(),
            "old": old.map_or(Json::Null, |old| old["n"].clone()),
        });
        let key = Key::new(&done.version.to_string()[..16]).map_err(failed)?;
        let value = Some(Value::json(&entry));
        writes.push(Effect { namespace: trail.clone(), name: Name::Key(key), value });
        Ok(())
    }

    fn quarantine(&mut self, held: &Quarantined) -> Result<(), Failure> {
        note(self.host.as_ref(), &format!("held {} {}", held.key, held.reason.code));
        Ok(())
    }
}
