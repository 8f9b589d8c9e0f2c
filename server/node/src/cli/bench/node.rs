//! A server in this process, on threads of its own, with its files in a folder that is removed afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepboth_core::name::Namespace;
use keepboth_store::Store;
use tokio::runtime::{Builder, Runtime};

use super::data::{HOOK, NAMESPACE, SCHEMA};
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config};
use crate::namespace::{Space, database};
use crate::peers::Mesh;
use crate::server::{self, BUNDLED, Running};

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
}

impl Way {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Schema => "schema",
            Way::Hooked => "schema and hook",
        }
    }

    fn plugins(self) -> String {
        let plugin = |text: &str| format!("[[namespaces.{NAMESPACE}.plugins]]\n{text}\n");
        let schema =
            plugin("use = \"schema\"\nstrict = true\nbind = { \"note/*\" = \"note.schema.json\" }");
        let hook = plugin("use = \"lua\"\nscripts = [\"hook.luau\"]");
        match self {
            Way::Plain => String::new(),
            Way::Schema => schema,
            Way::Hooked => hook + &schema,
        }
    }
}

/// A server that runs until it is dropped.
pub struct Node {
    runtime: Runtime,
    running: Option<Running>,
    /// Where clients and peers connect.
    pub url: String,
    data: PathBuf,
    folder: Arc<Folder>,
}

impl Node {
    /// A server with an empty namespace [`NAMESPACE`], an unshared one `alone`, and these peers.
    pub fn start(below: &Path, way: Way, peers: &[String]) -> Result<Node, Failure> {
        let folder = Folder::new(below)?;
        let at = folder.path();
        let plugins = way.plugins();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nscripts = \".\"\nschemas = \".\"\n\
             [mesh]\ndev = true\npeers = {peers:?}\n[namespaces.alone]\nreplicate = false\n\
             [namespaces.{NAMESPACE}]\n{plugins}"
        );
        for (name, text) in
            [("config.toml", config.as_str()), ("note.schema.json", SCHEMA), ("hook.luau", HOOK)]
        {
            std::fs::write(at.join(name), text)?;
        }
        Node::start_in(Arc::new(folder))
    }

    fn start_in(folder: Arc<Folder>) -> Result<Node, Failure> {
        // The environment is the user's and concerns the user's servers.
        let file = folder.path().join("config.toml");
        let loaded = Config::load_from(Some(&file), []).map_err(failed)?;
        let plugins = config::check(&loaded, BUNDLED).map_err(failed)?;
        let runtime = Builder::new_multi_thread().enable_all().thread_name("server").build()?;
        let running = runtime.block_on(server::start(&loaded.config, plugins)).map_err(failed)?;
        let url = format!("ws://{}", running.address);
        Ok(Node { runtime, running: Some(running), url, data: loaded.config.server.data, folder })
    }

    /// Starts a server that was stopped, with what it had.
    pub fn start_again(&mut self) -> Result<(), Failure> {
        *self = Node::start_in(self.folder.clone())?;
        Ok(())
    }

    /// Stops the server; its files stay.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }

    /// The namespace from within.
    pub fn space(&self) -> Result<Arc<Space>, Failure> {
        let space = Namespace::new(NAMESPACE).ok().and_then(|name| {
            self.running.as_ref().and_then(|running| running.clients.namespaces.get(&name))
        });
        space.ok_or_else(|| failed("the namespace is not there"))
    }

    /// The store of the namespace.
    pub fn store(&self) -> Result<Store, Failure> {
        Ok(self.space()?.store.clone())
    }

    /// The links to other nodes.
    pub fn mesh(&self) -> Result<Arc<Mesh>, Failure> {
        let mesh = self.running.as_ref().map(|running| running.mesh.clone());
        mesh.ok_or_else(|| failed("it has stopped"))
    }

    /// Keeps a link to the node at this URL from now on.
    pub fn dial(&self, url: &str) -> Result<(), Failure> {
        let mesh = self.mesh()?;
        let _runtime = self.runtime.enter();
        mesh.dial(url, None);
        Ok(())
    }

    /// The database of the namespace.
    pub fn file(&self) -> Result<PathBuf, Failure> {
        Ok(database(&self.data, &self.space()?.name))
    }

    /// Where its files are; they stay as long as somebody has this.
    pub fn folder(&self) -> Arc<Folder> {
        self.folder.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the benchmark's server: {error}"))
}
