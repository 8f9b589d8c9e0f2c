//! What the vectors leave open: twins, dead and unknown addresses, conditions, malformed records, open splits.

use keepboth_core::digest::DigestTree;
use keepboth_core::history::History;
use keepboth_core::ids::DataHash;
use keepboth_core::name::{Address, Key, Name, branch_of};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::resolve::{Meaning, Place};
use keepboth_core::version::Version;
use keepboth_core::write::{Condition, Intent, Made};
use keepboth_simulation::replica::{Replica, data, key};

fn put(node: &mut Replica, name: &str, value: &str, now: u64) -> Version {
    let made = write(node, name, Intent::Put(data(value)), Condition::None, now).expect("a put");
    made.last().expect("a version").clone()
}

fn write(
    node: &mut Replica,
    name: &str,
    intent: Intent,
    condition: Condition,
    now: u64,
) -> Result<Made, Refusal> {
    node.write(&Name::new(name).expect("a name"), intent, condition, now)
}

fn code(outcome: Result<Made, Refusal>) -> Code {
    outcome.expect_err("a refusal").code
}

fn address(version: &Version) -> String {
    Address { key: key("k").hash(), branch: branch_of(&version.id) }.to_string()
}

/// Two nodes that wrote `k` at the same time; the first has learned of the other.
fn conflict() -> (Replica, Replica, Version, Version) {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let first = put(&mut a, "k", "base", 1);
    b.learn(&key("k"), &first);
    let mine = put(&mut a, "k", "mine", 2);
    let theirs = put(&mut b, "k", "theirs", 2);
    a.learn(&key("k"), &theirs);
    (a, b, mine, theirs)
}

#[test]
fn an_untouched_twin_of_an_updated_object_is_no_side() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    put(&mut a, "k", "same", 1);
    let twin = put(&mut b, "k", "same", 2);
    let update = put(&mut a, "k", "more", 3);
    a.learn(&key("k"), &twin);
    let view = a.view(&key("k")).expect("a view");
    assert_eq!(view.object().expect("one object").version(), &update.id);
    assert_eq!(view.main_heads.len(), 2, "the twin is still a head");
    // Its address means the object that displaced it.
    assert_eq!(
        a.meaning(&address(&twin).parse().expect("an address")),
        Meaning::One(Place::Main(0))
    );
    // The next write takes the twin along.
    let next = put(&mut a, "k", "most", 4);
    assert!(next.parents.contains(&twin.id) && next.parents.contains(&update.id));
}

#[test]
fn a_twin_on_a_detached_line_is_shown_nowhere_and_its_address_still_means_something() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    put(&mut a, "k", "same", 1);
    let other = put(&mut b, "k", "other", 2);
    a.learn(&key("k"), &other);
    put(&mut a, "k", "anew", 3);
    assert_eq!(a.view(&key("k")).expect("a view").detached.len(), 2);
    let same = address(&Version::first(&key("k"), data("same"), 1, a.id));
    let update = put(&mut a, &same, "changed", 4);
    let twin = Version::first(&key("k"), data("same"), 9, b.id);
    a.learn(&key("k"), &twin);
    let view = a.view(&key("k")).expect("a view");
    assert!(view.object().is_some(), "a twin on the main line is no side");
    assert!(view.detached.iter().any(|object| object.version() == &update.id));
    let Meaning::One(Place::Detached(at)) = a.meaning(&address(&twin).parse().expect("an address"))
    else {
        panic!("the twin's address means the line that displaced it");
    };
    assert_eq!(a.view(&key("k")).expect("a view").detached[at].version(), &update.id);
}

#[test]
fn a_former_address_means_what_its_line_became() {
    let (mut a, _, mine, theirs) = conflict();
    let merged =
        write(&mut a, "k", Intent::Merge(data("both")), Condition::None, 5).expect("a merge");
    for side in [&mine, &theirs] {
        assert_eq!(
            a.meaning(&address(side).parse().expect("an address")),
            Meaning::One(Place::Main(0))
        );
    }
    let update = put(&mut a, &address(&mine), "more", 6);
    assert_eq!(
        update.parents.as_slice(),
        [merged[0].id],
        "a former address writes what is now under the key"
    );
}

#[test]
fn an_address_of_a_common_ancestor_names_all_sides() {
    let (a, _, mine, theirs) = conflict();
    let base = Version::first(&key("k"), data("base"), 1, a.id);
    let Meaning::Several(sides) = a.meaning(&address(&base).parse().expect("an address")) else {
        panic!("several objects stand on the base");
    };
    let mut expected = vec![address(&mine), address(&theirs)];
    expected.sort();
    assert_eq!(sides.iter().map(Address::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn dead_and_unknown_addresses_are_not_found() {
    let (mut a, _, mine, theirs) = conflict();
    write(&mut a, &address(&mine), Intent::Delete, Condition::None, 5).expect("a delete");
    assert_eq!(a.meaning(&address(&mine).parse().expect("an address")), Meaning::Gone);
    assert_eq!(
        code(write(&mut a, &address(&mine), Intent::Put(data("x")), Condition::None, 6)),
        Code::NotFound
    );
    assert_eq!(
        a.view(&key("k")).expect("a view").object().expect("one left").version(),
        &theirs.id
    );
    let unknown = "00".repeat(32);
    assert_eq!(
        code(write(&mut a, &unknown, Intent::Put(data("x")), Condition::None, 7)),
        Code::NotFound
    );
}

#[test]
fn a_name_of_64_hex_characters_is_no_key() {
    assert_eq!(Key::new(&"ab".repeat(32)).expect_err("reserved").code, Code::ReservedKey);
    assert!(Key::new(&"AB".repeat(32)).is_ok());
    assert!(Key::new(&"ab".repeat(31)).is_ok());
    assert_eq!(Key::new("").expect_err("empty").code, Code::BadKey);
    assert_eq!(Key::new("a\0b").expect_err("a NUL").code, Code::BadKey);
    let long = Key::new(&"ж".repeat(513)).expect_err("too long");
    assert_eq!(long.message, "the key is 1,026 bytes, the limit is 1,024 bytes");
}

#[test]
fn conditions_name_what_was_seen() {
    let mut a = Replica::new(1);
    let first = put(&mut a, "k", "one", 1);
    let put_if = |a: &mut Replica, condition| write(a, "k", Intent::Put(data("two")), condition, 2);
    assert_eq!(code(put_if(&mut a, Condition::Absent)), Code::VersionMismatch);
    let second = put_if(&mut a, Condition::Is(first.id)).expect("the condition holds")[0].id;
    let refusal = put_if(&mut a, Condition::Is(first.id)).expect_err("a stale condition");
    assert_eq!((refusal.code, refusal.version), (Code::VersionMismatch, Some(second)));
    write(&mut a, "k", Intent::Delete, Condition::Is(second), 3).expect("a delete");
    assert_eq!(code(put_if(&mut a, Condition::Is(second))), Code::VersionMismatch);
    put_if(&mut a, Condition::Absent).expect("a deleted object is absent");
}

#[test]
fn a_condition_never_holds_at_a_key_in_conflict() {
    let (mut a, _, mine, _) = conflict();
    for condition in [Condition::Absent, Condition::Is(mine.id)] {
        for intent in [Intent::Put(data("x")), Intent::Delete] {
            assert_eq!(code(write(&mut a, "k", intent, condition, 9)), Code::VersionMismatch);
        }
    }
    let at_side = write(&mut a, &address(&mine), Intent::Put(data("x")), Condition::Is(mine.id), 9);
    assert!(at_side.is_ok(), "at an address it holds");
}

#[test]
fn deleting_takes_an_object() {
    let (mut a, ..) = conflict();
    let refusal = write(&mut a, "k", Intent::Delete, Condition::None, 9).expect_err("in conflict");
    assert_eq!((refusal.code, refusal.addresses.len()), (Code::InConflict, 2));
    assert_eq!(code(write(&mut a, "none", Intent::Delete, Condition::None, 9)), Code::NotFound);
}

#[test]
fn resolving_takes_a_conflict() {
    let (mut a, _, mine, _) = conflict();
    let merge = Intent::Merge(data("both"));
    assert_eq!(code(write(&mut a, "none", merge, Condition::None, 9)), Code::NoConflict);
    assert_eq!(code(write(&mut a, &address(&mine), merge, Condition::None, 9)), Code::NoConflict);
    write(&mut a, "k", merge, Condition::None, 9).expect("a merge");
    assert_eq!(code(write(&mut a, "k", merge, Condition::None, 9)), Code::NoConflict);
}

#[test]
fn records_out_of_form_are_refused() {
    let key = key("k");
    let store = Replica::new(1).id;
    let first = Version::first(&key, data("a"), 1, store);
    let other = Version::first(&key, data("b"), 1, store);
    let split = Version::split([first.id, other.id].into_iter().collect(), 2, store);
    let refused = |version: Version| version.check(&key).expect_err("out of form").code;

    let twice = Version::next([first.id, first.id].into_iter().collect(), data("c"), 3, store);
    assert_eq!(refused(twice), Code::BadVersion);
    let lonely = Version::split([first.id].into_iter().collect(), 3, store);
    assert_eq!(refused(lonely), Code::BadVersion);
    let orphan = Version::next([].into_iter().collect(), DataHash::NONE, 3, store);
    assert_eq!(refused(orphan), Code::BadVersion);
    let forged = Version { data: data("z"), ..first.clone() };
    assert_eq!(refused(forged), Code::BadVersion);
    let moved = Version { timestamp: 5, ..first.clone() };
    assert_eq!(refused(moved), Code::BadVersion);
    let valued = Version { data: data("z"), ..split.clone() };
    assert_eq!(refused(valued), Code::BadVersion);

    let mut history = History::new(key.clone());
    for version in [&first, &other, &split] {
        history.insert(version.clone()).expect("good form");
    }
    let mixed = Version::next([split.id, first.id].into_iter().collect(), data("c"), 3, store);
    let delete = Version::next([split.id].into_iter().collect(), DataHash::NONE, 3, store);
    let resplit = Version::split([split.id, first.id].into_iter().collect(), 3, store);
    for version in [mixed, delete, resplit] {
        version.check(&key).expect("each alone is in form");
        assert_eq!(
            history.insert(version).expect_err("with its parents it is not").code,
            Code::BadVersion
        );
    }
}

/// The rules say that an update's parents are all heads of the main line. When a split has arrived
/// and its child has not, the main line has no heads: a write without parents would be a first
/// version, and could be taken for an untouched twin and never be seen. It goes on from the split.
#[test]
fn a_write_between_a_split_and_its_child_is_seen() {
    let (mut a, mut b, ..) = conflict();
    let made = write(&mut a, "k", Intent::Put(data("anew")), Condition::None, 5).expect("a put");
    let (split, child) = (&made[0], &made[1]);
    b.learn_key(&a, &key("k"));
    let mut c = Replica::new(3);
    for version in b.keys[&key("k")].history.versions().iter().filter(|v| v.id != child.id) {
        c.learn(&key("k"), version);
    }
    assert!(c.view(&key("k")).expect("a view").main_heads.is_empty());
    let written = put(&mut c, "k", "base", 6);
    assert_eq!(written.parents.as_slice(), [split.id]);
    assert_eq!(c.view(&key("k")).expect("a view").object().expect("seen").version(), &written.id);
    c.learn(&key("k"), child);
    assert!(c.view(&key("k")).expect("a view").in_conflict(), "both new starts are kept");
}

/// Heads alone do not tell a store that holds such a split from one that does not.
#[test]
fn a_split_without_its_child_changes_the_digest() {
    let (mut a, b, ..) = conflict();
    let history = a.keys[&key("k")].history.clone();
    let before = a.view(&key("k")).expect("a view").clone();
    let split = Version::split(before.main_heads.iter().copied().collect(), 5, b.id);
    a.learn(&key("k"), &split);
    let after = a.view(&key("k")).expect("a view");
    let heads = |history: &History| (0..history.len()).filter(|at| history.is_head(*at)).count();
    assert_eq!(heads(&history), heads(&a.keys[&key("k")].history), "the heads are the same");
    let digest = |tips: &[_]| {
        let mut tree = DigestTree::default();
        tree.replace(&key("k").hash(), &[], tips);
        tree.root()
    };
    assert_ne!(digest(&before.tips), digest(&after.tips));
}
