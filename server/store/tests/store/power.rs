//! Power cuts at any moment: what was acknowledged is there, and of a batch all or nothing.

use std::collections::BTreeMap;

use keepboth_store::Task;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::chores::chore;
use crate::harness::put_op;
use crate::simulated::Disk;

/// What was written: by key, the values in order, and how many of them are acknowledged for sure.
type Written = BTreeMap<String, (Vec<String>, usize)>;

/// Writes batches of two keys until the disk dies at a random operation, then cuts the power.
fn life(disk: &Disk, rng: &mut StdRng, written: &mut Written, round: u64) -> Disk {
    let bench = disk.open();
    bench.check();
    check(&bench, written, round);
    disk.fail_after(rng.random_range(0..60));
    for n in 0..rng.random_range(1..30_u64) {
        let keys = [rng.random_range(0..5), rng.random_range(5..10)].map(|n| format!("k{n}"));
        let value = format!("{round}/{n}");
        for key in &keys {
            written.entry(key.clone()).or_default().0.push(value.clone());
        }
        let ops = keys.iter().map(|key| put_op(key, &value)).collect();
        let outcome = bench.ask(|done| Task::Local { ops, now: n, done });
        if outcome.is_err() {
            break;
        }
        for key in &keys {
            let (values, sure) = written.get_mut(key).expect("written");
            *sure = values.len();
        }
    }
    let after = disk.power_cut(rng);
    drop(bench);
    after
}

/// Every value found is the last acknowledged one or a later one.
fn check(bench: &crate::harness::Bench, written: &mut Written, round: u64) {
    for (key, (values, sure)) in written.iter_mut() {
        let found = bench.get(key).ok();
        let place = found.as_ref().map(|found| {
            values.iter().rposition(|value| value == found).expect("a value somebody wrote") + 1
        });
        assert!(
            place.unwrap_or(0) >= *sure,
            "round {round}: {key} is {found:?}, sure was {sure} of {values:?}"
        );
        // What was found is durable from now on, what was not is gone.
        values.truncate(place.unwrap_or(0));
        *sure = values.len();
    }
}

#[test]
fn acknowledged_writes_survive_power_cuts_at_any_moment() {
    for seed in 0..80 {
        let outcome = std::panic::catch_unwind(|| lives(seed));
        assert!(outcome.is_ok(), "seed {seed} failed");
    }
}

fn lives(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut disk, mut written) = (Disk::default(), Written::new());
    for round in 0..6 {
        disk = life(&disk, &mut rng, &mut written, round);
    }
    let bench = disk.open();
    bench.check();
    check(&bench, &mut written, 6);
}

/// Tasks of every kind until the disk dies at a random operation, then the power goes.
fn busy_life(disk: &Disk, peer: &crate::harness::Bench, rng: &mut StdRng, round: u64) -> Disk {
    let bench = disk.open();
    bench.verify();
    disk.fail_after(rng.random_range(0..60));
    for n in 0..rng.random_range(1..30_u64) {
        if chore(&bench, peer, rng, round * 100 + n).is_unknown() {
            break;
        }
    }
    let after = disk.power_cut(rng);
    drop(bench);
    after
}

#[test]
fn whatever_was_taken_away_or_hidden_a_power_cut_leaves_a_whole_store() {
    for seed in 0..40 {
        let outcome = std::panic::catch_unwind(|| {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut disk, peer) = (Disk::default(), crate::harness::Bench::new());
            let mut last = 0;
            for round in 0..6 {
                disk = busy_life(&disk, &peer, &mut rng, round);
                let bench = disk.open();
                bench.verify();
                let sequence = bench.store.counts().last_sequence;
                assert!(sequence >= last, "round {round}: sequence {sequence} after {last}");
                last = sequence;
                bench.store.close();
            }
        });
        assert!(outcome.is_ok(), "seed {seed} failed");
    }
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all_after_a_power_cut() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = Disk::default();
        let bench = disk.open();
        disk.fail_after(seed % 15);
        let ops = (0..20).map(|n| put_op(&format!("k{n}"), "x")).collect();
        let outcome = bench.batch(ops, 1);
        let disk = disk.power_cut(&mut rng);
        drop(bench);
        let bench = disk.open();
        let there = (0..20).filter(|n| bench.get(&format!("k{n}")).is_ok()).count();
        assert!(there == 20 || there == 0 && outcome.is_err(), "seed {seed}: {there} of 20");
        bench.check();
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_by_this_very_test() {
    let mut lost = false;
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = Disk::default();
        let bench = disk.open();
        disk.lie();
        bench.put("k", "x", 1);
        let disk = disk.power_cut(&mut rng);
        drop(bench);
        let opened = std::panic::catch_unwind(|| disk.open().get("k").is_ok());
        lost |= !opened.unwrap_or(false);
    }
    assert!(lost, "the simulated power cut loses nothing");
}
