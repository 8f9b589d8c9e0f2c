//! One change on its way: what its key is now, as an event, signed and sent.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Feed, Host, Now, Table};
use tokio_util::sync::CancellationToken;

use crate::event;
use crate::post::Post;
use crate::queue::Waiting;
use crate::rows::Place;
use crate::target::Target;
use crate::verdict::{self, Verdict};

/// What the lanes of a namespace share.
pub struct Shared {
    /// The server.
    pub host: Arc<dyn Host>,
    /// The namespace.
    pub namespace: Namespace,
    /// The rows.
    pub table: Arc<dyn Table>,
    /// Set when nothing new is begun.
    pub stop: CancellationToken,
    /// Keys that wait, of all targets.
    pub waiting: AtomicI64,
}

/// Sends what a key is now, unless it has changed since: then that change is told.
pub async fn deliver(
    shared: &Shared,
    target: &Target,
    post: &Post,
    place: Place,
    key: &str,
    waiting: Waiting,
) -> Verdict {
    let again = |why: String| Verdict::Again { why, after: None };
    let shown = Key::new(key).and_then(|key| {
        let shown = shared.host.shown(&shared.namespace, &key)?;
        Ok((key, shown))
    });
    let (key, now) = match shown {
        Ok((_, Some(shown))) if shown.sequence != waiting.sequence => return Verdict::Overtaken,
        Ok((key, shown)) => (key, shown.map_or(Now::Nothing, |shown| shown.now)),
        Err(refusal) => return again(refusal.message),
    };
    let feed = Feed { store: place.store, epoch: place.epoch, last: place.sequence };
    let id = event::id(&feed, waiting.sequence);
    let body = event::body(&shared.host.node(), &shared.namespace, &id, &key, &now);
    let timestamp = shared.host.now() / 1_000;
    let mut headers = vec![
        ("content-type", event::MEDIA_TYPE.to_owned()),
        ("user-agent", concat!("keepboth/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("webhook-id", id.clone()),
        ("webhook-timestamp", timestamp.to_string()),
    ];
    if let Some(secret) = &target.secret {
        headers.push(("webhook-signature", secret.sign(&id, timestamp, &body)));
    }
    match post.post(&headers, body.into()).await {
        Ok(answer) => verdict::of(answer.status, answer.retry_after.as_deref(), shared.host.now()),
        Err(why) => again(why),
    }
}
