//! Who may connect, who that is, and what it may do: the plugins of the server as a whole.

use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Arrival, Credentials, Gate, Grants, Identity, Right};
use keepboth_core::refusal::{Code, Refusal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::hooks::life::{self, Bound};
use crate::made::Made;
use crate::meters::Point;
use crate::metrics::Metrics;
use crate::namespace::host::PluginHost;
use crate::namespace::{Namespaces, NotStarted};
use crate::protocol::PluginsTold;

type Plugin = Arc<Bound<dyn Gate>>;

/// The plugins of the server in their order.
pub struct Gates {
    plugins: Vec<Plugin>,
    authenticate: bool,
    /// Set when others take their place, or the server stops: ends the connections of clients who came
    /// in by these. They show anew who they are.
    replaced: CancellationToken,
}

/// What a client may do.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everything: nobody asks who clients are.
    All,
    /// What it was granted.
    Known(Arc<Identity>),
    /// Nothing: nobody knows it.
    Unknown,
}

impl Access {
    /// The grants to be held against a request; None if everything is allowed. Refused with
    /// `unauthenticated` if nobody knows the client, or what it showed does not hold any more.
    pub fn grants(&self) -> Result<Option<&Grants>, Refusal> {
        match self {
            Access::All => Ok(None),
            Access::Known(identity) => {
                identity.pass.check(clock::now())?;
                Ok(Some(&identity.grants))
            }
            Access::Unknown => Err(Refusal::new(
                Code::Unauthenticated,
                "this server wants to know who you are before it answers",
            )
            .hint(
                "send a token in hello or Authorization: Bearer; --token-file or KEEPBOTH_TOKEN",
            )),
        }
    }

    /// Refused once what it showed does not hold any more.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Access::Known(identity) => identity.pass.check(clock::now()),
            Access::All | Access::Unknown => Ok(()),
        }
    }

    /// The name that it has proven.
    pub fn actor(&self) -> Option<&Arc<str>> {
        match self {
            Access::Known(identity) => Some(&identity.actor),
            Access::All | Access::Unknown => None,
        }
    }

    /// Whether it may know that the namespace is there.
    pub fn knows(&self, namespace: &Namespace) -> bool {
        match self {
            Access::All => true,
            Access::Known(identity) => identity.grants.know(namespace),
            Access::Unknown => false,
        }
    }

    /// Whether it may see and do what operators do for the whole server.
    pub fn need_admin(&self) -> Result<(), Refusal> {
        self.grants()?.map_or(Ok(()), |grants| grants.need_all(Right::Admin))
    }
}

impl Gates {
    /// Gates of these plugins, which are not started. `stop` ends all clients.
    pub fn new(plugins: Vec<Made<dyn Gate>>, metrics: &Metrics, stop: &CancellationToken) -> Gates {
        let authenticate = plugins.iter().any(|made| made.says.authenticates);
        let plugins = plugins.into_iter().map(|made| {
            let meters = Arc::new(metrics.plugins.of(None, &made.name));
            Arc::new(Bound::new(made, meters))
        });
        Gates { plugins: plugins.collect(), authenticate, replaced: stop.child_token() }
    }

    /// Set when others have taken the place of these, or the server stops.
    pub fn replaced(&self) -> &CancellationToken {
        &self.replaced
    }

    /// Whether somebody may connect: the first refusal counts.
    pub async fn connect(self: &Arc<Gates>, arrival: Arrival) -> Result<(), Refusal> {
        if self.plugins.is_empty() {
            return Ok(());
        }
        self.ask(move |gates| {
            gates.plugins.iter().try_for_each(|bound| {
                bound.meters.time(Point::Connect, || {
                    let asked = life::ask(&bound.name, || bound.plugin.connect(&arrival));
                    asked.unwrap_or_else(|words| Err(failed(words)))
                })
            })
        })
        .await
    }

    /// What somebody may do who shows this: the first that knows him counts, and a refusal at once.
    pub async fn authenticate_by(
        self: &Arc<Gates>,
        credentials: Credentials,
    ) -> Result<Access, Refusal> {
        if !self.authenticate {
            return Ok(Access::All);
        }
        self.ask(move |gates| {
            for bound in gates.plugins.iter().filter(|bound| bound.says.authenticates) {
                let known = bound.meters.time(Point::Authenticate, || {
                    let asked = life::ask(&bound.name, || bound.plugin.authenticate(&credentials));
                    asked.unwrap_or_else(|words| Err(failed(words)))
                })?;
                if let Some(identity) = known {
                    return Ok(Access::Known(Arc::new(identity)));
                }
            }
            match credentials.token {
                None => Ok(Access::Unknown),
                Some(_) => {
                    let words = "nobody here knows this token";
                    Err(Refusal::new(Code::Unauthenticated, words))
                }
            }
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        self: &Arc<Gates>,
        call: impl FnOnce(&Gates) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let gates = self.clone();
        let asked = spawn_blocking(move || call(&gates)).await;
        asked.unwrap_or_else(|_| Err(Refusal::new(Code::ShuttingDown, "the server is stopping")))
    }

    /// Starts them; those of the older gates that do the same stay in their place. Nothing runs of the
    /// new ones after an error. None if there is nothing new.
    pub async fn start(
        mut self,
        old: &Gates,
        namespaces: &Arc<Namespaces>,
    ) -> Result<Option<Gates>, NotStarted> {
        let mut left = old.plugins.clone();
        let kept = self.plugins.iter().map(|new| {
            let same = left.iter().position(|old| old.is_as(new));
            same.map_or_else(|| new.clone(), |at| left.remove(at))
        });
        self.plugins = kept.collect();
        if self.besides(old).is_empty() && old.besides(&self).is_empty() && self.in_order_of(old) {
            return Ok(None);
        }
        let (new, namespaces) = (self.besides(old), namespaces.clone());
        let started = spawn_blocking(move || {
            for (at, (place, bound)) in new.iter().enumerate() {
                let host =
                    PluginHost::new(&namespaces, None, &bound.name, &bound.meters, &bound.over);
                if let Err(why) = bound.start(Arc::new(host)) {
                    new[..at].iter().for_each(|(_, bound)| bound.end());
                    return Err(NotStarted::new(None, *place, &bound.name, &why));
                }
            }
            Ok(())
        });
        let early = |_| NotStarted::new(None, 0, "of the server", "the start ended early");
        started.await.unwrap_or_else(|e| Err(early(e)))?;
        Ok(Some(self))
    }

    /// Ends those that the other gates do not have, and has everybody who came in by these show anew who
    /// he is.
    pub async fn retire(&self, others: &Gates) {
        let gone = self.besides(others);
        self.replaced.cancel();
        // What goes wrong in a plugin is logged where it is called.
        let _ = spawn_blocking(move || gone.iter().for_each(|(_, bound)| bound.end())).await;
    }

    /// Has all begin nothing new.
    pub async fn drain(&self) {
        let plugins = self.plugins.clone();
        let _ = spawn_blocking(move || plugins.iter().for_each(|bound| bound.drain())).await;
    }

    /// Ends all.
    pub async fn stop(&self) {
        let plugins = self.plugins.clone();
        let _ = spawn_blocking(move || plugins.iter().for_each(|bound| bound.stop())).await;
    }

    /// What they warn of, and what their calls cost.
    pub fn told(&self) -> PluginsTold {
        life::told(self.plugins.iter())
    }

    /// The names of those that are in one of both only; of all if their order is another.
    pub fn differing(&self, others: &Gates) -> Vec<String> {
        let both = self.besides(others).into_iter().chain(others.besides(self));
        let mut names: Vec<String> = both.map(|(_, bound)| bound.name.clone()).collect();
        if names.is_empty() {
            names = self.plugins.iter().map(|bound| bound.name.clone()).collect();
        }
        names.sort();
        names.dedup();
        names
    }

    fn in_order_of(&self, old: &Gates) -> bool {
        self.plugins.iter().zip(&old.plugins).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Those that the other gates do not have, each with its place.
    fn besides(&self, others: &Gates) -> Vec<(usize, Plugin)> {
        let is_other = |bound: &Plugin| others.plugins.iter().any(|o| Arc::ptr_eq(o, bound));
        let plugins = self.plugins.iter().cloned().enumerate();
        plugins.filter(|(_, bound)| !is_other(bound)).collect()
    }
}

fn failed(words: String) -> Refusal {
    Refusal::new(Code::HookFailed, words)
}
