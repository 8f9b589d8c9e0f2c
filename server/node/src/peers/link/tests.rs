//! Links to peers that take nothing more, and links that were replaced.

use futures_util::{SinkExt, sink, stream};
use tempfile::TempDir;

use super::*;
use crate::peers::testing;

fn opening() -> Opening {
    let (side, stop) = (Side::Answered, CancellationToken::new());
    Opening { url: None, side, address: None, binding: None, stop }
}

#[tokio::test]
async fn a_link_to_a_peer_that_takes_nothing_more_ends_although_the_peer_goes_on_living() {
    let folder = TempDir::new().expect("a folder");
    let outgoing = sink::unfold((), |(), _: Frame| async { Err("broken".to_owned()) });
    let incoming = Box::pin(stream::pending());
    let link = run(testing::mesh(folder.path()), opening(), (incoming, Box::pin(outgoing)));
    let ended = timeout(Duration::from_secs(10), link).await;
    let (peer, end) = ended.expect("an end in time");
    assert!(matches!(end, End::Lost(_)), "{end} {peer:?}");
}

/// A link to a peer that reads all.
fn link(mesh: &Arc<Mesh>) -> Link {
    let outgoing = sink::drain().sink_map_err(|never| match never {});
    let (applied, orders) = (mpsc::unbounded_channel().0, mpsc::channel(1).0);
    Link::new(mesh.clone(), opening(), Box::pin(outgoing), applied, orders).expect("a link")
}

#[tokio::test]
async fn a_link_that_was_replaced_says_no_more_where_the_peer_stands() {
    let folder = TempDir::new().expect("a folder");
    let (mesh, peer) = (testing::mesh(folder.path()), NodeId([2; 32]));
    let (old, new) = (link(&mesh), link(&mesh));
    assert!(mesh.enter(peer, "old", &old).is_some());
    assert!(mesh.enter(peer, "new", &new).is_some());
    assert!(old.stop.is_cancelled() && !new.stop.is_cancelled());
    mesh.leave(peer, old.number, None, || panic!("it stands for nothing"));
    let (mut by_old, mut by_new) = (false, false);
    mesh.if_current(peer, old.number, |_| by_old = true);
    mesh.if_current(peer, new.number, |_| by_new = true);
    assert!(!by_old && by_new);
    mesh.leave(peer, new.number, None, || ());
    assert!(!mesh.is_connected(&peer));
}

#[tokio::test]
async fn a_member_is_told_of_once_while_its_link_begins_and_ends() {
    let folder = TempDir::new().expect("a folder");
    let (mesh, peer) = (testing::mesh(folder.path()), NodeId([2; 32]));
    mesh.decide(peer, true, None).expect("a member");
    let space = mesh.namespaces.need(&Namespace::new("notes").expect("a name")).expect("notes");
    let told = || {
        let peers = mesh.peers_of(&space).into_iter();
        peers.map(|p| (p.node, p.connected)).collect::<Vec<_>>()
    };
    let standing = PeerStanding { standing: Default::default(), url: None, stall: None };
    assert_eq!(told(), [(Some(peer), false)]);
    let mut link = link(&mesh);
    assert!(mesh.enter(peer, "", &link).is_some());
    link.peer = Some(peer);
    assert_eq!(told(), [(Some(peer), false)], "nothing is known of where it stands");
    mesh.if_current(peer, link.number, |_| space.set_peer(peer, Some(standing.clone())));
    assert_eq!(told(), [(Some(peer), true)]);
    link.publish();
    assert_eq!(told(), [(Some(peer), true)]);
    link.leave("it ended");
    assert_eq!(told(), [(Some(peer), false)]);
}
