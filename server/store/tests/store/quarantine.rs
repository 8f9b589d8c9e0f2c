//! What this node's rules do not allow is kept, hidden from readers and judged; peers see no difference.

use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::{Change, Event};
use keepboth_store::{Incoming, Options, Received, Verdict};

use crate::harness::{Bench, code, key, name, text};

fn refused(event: &Event) -> Incoming {
    let refusal = Refusal::new(Code::SchemaRefused, "/title: is missing");
    Incoming { event: event.clone(), refused: Some(refusal) }
}

fn events(from: &Bench, of: &str) -> Vec<Event> {
    from.store.snapshot().missing(&key(of), &[]).expect("events")
}

/// A store that hides the second of three versions' successors: the last of `k`, and all of `new`.
fn hiding() -> (Bench, Bench) {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "one", 1);
    a.put("k", "two", 2);
    a.put("new", "x", 3);
    let all = events(&a, "k");
    b.receive(vec![all[0].clone()]);
    b.commits();
    let outcomes = b.incoming(vec![refused(&all[1]), refused(&events(&a, "new")[0])], 77);
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, Received::Quarantined(r) if r.code == Code::SchemaRefused))
    );
    (a, b)
}

#[test]
fn a_hidden_version_is_seen_by_peers_and_not_by_readers() {
    let (a, b) = hiding();
    assert_eq!(a.store.root(), b.store.root());
    assert_eq!(b.get("k").expect("found"), "one");
    assert_eq!(code(b.get("new")), Code::NotFound);
    let snapshot = b.store.snapshot();
    assert!(snapshot.states("new", None, 9).expect("states").items.is_empty());
    assert!(snapshot.list("new", None, 9, 9, true).expect("a list").items.is_empty());
    assert!(snapshot.trash(None, 9).expect("the trash").items.is_empty());
    let (states, next) = snapshot.changes(0, 9).expect("the feed");
    assert_eq!((states.len(), next), (1, b.store.counts().last_sequence));
    let commits = b.commits();
    assert_eq!((commits.len(), commits[0].changes.len()), (1, 0), "watchers are told nothing");
    assert_eq!(commits[0].root, a.store.root(), "peers are told that it is here");
    assert_eq!(events(&b, "k"), events(&a, "k"), "it is passed on");
    assert_eq!(b.learn(&a, "k"), [Received::Known, Received::Known]);
    b.check();
}

#[test]
fn the_list_says_what_is_hidden_and_why() {
    let (_, b) = hiding();
    let snapshot = b.store.snapshot();
    let page = snapshot.quarantine(None, 1).expect("a page");
    let item = &page.items[0];
    assert_eq!((item.key.as_str(), item.since, item.from.0), ("k", 77, [5; 32]));
    assert_eq!(
        (item.refusal.code, item.refusal.message.as_str()),
        (Code::SchemaRefused, "/title: is missing")
    );
    assert_eq!((item.change, item.value.map(|v| v.1), item.sequence), (Change::Put, Some(3), 2));
    let value = snapshot.quarantined_value(&key("k"), &item.version).expect("a value");
    assert_eq!(value, Some(text("two")));
    let rest = snapshot.quarantine(page.next.as_ref(), 9).expect("a page");
    assert_eq!((rest.items.len(), rest.items[0].key.as_str(), rest.next), (1, "new", None));
    let counts = b.store.counts();
    assert_eq!((counts.quarantined, counts.quarantined_bytes, counts.keys), (2, 4, 2));
}

#[test]
fn an_admitted_version_is_shown_like_one_that_came_now() {
    let (a, b) = hiding();
    let last = b.store.counts().last_sequence;
    for of in ["k", "new"] {
        let version = a.tips(of)[0];
        assert!(b.judge(of, version, Verdict::Admit));
        assert!(!b.judge(of, version, Verdict::Admit), "it is not there any more");
        assert_eq!(b.get(of), a.get(of));
        let change = b.changes().pop().expect("a change");
        assert!(!change.local && change.made == [events(&a, of).pop().expect("an event")]);
        assert_eq!(b.store.snapshot().state(&key(of)).expect("a state"), Some(change.state));
    }
    let (states, _) = b.store.snapshot().changes(last, 9).expect("the feed");
    let seen: Vec<&str> = states.iter().map(|state| state.key.as_str()).collect();
    assert_eq!(seen, ["k", "new"], "watchers that come back hear of it");
    assert_eq!((a.store.root(), b.store.counts().quarantined), (b.store.root(), 0));
    b.check();
}

#[test]
fn a_discarded_version_stays_hidden_for_ever_and_is_not_passed_on() {
    let (a, b) = hiding();
    let (last, new) = (a.tips("k")[0], a.tips("new")[0]);
    assert!(b.judge("k", last, Verdict::Discard) && b.judge("new", new, Verdict::Discard));
    assert_eq!((a.store.root(), b.store.counts().quarantined), (b.store.root(), 0));
    assert_eq!(b.store.counts().value_bytes, 3);
    assert_eq!(events(&b, "k").len(), 1);
    assert!(events(&b, "new").is_empty());
    assert_eq!(b.learn(&a, "k"), [Received::Known, Received::Known]);
    assert_eq!(b.get("k").expect("found"), "one");
    // The line goes on elsewhere, or here beside it.
    a.put("k", "three", 5);
    b.receive(vec![events(&a, "k").pop().expect("the last")]);
    assert_eq!(b.get("k").expect("found"), "three");
    b.put("new", "mine", 6);
    assert_eq!(b.get("new").expect("found"), "mine");
    assert_eq!(a.store.counts().conflicts, 0);
}

#[test]
fn what_stands_on_a_hidden_version_supersedes_it() {
    let (a, b) = hiding();
    a.put("k", "three", 5);
    let last = events(&a, "k").pop().expect("the last");
    assert_eq!(b.receive(vec![last]), [Received::New]);
    assert_eq!(b.get("k").expect("found"), "three");
    assert_eq!(b.store.counts().quarantined, 1, "only the other key's is left");
    b.check();
}

#[test]
fn a_write_here_goes_on_from_what_its_writer_sees() {
    let (a, b) = hiding();
    b.put("k", "mine", 6);
    b.put("new", "mine", 6);
    assert_eq!(
        (b.get("k").expect("found"), b.get("new").expect("found")),
        ("mine".into(), "mine".into())
    );
    b.check();
    // Where both can be seen, they are in conflict; and here once the other side is admitted.
    a.learn(&b, "k");
    assert_eq!(code(a.get("k")), Code::InConflict);
    let hidden = events(&a, "k").into_iter().find(|e| e.value == Some(text("two")));
    assert!(b.judge("k", hidden.expect("there").version.id, Verdict::Admit));
    assert_eq!(b.raised().len(), 1);
    assert_eq!(a.addresses("k"), b.addresses("k"));
    b.check();
}

#[test]
fn hidden_versions_stay_hidden_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let (a, b) = (Bench::new(), Bench::file(&path));
    a.put("k", "x", 1);
    b.incoming(vec![refused(&events(&a, "k")[0])], 5);
    let counts = b.store.counts();
    drop(b);
    let b = Bench::file(&path);
    assert_eq!(b.store.counts(), counts);
    assert_eq!(code(b.get("k")), Code::NotFound);
    assert_eq!(b.store.root(), a.store.root());
    b.check();
    assert!(b.judge("k", a.tips("k")[0], Verdict::Admit));
    assert_eq!(b.get("k").expect("found"), "x");
}

#[test]
fn a_hidden_delete_leaves_the_object() {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "x", 1);
    b.learn(&a, "k");
    a.delete("k", 2);
    b.incoming(vec![refused(&events(&a, "k")[1])], 5);
    assert_eq!(b.get("k").expect("found"), "x");
    assert_eq!(b.forget("k", b.tips("k"), true), 0, "it is in the trash of others only");
    b.check();
    assert!(b.judge("k", a.tips("k")[0], Verdict::Admit));
    assert_eq!(code(b.get("k")), Code::NotFound);
    assert_eq!(b.store.counts().trash, 1);
    b.check();
}

#[test]
fn the_quarantine_is_bounded() {
    let a = Bench::new();
    let b =
        Bench::with(Options { quarantine_bytes_max: 12, quarantine_max: 2, ..Options::default() });
    let values = [("a", "0123456789"), ("b", "0123"), ("c", "1"), ("d", "2")];
    for (at, value) in values {
        a.put(at, value, 1);
    }
    let outcomes = b.incoming(values.map(|(at, _)| refused(&events(&a, at)[0])).to_vec(), 5);
    let full = |o: &Received| matches!(o, Received::Refused(r) if r.code == Code::QuotaExceeded);
    let is_full: Vec<bool> = outcomes.iter().map(full).collect();
    assert_eq!(is_full, [false, true, false, true], "{outcomes:?}");
    b.check();
    assert!(b.judge("c", a.tips("c")[0], Verdict::Discard));
    assert!(matches!(
        b.incoming(vec![refused(&events(&a, "d")[0])], 6)[0],
        Received::Quarantined(_)
    ));
    b.verify();
    assert!(b.store.snapshot().state(&key("a")).expect("a state").is_none());
    assert_eq!(code(b.store.snapshot().history(&name("a"), None, 9)), Code::NotFound);
}

#[test]
fn neither_histories_nor_addresses_nor_reverts_lead_to_a_hidden_version() {
    let (a, b) = hiding();
    let (first, hidden) = (a.versions("k")[0], a.tips("k")[0]);
    let snapshot = b.store.snapshot();
    let page = snapshot.history(&name("k"), None, 9).expect("a page");
    let listed: Vec<_> = page.items.iter().map(|past| past.version).collect();
    assert_eq!((listed, page.items[0].head), (vec![first], true));
    assert_eq!(code(snapshot.value_of(&name("k"), &hidden)), Code::NotFound);
    let condition = keepboth_core::write::Condition::None;
    let revert = keepboth_store::Op::Revert { name: name("k"), version: hidden, condition };
    assert_eq!(code(b.op(revert, 9)), Code::NotFound);
    let at = |version| crate::harness::address("k", version).to_string();
    assert_eq!(b.get(&at(&first)).expect("found"), "one", "the address means what is seen");
    assert_eq!(code(b.get(&at(&hidden))), Code::NotFound);
    b.put(&at(&first), "mine", 9);
    assert_eq!(b.get("k").expect("found"), "mine");
    b.check();
}
