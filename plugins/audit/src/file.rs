//! The same plugin with a file as its trail, which it opens at the start.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use keepboth_core::plugin::{Claim, Done, Effect, Failure, Host, Plugin, Points, Site, Worker};
use keepboth_core::policy::Fingerprint;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::entry;
use crate::trail::{Bounds, Trail, whole};

/// The file and its bounds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where it is. Relative paths hold from the config file's folder, which must be there.
    path: PathBuf,
    /// Most bytes of the file; then it is put aside as `PATH.1`, what was `PATH.1` as `PATH.2`, and so on.
    #[serde(default = "bytes")]
    #[schemars(range(min = 4096))]
    bytes_max: u64,
    /// How many files that were put aside stay; the oldest goes.
    #[serde(default = "files")]
    #[schemars(range(max = 1000))]
    files_max: u32,
    /// Whether an entry is on disk before the next one is taken. Otherwise a power cut may take those
    /// of the last half minute; a process that is killed loses none either way.
    #[serde(default = "yes")]
    sync: bool,
}

fn bytes() -> u64 {
    64 << 20
}

fn files() -> u32 {
    8
}

fn yes() -> bool {
    true
}

/// The plugin. The file is opened when it starts.
pub fn build(site: &Site, settings: Settings) -> Arc<dyn Plugin> {
    let Settings { path, bytes_max, files_max, sync } = settings;
    let bounds = Bounds { bytes: bytes_max, kept: files_max, sync };
    let path = site.folder.join(path);
    let print = Fingerprint::new().with("audit file").with(path.as_os_str().as_encoded_bytes());
    let print = print.with_number(Some(bytes_max)).with_number(Some(files_max.into()));
    let fingerprint = print.with([u8::from(sync)]).finish();
    Arc::new(AuditFile { path, bounds, fingerprint, running: OnceLock::new() })
}

struct AuditFile {
    path: PathBuf,
    bounds: Bounds,
    fingerprint: [u8; 32],
    running: OnceLock<Clerk>,
}

impl Plugin for AuditFile {
    fn points(&self) -> Points {
        Points { after: true, ..Points::default() }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        let clerk = self.running.get().ok_or("it was not started")?;
        Ok(Box::new(clerk.clone()))
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn claims(&self) -> Vec<Claim> {
        // A folder that is not there is told of at the start.
        let path = whole(&self.path).unwrap_or_else(|_| self.path.clone());
        vec![Claim { what: format!("the file {}", path.display()), pointer: "/file/path".into() }]
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        let trail = Trail::at(&self.path).map_err(|e| format!("{}: {e}", self.path.display()))?;
        let _ = self.running.set(Clerk { trail, bounds: self.bounds, host });
        Ok(())
    }

    fn stop(&self) {
        if let Some(clerk) = self.running.get()
            && clerk.trail.settle().is_err()
        {
            clerk.host.count("not_settled", 1);
        }
    }
}

#[derive(Clone)]
struct Clerk {
    trail: Arc<Trail>,
    bounds: Bounds,
    host: Arc<dyn Host>,
}

impl Worker for Clerk {
    /// What cannot be written down stands in the log, whole, and is counted.
    fn after(&mut self, done: &Done, _: &mut Vec<Effect>) -> Result<(), Failure> {
        let line = entry::of(done).to_string();
        self.trail.add(&line, self.bounds).map_err(|e| {
            self.host.count("entries_lost", 1);
            Failure(format!("cannot write to {}: {e}; lost is {line}", self.trail.path().display()))
        })
    }
}
