//! Finding the members that are not connected: whom others speak of is dialled too, until all are linked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keepboth_core::ids::NodeId;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::dial::{self, Target};
use super::{Mesh, lock};

/// How long the node with the larger id waits for the other one to dial it first, so that the two seldom
/// dial each other at once.
const FIRST_TURN: Duration = Duration::from_millis(500);
/// How often the members are looked through, should nothing have been told.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A member that is dialled where it says it is.
struct Keeper {
    urls: Vec<String>,
    stop: CancellationToken,
}

/// Dials every member that is heard of, until the mesh stops.
pub async fn run(mesh: Arc<Mesh>) {
    let mut keepers: BTreeMap<NodeId, Keeper> = BTreeMap::new();
    loop {
        let changed = mesh.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let wanted = wanted(&mesh);
        keepers.retain(|node, keeper| {
            let stays = wanted.get(node).is_some_and(|urls| *urls == keeper.urls);
            if !stays {
                keeper.stop.cancel();
                forget(&mesh, &keeper.urls);
            }
            stays
        });
        for (node, urls) in wanted {
            keepers.entry(node).or_insert_with(|| start(&mesh, node, urls));
        }
        let look = Instant::now() + LOOK_EVERY;
        tokio::select! {
            () = mesh.stop.cancelled() => return,
            () = changed => {}
            () = sleep_until(look) => {}
        }
    }
}

/// The members with addresses, but for those that a configured URL leads to.
fn wanted(mesh: &Mesh) -> BTreeMap<NodeId, Vec<String>> {
    let urls: BTreeSet<String> = lock(&mesh.dialling).keys().cloned().collect();
    let dialled = lock(&mesh.dialled).clone();
    let configured = dialled.iter().filter(|(url, _)| urls.contains(*url));
    let configured: BTreeSet<NodeId> = configured.filter_map(|(_, d)| d.node).collect();
    let roster = mesh.roster();
    let others = roster.members.others().filter(|grant| !configured.contains(&grant.node));
    let addresses = others.filter_map(|grant| {
        let about = roster.members.about(&grant.node)?;
        (!about.addresses.is_empty()).then(|| (grant.node, about.addresses.clone()))
    });
    addresses.collect()
}

/// What became of dialling where nobody is dialled any more is no news.
fn forget(mesh: &Mesh, urls: &[String]) {
    let configured: BTreeSet<String> = lock(&mesh.dialling).keys().cloned().collect();
    let mut dialled = lock(&mesh.dialled);
    dialled.retain(|url, _| configured.contains(url) || !urls.contains(url));
}

fn start(mesh: &Arc<Mesh>, node: NodeId, urls: Vec<String>) -> Keeper {
    let stop = mesh.stop.child_token();
    let keeper = Keeper { urls: urls.clone(), stop: stop.clone() };
    let own = mesh.clone();
    mesh.tasks.spawn(async move {
        if own.node > node {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(FIRST_TURN) => {}
            }
        }
        dial::keep(own, Target { urls, node: Some(node), token: None }, stop).await;
    });
    keeper
}
