//! A plugin that panics wherever it is asked to, for tests to see what the server makes of it.

use std::sync::Arc;

use keepboth_core::name::Key;
use keepboth_core::plugin::{
    Built, Conflict, Delete, Done, Effect, Factory, Failure, Make, Plugin, Points, Put,
    Quarantined, Site, StateChange, Worker,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

/// `use = "faller"`. `at` lists the points and steps at which it panics; it has no others.
pub const FACTORY: Factory = Factory {
    name: "faller",
    about: "Panics.",
    several: false,
    schema: || {
        let at = json!({"type": "array", "items": {"type": "string"}});
        json!({"type": "object", "properties": {"at": at}, "additionalProperties": false})
    },
    make: Make::Plugin(build),
};

#[derive(Clone)]
struct Faller(Arc<[String]>);

fn build(_: &Site, settings: Json) -> Built {
    let at = settings["at"].as_array().into_iter().flatten().filter_map(Json::as_str);
    Ok(Arc::new(Faller(at.map(str::to_owned).collect())))
}

impl Faller {
    fn has(&self, point: &str) -> bool {
        self.0.iter().any(|at| at == point)
    }

    fn fall(&self, point: &str) {
        assert!(!self.has(point), "it falls at {point}");
    }
}

impl Plugin for Faller {
    fn points(&self) -> Points {
        Points {
            before_put: self.has("before_put"),
            before_delete: self.has("before_delete"),
            conflict: self.has("conflict"),
            after: self.has("after"),
            after_replicated: false,
            state: self.has("state"),
            quarantine: self.has("quarantine"),
        }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        self.fall("worker");
        Ok(Box::new(self.clone()))
    }

    fn admit(&self, _: &Key, _: Option<&Value>) -> Result<(), Refusal> {
        self.fall("admit");
        Ok(())
    }

    fn fingerprint(&self) -> [u8; 32] {
        Fingerprint::new().with(self.0.join(",")).finish()
    }

    fn drain(&self) {
        self.fall("drain");
    }

    fn stop(&self) {
        self.fall("stop");
    }
}

impl Worker for Faller {
    fn before_put(&mut self, _: &mut Put) -> Result<(), Refusal> {
        self.fall("before_put");
        Ok(())
    }

    fn before_delete(&mut self, _: &Delete) -> Result<(), Refusal> {
        self.fall("before_delete");
        Ok(())
    }

    fn conflict(&mut self, _: &Conflict) -> Result<Option<Value>, Failure> {
        self.fall("conflict");
        Ok(None)
    }

    fn after(&mut self, _: &Done, _: &mut Vec<Effect>) -> Result<(), Failure> {
        self.fall("after");
        Ok(())
    }

    fn state(&mut self, _: &StateChange) -> Result<(), Failure> {
        self.fall("state");
        Ok(())
    }

    fn quarantine(&mut self, _: &Quarantined) -> Result<(), Failure> {
        self.fall("quarantine");
        Ok(())
    }
}
