//! The plugin as the server sees it: built from its settings, with all mistakes told at once.

use std::sync::Arc;

use keepboth_core::json;
use keepboth_core::plugin::{Built, Factory, Make, Plugin, Points, Site, Worker};
use keepboth_core::policy::Fingerprint;
use serde_json::Value as Json;

use crate::deadline;
use crate::script::Script;
use crate::settings::{OnFailure, Settings, mistake};
use crate::state::{Had, Hook};
use crate::vm::Vm;
use crate::worker::{Bound, LuaWorker};

/// `use = "lua"`.
pub const FACTORY: Factory = Factory {
    name: "lua",
    about: "Runs scripts in Lua before and after writes and at conflicts.",
    several: true,
    schema: Settings::schema,
    make: Make::Plugin(build),
};

struct LuaPlugin(Arc<Bound>);

fn build(site: &Site, settings: Json) -> Built {
    let settings = Settings::read(settings)?;
    deadline::start()
        .map_err(|e| vec![mistake("", format!("the timer thread cannot be started: {e}"))])?;
    let (mut scripts, mut mistakes) = (Vec::new(), Vec::new());
    for (i, name) in settings.scripts.iter().enumerate() {
        match load(site, &settings, name) {
            Ok(script) => scripts.push(script),
            Err(words) => mistakes.push(mistake(format!("/scripts/{i}"), words)),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let namespace = site.namespace.clone();
    Ok(Arc::new(LuaPlugin(Arc::new(Bound { namespace, settings, scripts }))))
}

fn load(site: &Site, settings: &Settings, name: &str) -> Result<(Script, Had), String> {
    let script = Script::read(&site.scripts, name)?;
    let vm = Vm::load(&script, &site.namespace, settings).map_err(|fault| {
        format!("{}: {}", fault.place.as_deref().unwrap_or(&script.chunk), fault.words)
    })?;
    let hooks = Hook::ALL.map(|hook| vm.has(hook));
    if hooks.contains(&true) {
        return Ok((script, hooks));
    }
    let names = Hook::ALL.map(Hook::as_str).join(", ");
    Err(format!(
        "{}: registers no hook for namespace {}; the hooks are {names}",
        script.chunk, site.namespace
    ))
}

impl Plugin for LuaPlugin {
    fn points(&self) -> Points {
        let any = |hook: Hook| self.0.scripts.iter().any(|(_, hooks)| hooks[hook as usize]);
        Points {
            before_put: any(Hook::OnPut),
            before_delete: any(Hook::OnDelete),
            conflict: any(Hook::OnConflict),
            after: any(Hook::AfterPut) || any(Hook::AfterDelete),
            state: any(Hook::OnState),
            ..Points::default()
        }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(LuaWorker::new(self.0.clone())?))
    }

    fn fingerprint(&self) -> [u8; 32] {
        let settings = &self.0.settings;
        let print = Fingerprint::new()
            .with("lua")
            .with(settings.time_limit_ms.to_be_bytes())
            .with((settings.memory_limit as u64).to_be_bytes())
            .with([u8::from(settings.on_failure == OnFailure::Pass)])
            .with(json::canonical(&Json::Object(settings.options.clone())));
        let scripts = self.0.scripts.iter();
        scripts.fold(print, |print, (s, _)| print.with(&*s.chunk).with(&*s.source)).finish()
    }
}
