//! The plugin as the server sees it: built from its settings, with all mistakes told at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use keepboth_core::json;
use keepboth_core::plugin::{
    Built, Claim, Factory, Host, Make, Plugin, Points, Renewed, SettingsError, Site, Worker,
};
use keepboth_core::policy::Fingerprint;
use serde_json::Value as Json;

use crate::bound::Bound;
use crate::hook::Hook;
use crate::settings::{Settings, mistake};
use crate::testing::{failures, run_tests};
use crate::timers::Timers;
use crate::worker::LuaWorker;

/// `use = "lua"`.
pub const FACTORY: Factory = Factory {
    name: "lua",
    about: "Runs scripts in Lua before and after writes, at conflicts and at times of their own.",
    several: true,
    schema: Settings::schema,
    make: Make::Plugin(build),
};

struct LuaPlugin {
    bound: Arc<Bound>,
    timers: OnceLock<Timers>,
}

fn build(site: &Site, settings: Json) -> Built {
    let bound = Bound::load(site, Settings::read(settings)?, None)?;
    let tested = bound.ground.settings.scripts.iter().enumerate();
    let failed: Vec<_> = tested.filter_map(|(at, name)| test(site, at, name).err()).collect();
    if failed.is_empty() { Ok(LuaPlugin::of(bound)) } else { Err(failed) }
}

/// Runs the tests of the script at this place of the settings.
fn test(site: &Site, at: usize, name: &str) -> Result<(), SettingsError> {
    let failed = match run_tests(site, name) {
        Ok(tests) => failures(name, &tests),
        Err(words) => Some(words),
    };
    failed.map_or(Ok(()), |words| Err(mistake(format!("/scripts/{at}"), words)))
}

impl LuaPlugin {
    fn of(bound: Bound) -> Arc<LuaPlugin> {
        Arc::new(LuaPlugin { bound: Arc::new(bound), timers: OnceLock::new() })
    }
}

impl Plugin for LuaPlugin {
    fn points(&self) -> Points {
        let any = |hook: Hook| self.bound.scripts.iter().any(|loaded| loaded.has(hook));
        let follows =
            |replicated: bool| self.bound.scripts.iter().any(|loaded| loaded.follows(replicated));
        Points {
            before_put: any(Hook::OnPut),
            before_delete: any(Hook::OnDelete),
            conflict: any(Hook::OnConflict),
            after: follows(false),
            after_replicated: follows(true),
            state: any(Hook::OnState),
            ..Points::default()
        }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(LuaWorker::new(self.bound.clone())?))
    }

    fn fingerprint(&self) -> [u8; 32] {
        let settings = &self.bound.ground.settings;
        let print = Fingerprint::new()
            .with("lua")
            .with(settings.time_limit_ms.to_be_bytes())
            .with((settings.memory_limit as u64).to_be_bytes())
            .with([settings.on_failure as u8])
            .with(settings.disable_after.to_be_bytes())
            .with(json::canonical(&Json::Object(settings.options.clone())));
        let scripts = self.bound.scripts.iter().map(|loaded| &loaded.script);
        scripts.fold(print, |print, s| print.with(&*s.chunk).with(&*s.source)).finish()
    }

    fn claims(&self) -> Vec<Claim> {
        let scripts = self.bound.ground.settings.scripts.iter().enumerate();
        let claim = |(at, name): (usize, &String)| {
            let name: PathBuf = Path::new(name).components().collect();
            let what = format!("the script {}", name.display());
            Claim { what, pointer: format!("/scripts/{at}") }
        };
        scripts.map(claim).collect()
    }

    fn renewed(&self, site: &Site) -> Option<Renewed> {
        let (bound, faulty) = self.bound.renewed(site, |at, name| test(site, at, name))?;
        Some((LuaPlugin::of(bound), faulty))
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        // A plugin is started once; a second host would be the same server.
        let _ = self.bound.ground.host.set(host.clone());
        if self.bound.timers().next().is_some() {
            let _ = self.timers.set(Timers::start(&self.bound, host)?);
        }
        Ok(())
    }

    fn drain(&self) {
        if let Some(timers) = self.timers.get() {
            timers.drain();
        }
    }

    fn stop(&self) {
        if let Some(timers) = self.timers.get() {
            timers.stop();
        }
    }
}
