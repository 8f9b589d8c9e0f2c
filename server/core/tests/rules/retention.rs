//! What is forgotten of a history changes nothing of what readers see, now or later.
//!
//! `KEEPBOTH_HISTORIES=1000000` runs that many; `KEEPBOTH_SEED=n` runs one.

use std::collections::HashSet;

use keepboth_core::conflict;
use keepboth_core::hash;
use keepboth_core::history::{History, Inserted};
use keepboth_core::ids::VersionId;
use keepboth_core::name::{Address, Name, branch_of};
use keepboth_core::refusal::Code;
use keepboth_core::resolve::meaning;
use keepboth_core::retention::{contracted, droppable, forgettable, pruned};
use keepboth_core::value::Value;
use keepboth_core::version::{Change, Version};
use keepboth_core::view::View;
use keepboth_core::write::{Condition, Intent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use keepboth_simulation::replica::{Replica, data, key};

/// Replicas that write one key for a while, mostly one after the other.
fn world(rng: &mut StdRng) -> Vec<Replica> {
    let mut nodes: Vec<Replica> = (0..3).map(Replica::new).collect();
    let steps = rng.random_range(3..40);
    go_on(rng, &mut nodes, steps);
    nodes
}

fn go_on(rng: &mut StdRng, nodes: &mut [Replica], steps: usize) {
    for now in 0..steps {
        let node = rng.random_range(0..nodes.len());
        if rng.random_range(0..4) == 0 {
            let from = nodes[rng.random_range(0..nodes.len())].clone();
            nodes[node].learn_all(&from);
            continue;
        }
        let shown: Vec<Address> = nodes[node].shown.iter().copied().collect();
        let name = match !shown.is_empty() && rng.random_bool(0.4) {
            true => Name::Address(shown[rng.random_range(0..shown.len())]),
            false => Name::Key(key("k")),
        };
        let value = hash::data_hash(&Value::number(f64::from(rng.random_range(0..6))));
        let intent = match rng.random_range(0..12) {
            0 => Intent::Delete,
            1 => Intent::Merge(value),
            _ => Intent::Put(value),
        };
        // Refusals are part of it.
        let _ = nodes[node].write(&name, intent, Condition::None, now as u64);
    }
}

/// The history as another store gets it.
fn sent(history: &History) -> History {
    let mut other = History::new(history.key().clone());
    for at in 0..history.len() {
        let inserted = other.insert_over(history.at(at).clone(), history.gap(at));
        assert_eq!(inserted, Ok(Inserted::New));
    }
    other
}

fn same(full: &History, short: &History, shown: &[Address], words: &str) {
    let view = View::of(full);
    assert_eq!(View::of(short), view, "{words}: the view");
    assert_eq!(conflict::base(short, &view), conflict::base(full, &view), "{words}: the base");
    assert_eq!(conflict::asks_hooks(short, &view), conflict::asks_hooks(full, &view), "{words}");
    let kept = short.versions().iter().map(|version| branch_of(&version.id));
    for branch in kept.chain(shown.iter().map(|address| address.branch)) {
        let means = |history: &History| meaning(history, &view, &branch);
        assert_eq!(means(short), means(full), "{words}: an address");
    }
}

fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut nodes = world(&mut rng);
    // Once all had the same; what is forgotten is below that.
    for (to, from) in (0..9).map(|pair| (pair / 3, pair % 3)) {
        let from = nodes[from].clone();
        nodes[to].learn_all(&from);
    }
    let Some(entry) = nodes[0].keys.get(&key("k")) else { return };
    let agreed: HashSet<VersionId> = entry.history.versions().iter().map(|v| v.id).collect();
    let steps = rng.random_range(0..10);
    go_on(&mut rng, &mut nodes, steps);
    let full = nodes[0].keys[&key("k")].history.clone();
    let newest = rng.random_range(0..4);
    let has = |history: &History, at: usize| agreed.contains(&history.at(at).id);
    let all_have = |history: &History, at: usize| {
        has(history, at) && history.children(at).iter().all(|child| has(history, *child))
    };
    let chosen: Vec<bool> = (0..full.len()).map(|_| rng.random_range(0..8) > 0).collect();
    let gone = droppable(&full, newest, |at| chosen[at] && all_have(&full, at));
    let (short, kept) = contracted(&full, &gone);
    assert_eq!((short.len(), kept.len()), (full.len() - gone.len(), full.len() - gone.len()));
    let shown: Vec<Address> = nodes[0].shown.iter().copied().collect();
    same(&full, &short, &shown, "contracted");
    same(&full, &sent(&short), &shown, "sent");
    // What is forgotten later is forgotten as if it had been at once.
    let gone = droppable(&short, newest, |at| all_have(&short, at));
    let (shorter, _) = contracted(&short, &gone);
    same(&full, &shorter, &shown, "contracted twice");
    let whole = droppable(&full, newest, |at| all_have(&full, at));
    assert_eq!(contracted(&full, &whole).0.versions(), shorter.versions());
    // The others go on, and what they make fits, as long as it stands on nothing forgotten.
    let steps = rng.random_range(0..20);
    go_on(&mut rng, &mut nodes, steps);
    let (mut full, mut shorter) = (full, shorter);
    for version in nodes[0].keys[&key("k")].history.versions() {
        if full.find(&version.id).is_some() {
            continue;
        }
        assert_eq!(shorter.insert(version.clone()), Ok(Inserted::New));
        assert_eq!(full.insert(version.clone()), Ok(Inserted::New));
    }
    same(&full, &shorter, &shown, "gone on");
}

#[test]
fn readers_see_the_same_after_records_were_forgotten_and_go_on_seeing_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("KEEPBOTH_SEED") {
        return run(seed);
    }
    for seed in 0..number("KEEPBOTH_HISTORIES").unwrap_or(1_000) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} failed; run it alone with KEEPBOTH_SEED={seed}");
    }
}

#[test]
fn of_a_plain_line_the_first_the_newest_and_the_one_above_the_cut_stay() {
    let mut node = Replica::new(1);
    for n in 0..10 {
        let intent = Intent::Put(data(&n.to_string()));
        node.write(&Name::Key(key("k")), intent, Condition::None, n).expect("a put");
    }
    let history = &node.keys[&key("k")].history;
    assert_eq!(droppable(history, 3, |_| true), [1, 2, 3, 4, 5, 6]);
    assert_eq!(droppable(history, 3, |at| at != 4), [1, 2, 3, 5, 6]);
    assert_eq!(droppable(history, 0, |_| true), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(forgettable(history, 3, |_| true), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(forgettable(history, 0, |_| true).len(), 9, "the head keeps its value");
    let (short, _) = contracted(history, &droppable(history, 3, |_| true));
    assert_eq!((short.len(), short.gap(1)), (4, Some(history.at(0).id)));
    assert_eq!(short.with_ancestors([3]), [true; 4]);
}

#[test]
fn a_gap_is_only_taken_over_a_known_put_or_delete_and_means_nothing_if_the_parent_is_known() {
    let mut node = Replica::new(1);
    for n in 0..4 {
        let intent = Intent::Put(data(&n.to_string()));
        node.write(&Name::Key(key("k")), intent, Condition::None, n).expect("a put");
    }
    let full = &node.keys[&key("k")].history;
    let ids: Vec<VersionId> = full.versions().iter().map(|version| version.id).collect();
    let mut short = History::new(key("k"));
    assert_eq!(short.insert(full.at(0).clone()), Ok(Inserted::New));
    let last = full.at(3).clone();
    assert_eq!(short.insert(last.clone()), Ok(Inserted::Missing(vec![ids[2]])));
    let unknown = short.insert_over(last.clone(), Some(ids[1]));
    assert_eq!(unknown, Ok(Inserted::Missing(vec![ids[1]])));
    assert_eq!(short.insert_over(full.at(1).clone(), Some(ids[3])), Ok(Inserted::New));
    assert_eq!(short.gap(1), None);
    assert_eq!(short.insert_over(last, Some(ids[1])), Ok(Inserted::New));
    assert_eq!((short.gap(2), short.parents(2)), (Some(ids[1]), &[1][..]));
    let (left, right) = (ids[0], ids[3]);
    let split = Version::split([left, right].into_iter().collect(), 9, node.id);
    assert_eq!(short.insert(split.clone()), Ok(Inserted::New));
    let far = Version::next([VersionId([9; 32])].into_iter().collect(), data("x"), 9, node.id);
    let refusal = short.insert_over(far, Some(split.id)).expect_err("over a split");
    assert_eq!(refusal.code, Code::BadVersion);
}

#[test]
fn hidden_tips_are_left_out_one_after_the_other_and_what_something_stands_on_stays() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = world(&mut rng);
        let Some(entry) = nodes[0].keys.get(&key("k")) else { continue };
        let history = &entry.history;
        let all = history.versions().iter().map(|version| version.id);
        let hidden: HashSet<VersionId> = all.filter(|_| rng.random_bool(0.3)).collect();
        let mut left: HashSet<usize> = (0..history.len()).collect();
        loop {
            let tip = left.iter().copied().find(|at| {
                hidden.contains(&history.at(*at).id)
                    && !history.children(*at).iter().any(|child| left.contains(child))
            });
            match tip {
                Some(tip) => left.remove(&tip),
                None => break,
            };
        }
        let visible = pruned(history, &hidden);
        let visible = visible.as_ref().unwrap_or(history);
        let ids: HashSet<VersionId> = visible.versions().iter().map(|v| v.id).collect();
        assert_eq!(ids, left.iter().map(|at| history.at(*at).id).collect(), "seed {seed}");
        let view = View::hiding(visible, &hidden);
        for object in view.candidates.iter().chain(&view.detached) {
            assert!(object.heads.iter().all(|head| !hidden.contains(head)), "seed {seed}");
        }
        let puts = visible.versions().iter().filter(|v| v.change == Change::Put);
        assert!(puts.count() <= history.len());
    }
}
