//! A server in this process, on threads of its own, with its files in a folder that is removed afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_store::Store;
use tokio::runtime::{Builder, Runtime};

use super::data::NAMESPACE;
use super::setup::{ALONE, Folder, Setup, Way};
use super::wire::Place;
use crate::cli::exit::{Exit, Failure};
use crate::config::{self, Config};
use crate::namespace::{Space, database};
use crate::peers::Mesh;
use crate::server::{self, BUNDLED, Running};

/// A server that runs until it is dropped.
pub struct Node {
    runtime: Runtime,
    running: Option<Running>,
    /// Where peers connect.
    pub url: String,
    /// Where clients connect.
    pub place: Place,
    data: PathBuf,
    folder: Arc<Folder>,
}

impl Node {
    /// A server with an empty namespace, and one that is not shared.
    pub fn start(below: &Path, way: Way, peers: &[String]) -> Result<Node, Failure> {
        Node::start_as(below, &Setup { port: 0, way, peers, others: &[ALONE] })
    }

    /// A server of this setup.
    pub fn start_as(below: &Path, setup: &Setup<'_>) -> Result<Node, Failure> {
        let folder = Folder::new(below)?;
        setup.write(folder.path())?;
        Node::start_in(Arc::new(folder))
    }

    fn start_in(folder: Arc<Folder>) -> Result<Node, Failure> {
        // The environment is the user's and concerns the user's servers.
        let file = folder.path().join("config.toml");
        let loaded = Config::load_from(Some(&file), []).map_err(failed)?;
        let plugins = config::check(&loaded, BUNDLED).map_err(failed)?;
        let runtime = Builder::new_multi_thread().enable_all().thread_name("server").build()?;
        let running = runtime.block_on(server::start(&loaded.config, plugins)).map_err(failed)?;
        let (url, place) = (format!("ws://{}", running.address), Place::keepboth(running.address));
        let data = loaded.config.server.data;
        Ok(Node { runtime, running: Some(running), url, place, data, folder })
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
