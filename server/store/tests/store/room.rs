//! A disk that has little room left: writes are refused before the database fails for want of it, so what is there
//! can be read, and nothing is lost.

use std::collections::BTreeMap;

use keepboth_core::refusal::Code;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{patiently, put_op};
use crate::simulated::Disk;

const MIB: u64 = 1024 * 1024;

#[test]
fn while_a_disk_has_little_room_writes_are_refused_and_what_is_there_is_read() {
    let disk = Disk::default();
    let bench = disk.open();
    bench.put("k", "there", 1);
    disk.leave(MIB);
    // The first of these may come before the disk is looked at.
    let refused = (0..1_000).find_map(|n| bench.op(put_op("k", &format!("{n}")), n).err());
    let refusal = refused.expect("a refusal");
    assert_eq!(refusal.code, Code::StoreFailed);
    let words = "the disk has 1.0 MiB left, and the database may need 8.0 MiB: nothing is written";
    assert!(refusal.message.starts_with(words), "{refusal}");
    let told = bench.store.trouble().map(|trouble| trouble.message);
    assert_eq!(told, Some(refusal.message.clone()), "it is told as well");
    assert!(bench.store.is_healthy(), "what is there is read");

    let last = bench.get("k").expect("still there");
    assert_eq!(bench.op(put_op("k", "more"), 1_001).expect_err("again").code, refusal.code);
    assert_eq!(bench.get("k").expect("still there"), last);
    bench.verify();
    disk.leave(2 * MIB);
    patiently(|| bench.store.trouble().expect("too little").message.contains("has 2.0 MiB left"));

    disk.leave(100 * MIB);
    // It is looked at once more, without a write.
    patiently(|| bench.store.trouble().is_none());
    bench.put("k", "later", 1_002);
    drop(bench);
    let again = disk.open();
    assert_eq!(again.get("k").expect("there"), "later");
    again.check();
}

#[test]
fn what_was_answered_before_a_disk_was_full_is_there_after_a_kill() {
    let disk = Disk::default();
    let bench = disk.open();
    disk.leave(MIB);
    let answered = (0..1_000).take_while(|n| bench.op(put_op(&format!("k{n}"), "x"), *n).is_ok());
    let answered = answered.count();
    let killed = disk.kill();
    let again = killed.open();
    for n in 0..answered {
        assert_eq!(again.get(&format!("k{n}")).expect("answered"), "x", "{n} of {answered}");
    }
    assert_eq!(again.get(&format!("k{answered}")).expect_err("refused").code, Code::NotFound);
    again.check();
}

#[test]
fn however_the_room_of_a_disk_changes_what_was_answered_is_there_and_what_was_refused_is_not() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut disk, mut there) = (Disk::default(), BTreeMap::new());
        let mut refused = 0;
        for life in 0..3 {
            let bench = disk.open();
            for n in 0..60 {
                if rng.random_range(0..5) == 0 {
                    disk.leave(rng.random_range(0..16 * MIB));
                }
                let value = format!("{life} {n} {}", "x".repeat(rng.random_range(0..20_000)));
                let key = format!("k{}", rng.random_range(0..12));
                match bench.op(put_op(&key, &value), n) {
                    Ok(_) => drop(there.insert(key, value)),
                    Err(refusal) => {
                        assert!(refusal.message.starts_with("the disk has"), "{seed}: {refusal}");
                        refused += 1;
                    }
                }
            }
            for (key, value) in &there {
                assert_eq!(bench.get(key).as_ref(), Ok(value), "seed {seed}, life {life}: {key}");
            }
            bench.verify();
            if rng.random() {
                disk = disk.kill();
            }
        }
        assert!(refused > 0, "seed {seed}: nothing was refused");
        disk.leave(100 * MIB);
        let bench = disk.open();
        bench.check();
        for (key, value) in &there {
            assert_eq!(bench.get(key).as_ref(), Ok(value), "seed {seed}: {key}");
        }
    }
}

#[test]
fn a_journal_that_cannot_be_made_longer_is_told_of_until_the_disk_takes_what_comes() {
    let disk = Disk::default();
    let bench = disk.open();
    bench.put("k", "there", 1);
    let long = "x".repeat(65_400);
    for shorter in [true, false] {
        disk.fill(64 * 1024);
        let told = || bench.store.trouble().map(|trouble| trouble.message);
        patiently(|| {
            let refusal = bench.op(put_op("long", &long), 2).expect_err("no room");
            assert_eq!(refusal.code, Code::StoreFailed);
            let words = "the journal cannot be made longer (";
            assert!(refusal.message.starts_with(words), "{refusal}");
            told() == Some(refusal.message)
        });
        match shorter {
            true => drop(bench.put("k", "shorter", 3)),
            false => disk.heal(),
        }
        patiently(|| told().is_none());
    }
    bench.put("long", &long, 4);
    assert_eq!(bench.get("k").expect("there"), "shorter");
    bench.verify();
}
