//! The configuration of a server that is measured.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::data::{HOOK, MERGE, NAMESPACE, SCHEMA};
use crate::cli::exit::{Exit, Failure};

/// A folder that is removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder below this one.
    pub fn new(below: &Path) -> Result<Folder, Failure> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = below.join(format!("keepboth-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|e| Failure::new(Exit::Failure, format!("{}: {e}", folder.display())))?;
        Ok(Folder(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which empties its temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a write passes on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing.
    Plain,
    /// A schema.
    Schema,
    /// A Lua hook, and a schema that checks what it made.
    Hooked,
    /// Nothing; but a Lua hook merges conflicts.
    Merging,
    /// Nothing; and the answer comes before it is durable.
    Interval,
}

impl Way {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Schema => "schema",
            Way::Hooked => "schema and hook",
            Way::Merging => "merging",
            Way::Interval => "durable within 50 ms",
        }
    }

    /// What the section of a namespace has of it.
    fn settings(self, namespace: &str) -> String {
        let plugin = |text: &str| format!("[[namespaces.{namespace}.plugins]]\n{text}\n");
        let schema =
            plugin("use = \"schema\"\nstrict = true\nbind = { \"note/*\" = \"note.schema.json\" }");
        let lua = |script| plugin(&format!("use = \"lua\"\nscripts = [\"{script}\"]"));
        match self {
            Way::Plain => String::new(),
            Way::Schema => schema,
            Way::Hooked => lua("hook.luau") + &schema,
            Way::Merging => lua("merge.luau"),
            Way::Interval => "durability = \"interval 50ms\"\n".to_owned(),
        }
    }
}

/// The name of a namespace that is not shared.
pub const ALONE: &str = "alone";

/// A server: a namespace [`NAMESPACE`] that is shared, and others that are not; writes pass the same in all.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Where it listens on this machine; 0 for any free port.
    pub port: u16,
    /// What writes pass.
    pub way: Way,
    /// The nodes to connect to.
    pub peers: &'a [String],
    /// The other namespaces.
    pub others: &'a [&'a str],
}

impl Setup<'_> {
    /// Writes the files of the server into a folder; the configuration's.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Failure> {
        let Setup { port, way, peers, others } = self;
        let settings = way.settings(NAMESPACE);
        let other =
            |name: &&str| format!("[namespaces.{name}]\nreplicate = false\n{}", way.settings(name));
        let others: String = others.iter().map(other).collect();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nscripts = \".\"\nschemas = \".\"\n\
             [mesh]\ndev = true\npeers = {peers:?}\n{others}[namespaces.{NAMESPACE}]\n{settings}"
        );
        let files = [
            ("config.toml", config.as_str()),
            ("note.schema.json", SCHEMA),
            ("hook.luau", HOOK),
            ("merge.luau", MERGE),
        ];
        for (name, text) in files {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(folder.join("config.toml"))
    }
}
