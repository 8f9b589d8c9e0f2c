//! A disk that fails: the answer says unknown, the store opens its database again and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepboth_core::refusal::Code;
use keepboth_store::{Durability, OpenError, Options, Store};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::chores::{Done, chore};
use crate::harness::{Bench, code, key, namespace, patiently, put_op};
use crate::simulated::Disk;

/// Writes with one failing operation; gives what was acknowledged and how many answers were unknown.
fn write_with_fault(
    disk: &Disk,
    bench: &Bench,
    fail_after: u64,
) -> (BTreeMap<String, String>, usize) {
    let (mut acknowledged, mut unknown) = (BTreeMap::new(), 0);
    acknowledged.insert("before".into(), bench.put("before", "x", 1).key.to_string());
    disk.fail_after(fail_after);
    for n in 0..6 {
        let (at, value) = (format!("k{}", n % 4), format!("{n}"));
        match bench.op(put_op(&at, &value), n) {
            Ok(_) => {
                acknowledged.insert(at, value);
            }
            Err(refusal) => {
                assert_eq!(refusal.code, Code::StoreFailed, "{refusal}");
                // Else the database failed before anything was done.
                if refusal.message.contains("unknown") {
                    acknowledged.remove(&at);
                    unknown += 1;
                }
            }
        }
    }
    // The database is open again once the next task is answered.
    bench.commits();
    (acknowledged, unknown)
}

#[test]
fn after_any_failed_write_or_sync_the_store_goes_on_with_all_it_acknowledged() {
    let mut n = 0;
    loop {
        let disk = Disk::default();
        let bench = disk.open();
        let (acknowledged, unknown) = write_with_fault(&disk, &bench, n);
        assert!(unknown <= 1, "operation {n}: one fault, {unknown} unknown answers");
        let met = disk.has_failed();
        for (at, value) in acknowledged.iter().filter(|(at, _)| *at != "before") {
            assert_eq!(&bench.get(at).expect("acknowledged"), value, "operation {n}");
        }
        bench.verify();
        disk.heal();
        bench.put("after", "x", 9);
        drop(bench);
        let again = disk.open();
        again.check();
        for (at, value) in acknowledged.iter().filter(|(at, _)| *at != "before") {
            assert_eq!(&again.get(at).expect("acknowledged"), value, "operation {n}");
        }
        if !met {
            break;
        }
        n += 1;
    }
    assert!(n > 10, "only {n} faults were met");
}

#[test]
fn after_any_failed_write_of_any_task_the_store_is_whole_and_what_was_answered_is_so() {
    let mut failures = 0;
    for n in 0..60 {
        let mut rng = StdRng::seed_from_u64(n);
        let (disk, peer) = (Disk::default(), Bench::new());
        let bench = disk.open();
        for now in 0..30 {
            chore(&bench, &peer, &mut rng, now);
        }
        disk.fail_after(n);
        for now in 30..50 {
            let done = chore(&bench, &peer, &mut rng, now);
            bench.commits();
            bench.verify();
            match done {
                Done::Forgot(at, Ok(1)) => {
                    assert_eq!(code(bench.get(&at)), Code::NotFound);
                    assert!(bench.tips(&at).is_empty(), "{at} is forgotten");
                }
                Done::Wrote(Ok(written)) => {
                    let key = written.key.to_string();
                    assert!(bench.versions(&key).contains(&written.version));
                }
                _ => {}
            }
        }
        failures += usize::from(disk.has_failed());
        disk.heal();
        let (root, counts) = (bench.store.root(), bench.store.counts());
        drop(bench);
        let again = disk.open();
        assert_eq!((again.store.root(), again.store.counts()), (root, counts), "operation {n}");
        again.verify();
    }
    assert!(failures > 40, "only {failures} of 60 faults were met");
}

#[test]
fn with_an_interval_a_failed_sync_costs_nothing_while_the_process_lives() {
    for n in 0..40 {
        let disk = Disk::default();
        let durability = Durability::Interval(Duration::from_millis(1));
        let bench = disk.open_with(Options { durability, ..Options::default() });
        let (acknowledged, _) = write_with_fault(&disk, &bench, n);
        for (at, value) in acknowledged.iter().filter(|(at, _)| *at != "before") {
            assert_eq!(&bench.get(at).expect("acknowledged"), value, "operation {n}");
        }
        bench.verify();
        disk.heal();
        // A sync that failed behind is noticed by the write after it.
        let _ = bench.op(put_op("noticed", "x"), 8);
        bench.put("after", "x", 9);
    }
}

#[test]
fn what_is_there_after_a_failed_commit_is_told() {
    for n in 0..40 {
        let disk = Disk::default();
        let bench = disk.open();
        bench.put("k", "old", 1);
        bench.commits();
        match n {
            0 => disk.fail_sync_of_journal(),
            n => disk.fail_after(n - 1),
        }
        let outcome = bench.op(put_op("k", "new"), 2);
        let changes = bench.changes();
        let value = bench.get("k").expect("found");
        assert_eq!(changes.len(), usize::from(value == "new"), "operation {n}: {outcome:?}");
        if n == 0 {
            assert!(outcome.is_err() && value == "new", "it is there all the same: {outcome:?}");
        }
    }
}

#[test]
fn a_disk_that_is_gone_ends_writing_and_says_so() {
    let disk = Disk::default();
    let bench = disk.open();
    bench.put("k", "one", 1);
    disk.die();
    for _ in 0..3 {
        assert_eq!(code(bench.op(put_op("k", "two"), 2)), Code::StoreFailed);
    }
    let refusal = bench.op(put_op("k", "two"), 2).expect_err("stopped");
    assert!(refusal.message.contains("takes no writes"), "{refusal}");
    assert!(!bench.store.is_healthy());
    bench.store.close();
}

#[test]
fn a_database_that_had_no_room_to_grow_takes_writes_again_when_there_is_some() {
    let disk = Disk::default();
    let bench = disk.open();
    disk.fill_database();
    let value = "x".repeat(4_000);
    let mut answered = 0;
    // Each is durable in the journal before the database needs room for it.
    while bench.op(put_op(&format!("k{answered}"), &value), answered).is_ok() {
        answered += 1;
    }
    assert!(!bench.store.is_healthy());
    disk.heal();
    patiently(|| bench.op(put_op("after", "x"), 1).is_ok());
    for n in 0..answered {
        assert_eq!(bench.get(&format!("k{n}")).expect("answered"), value, "{n} of {answered}");
    }
    bench.verify();
}

/// Puts, and what became of them.
#[derive(Default)]
struct Puts {
    answered: BTreeMap<String, String>,
    refused: BTreeSet<String>,
}

impl Puts {
    fn put(&mut self, bench: &Bench, number: u64) {
        // Large enough that the database is made durable every few puts.
        let (at, value) = (format!("k{number}"), number.to_string().repeat(700));
        match bench.op(put_op(&at, &value), number) {
            Ok(_) => drop(self.answered.insert(at, value)),
            Err(refusal) => {
                assert_eq!(refusal.code, Code::StoreFailed, "{refusal}");
                self.refused.insert(at);
            }
        }
    }

    /// Goes on until some are refused and the database has failed: a journal that cannot be made longer may refuse
    /// some before that.
    fn until_refused(&mut self, bench: &Bench) {
        let mut number = 20;
        patiently(|| {
            self.put(bench, number);
            number += 1;
            self.refused.len() >= 3 && !bench.store.is_healthy()
        });
    }

    fn all_answered_are_there(&self, bench: &Bench, at: &str) {
        for (key, value) in &self.answered {
            assert_eq!(&bench.get(key).expect("answered"), value, "{at}: {key}");
        }
    }
}

/// Writes to a disk that takes no writes from its `n`th operation on.
fn write_until_refused(disk: &Disk, bench: &Bench, n: u64) -> Puts {
    let mut puts = Puts::default();
    (0..20).for_each(|number| puts.put(bench, number));
    disk.refuse_after(n);
    puts.until_refused(bench);
    puts
}

#[test]
fn a_disk_that_takes_no_more_writes_is_read_and_shows_all_that_was_answered_and_nothing_else() {
    for n in 0..100 {
        let disk = Disk::default();
        let bench = disk.open();
        let puts = write_until_refused(&disk, &bench, n);
        puts.all_answered_are_there(&bench, &format!("operation {n}"));
        for key in &puts.refused {
            assert_eq!(code(bench.get(key)), Code::NotFound, "operation {n}: {key}");
        }
        bench.verify();
    }
}

#[test]
fn a_disk_that_fails_and_then_takes_no_more_writes_is_read_however_far_the_store_was_opened_again()
{
    for n in 0..12 {
        for later in 1..25 {
            let disk = Disk::default();
            let bench = disk.open();
            let mut puts = Puts::default();
            (0..20).for_each(|number| puts.put(&bench, number));
            disk.fail_after(n);
            disk.refuse_after(n + later);
            puts.until_refused(&bench);
            puts.all_answered_are_there(&bench, &format!("operation {n}, and {later} later"));
            bench.verify();
        }
    }
}

#[test]
fn a_disk_that_takes_writes_again_is_written_to_again_and_nothing_that_was_answered_is_lost() {
    for n in [0, 1, 7] {
        let disk = Disk::default();
        let bench = disk.open();
        let puts = write_until_refused(&disk, &bench, n);
        disk.heal();
        patiently(|| bench.op(put_op("after", "x"), 200).is_ok());
        assert!(bench.store.is_healthy());
        bench.verify();
        drop(bench);
        let again = disk.open();
        puts.all_answered_are_there(&again, &format!("operation {n}"));
        assert_eq!(again.get("after").expect("answered"), "x");
        again.verify();
    }
}

#[test]
fn a_disk_that_takes_writes_again_is_noticed_though_nobody_writes() {
    let disk = Disk::default();
    let bench = disk.open();
    write_until_refused(&disk, &bench, 0);
    disk.heal();
    // As whoever looks at the status or the metrics does.
    patiently(|| bench.store.trouble().is_none());
    bench.put("after", "x", 200);
}

#[test]
fn a_disk_that_fails_while_opening_is_refused() {
    let disk = Disk::default();
    disk.die();
    let made = Store::on_backend(move || disk.database(), &namespace(), Options::default(), |_| {});
    assert!(matches!(made.map(|_| ()).expect_err("refused"), OpenError::Failed { .. }));
}

#[test]
fn a_store_that_failed_raises_no_event_twice_and_loses_none() {
    let other = Bench::new();
    other.put("k", "theirs", 2);
    for n in 0..14 {
        let disk = Disk::default();
        let bench = disk.open();
        bench.put("k", "mine", 1);
        let events = other.store.snapshot().missing(&key("k"), &[]).expect("events");
        disk.fail_after(n);
        let task = |events: Vec<keepboth_core::version::Event>| {
            let events = events.into_iter().map(Into::into).collect();
            let from = keepboth_core::ids::NodeId([5; 32]);
            bench.ask(|done| keepboth_store::Task::Remote {
                events,
                from,
                maker: None,
                now: 3,
                done,
            })
        };
        let first = task(events.clone());
        task(events.clone()).expect("the fault is over, or there was none");
        let raised = bench.raised();
        assert_eq!(raised.len(), 1, "operation {n}: {first:?}");
        bench.check();
    }
}
