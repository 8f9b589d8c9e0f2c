//! Namespaces come and go, by command and when the configuration is read again.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use keepboth_core::limits::figure;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::plugins::Started;
use super::set::{Namespaces, OpenSpaceError, Spaces};
use super::{MadeBy, Setup, Space};
use crate::hooks::Chain;

/// Most namespaces of a node that a command can make: each has a thread and a database of its own.
const NAMESPACES_MAX: usize = 1_000;

/// What reading the configuration again has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Namespaces that are new.
    pub added: Vec<Namespace>,
    /// Namespaces that are gone.
    pub removed: Vec<Namespace>,
    /// Namespaces whose plugins or bounds are others.
    pub changed: Vec<Namespace>,
}

impl Namespaces {
    /// Makes a namespace without plugins. False if it was there. It is there again after a restart.
    pub async fn add(self: &Arc<Self>, name: &Namespace) -> Result<bool, Refusal> {
        let _turn = self.turn().await;
        let spaces = self.all();
        if spaces.contains_key(name) {
            return Ok(false);
        }
        if spaces.len() >= NAMESPACES_MAX {
            let (here, most) = (figure(spaces.len()), figure(NAMESPACES_MAX));
            let words = format!("there are {here} namespaces here, the limit is {most}");
            return Err(Refusal::new(Code::QuotaExceeded, words));
        }
        let (set, name) = (self.clone(), name.clone());
        let opened = spawn_blocking(move || set.open_made(name)).await;
        let space = opened.map_err(panicked)?.map_err(failed)?;
        let mut spaces = Spaces::clone(&spaces);
        spaces.insert(space.name.clone(), space.clone());
        self.attend(&space);
        self.publish(spaces);
        tracing::info!(namespace = space.name.as_str(), "the namespace was added by command");
        Ok(true)
    }

    /// Opens a namespace, and writes down that it was made by command.
    fn open_made(self: &Arc<Self>, name: Namespace) -> Result<Arc<Space>, OpenSpaceError> {
        self.finish_removal(&name)?;
        let space = self.open_one(&name, Setup::clone(&self.by_command.load()))?;
        let mut made = self.read_made()?;
        made.namespaces.insert(name);
        self.write_made(&made)?;
        Ok(space)
    }

    /// Removes a namespace that was made by command: refuses what is asked of it from now on, ends its
    /// watches, answers the writes under way, lets hooks settle, closes its store and moves its database
    /// away. Tells where the database is now.
    pub async fn remove(self: &Arc<Self>, name: &Namespace) -> Result<PathBuf, Refusal> {
        let _turn = self.turn().await;
        let space = self.need(name)?;
        if !space.is_by_command() {
            let words = format!("the namespace {name} is named in the configuration");
            let hint = format!("take [namespaces.{name}] out of the file, then `keepboth reload`");
            return Err(Refusal::new(Code::InConfig, words).hint(hint));
        }
        self.note_removing(std::slice::from_ref(name)).map_err(failed)?;
        let mut spaces = Spaces::clone(&self.all());
        spaces.remove(name);
        self.publish(spaces);
        let moved = self.retire(&space).await?;
        moved.ok_or_else(|| Refusal::new(Code::StoreFailed, "the namespace had no database"))
    }

    /// Makes this the namespaces of the configuration; those made by command stay, with the setup
    /// `by_command`. All or nothing: if a new one cannot be opened, nothing changes.
    pub async fn replace(
        self: &Arc<Self>,
        wanted: Vec<(Namespace, Setup)>,
        by_command: Setup,
    ) -> Result<Changes, OpenSpaceError> {
        let _turn = self.turn().await;
        let before = self.all();
        let is_wanted = |name: &Namespace| wanted.iter().any(|(wanted, _)| wanted == name);
        let gone: Vec<Arc<Space>> = before
            .values()
            .filter(|space| !is_wanted(&space.name) && !space.is_by_command())
            .cloned()
            .collect();
        let stays = before.values().filter(|space| !is_wanted(&space.name));
        let stays = stays.filter(|space| space.is_by_command());
        let stays = stays.map(|space| (space.name.clone(), by_command.clone())).collect::<Vec<_>>();
        let removed: Vec<Namespace> = gone.iter().map(|space| space.name.clone()).collect();
        let (mut opening, mut changing) = (Vec::new(), Vec::new());
        for (name, setup) in wanted.into_iter().chain(stays) {
            match before.get(&name) {
                None => opening.push((name, setup)),
                Some(space) => changing.extend(space.other(setup).map(|s| (space.clone(), s))),
            }
        }
        let (set, removing, changes) = (self.clone(), removed.clone(), changing.clone());
        let opened = spawn_blocking(move || set.open_new(opening, &changes, &removing)).await;
        let new = opened.map_err(|_| self.panicked())??;
        self.by_command.store(Arc::new(by_command));
        let mut changes = Changes { removed, ..Changes::default() };
        let mut spaces = Spaces::clone(&before);
        spaces.retain(|name, _| !changes.removed.contains(name));
        for (space, setup) in changing {
            let chain = setup.chain.clone();
            self.retire_plugins(space.apply(setup), &chain);
            changes.changed.push(space.name.clone());
        }
        for space in new {
            self.attend(&space);
            changes.added.push(space.name.clone());
            spaces.insert(space.name.clone(), space);
        }
        self.publish(spaces);
        for outcome in join_all(gone.iter().map(|space| self.retire(space))).await {
            if let Err(refusal) = outcome {
                tracing::error!("{refusal}");
            }
        }
        Ok(changes)
    }

    /// Opens the namespaces that are new, starts the plugins of these and the new ones of those that
    /// change, and writes down what is to be made durable. If one thing fails, what was started is ended
    /// and what was opened is closed again.
    fn open_new(
        self: &Arc<Self>,
        opening: Vec<(Namespace, Setup)>,
        changing: &[(Arc<Space>, Setup)],
        removing: &[Namespace],
    ) -> Result<Vec<Arc<Space>>, OpenSpaceError> {
        let named: Vec<Namespace> = opening.iter().map(|(name, _)| name.clone()).collect();
        let mut new = Vec::new();
        let opened = opening.into_iter().try_for_each(|(name, setup)| {
            self.finish_removal(&name)?;
            new.push(self.open_one(&name, setup)?);
            Ok(())
        });
        let mut started = Started::default();
        let noted = opened.and_then(|()| {
            for space in &new {
                started.start(self, space, &space.setup().chain, &Chain::default())?;
            }
            for (space, setup) in changing {
                started.start(self, space, &setup.chain, &space.setup().chain)?;
            }
            let mut made = self.read_made()?;
            // What the configuration names is its own from here on.
            let of_config = |name: &Namespace| {
                let changed = changing.iter().find(|(space, _)| space.name == *name);
                named.contains(name)
                    || changed.is_some_and(|(_, setup)| setup.made_by == MadeBy::Config)
            };
            made.namespaces.retain(|name| !of_config(name));
            made.removing.extend(removing.iter().cloned());
            self.write_made(&made)
        });
        match &noted {
            Ok(()) => started.keep(),
            Err(_) => {
                drop(started);
                new.iter().for_each(|space| space.store.close());
            }
        }
        noted.map(|()| new)
    }

    /// Writes down that these go, before they go: a start finishes what a crash leaves half done.
    fn note_removing(&self, names: &[Namespace]) -> Result<(), OpenSpaceError> {
        let mut made = self.read_made()?;
        for name in names {
            made.namespaces.remove(name);
            made.removing.insert(name.clone());
        }
        self.write_made(&made)
    }

    /// Ends a namespace that is not in the set any more, and tells where its database is.
    async fn retire(self: &Arc<Self>, space: &Arc<Space>) -> Result<Option<PathBuf>, Refusal> {
        space.leave();
        space.drain_plugins().await;
        if timeout(self.grace, space.settle()).await.is_err() {
            let namespace = space.name.as_str();
            tracing::warn!(namespace, "what was under way was not done in time and is cut off");
        }
        space.stop_plugins().await;
        let (set, space) = (self.clone(), space.clone());
        let moved = spawn_blocking(move || {
            space.store.close();
            set.finish_removal(&space.name)
        });
        moved.await.map_err(panicked)?.map_err(failed)
    }

    /// Moves the closed database of a namespace away that is to go, and tells where it is. A removal that
    /// failed is finished before a namespace of the same name is made: the next start would take that for
    /// the old one.
    fn finish_removal(&self, name: &Namespace) -> Result<Option<PathBuf>, OpenSpaceError> {
        let mut made = self.read_made()?;
        if !made.removing.contains(name) {
            return Ok(None);
        }
        let moved = self.set_aside(name)?;
        made.removing.remove(name);
        self.write_made(&made)?;
        Ok(moved)
    }

    fn panicked(&self) -> OpenSpaceError {
        let error = std::io::Error::other("the task panicked");
        OpenSpaceError::Io {
            what: "cannot open a namespace in",
            path: self.data().to_owned(),
            error,
        }
    }
}

impl Space {
    /// The setup to go over to; None if nothing changes. Plugins that would do the same stay as they are,
    /// with what they remember.
    fn other(&self, mut setup: Setup) -> Option<Setup> {
        let old = self.setup();
        // A plugin may have been made for the old limit.
        if old.bounds.value_bytes_max == setup.bounds.value_bytes_max {
            setup.chain = setup.chain.keeping(&old.chain);
        }
        let same = setup.chain.is(&old.chain)
            && old.bounds == setup.bounds
            && old.made_by == setup.made_by;
        (!same).then_some(setup)
    }
}

fn failed(error: OpenSpaceError) -> Refusal {
    Refusal::new(Code::StoreFailed, error.to_string())
}

fn panicked(error: tokio::task::JoinError) -> Refusal {
    Refusal::new(Code::StoreFailed, format!("the task ended early: {error}"))
}
