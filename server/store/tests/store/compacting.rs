//! A compaction puts a new file in the place of the only one: whatever fails meanwhile, and whenever the process or
//! the power ends, all is there, and what is answered later stays.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::harness::Bench;
use crate::simulated::{COMPACTING, DATABASE, Disk};

/// A disk with an open store that is compacted when it is closed.
fn filled() -> (Disk, Bench) {
    let (disk, peer) = (Disk::default(), Bench::new());
    disk.cut_compaction_off();
    let bench = disk.open();
    peer.put("k0", "theirs", 1);
    for n in 0..8 {
        bench.put(&format!("k{}", n % 3), &format!("{n} {}", "x".repeat(300)), n);
    }
    bench.learn(&peer, "k0");
    bench.delete("k1", 9);
    (disk, bench)
}

/// What ends the process.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Killed,
    PowerCut,
}

/// Closes a store while something fails, and lets the next process write to it until the power goes. True if it
/// failed.
fn live(fault: impl Fn(&Disk), end: End, seed: u64) -> bool {
    let mut rng = StdRng::seed_from_u64(seed);
    let (disk, bench) = filled();
    let (root, counts) = (bench.store.root(), bench.store.counts());
    fault(&disk);
    bench.store.close();
    let failed = disk.has_failed() || disk.has_dropped();
    assert!(failed || disk.is_compacted());
    let next = match end {
        End::Closed => disk,
        End::Killed => disk.kill(),
        End::PowerCut => disk.power_cut(&mut rng),
    };
    next.heal();
    let bench = next.open();
    assert_eq!((bench.store.root(), bench.store.counts()), (root, counts));
    bench.check();
    let written = bench.put("later", "x", 20);
    let cut = next.power_cut(&mut rng);
    let bench = cut.open();
    assert_eq!(bench.versions("later"), [written.version]);
    assert_eq!(bench.store.counts().last_sequence, written.sequence);
    bench.check();
    failed
}

/// Lives with one fault after the other, until there is nothing left that could fail.
fn fail_each(ends: &[End], fault: impl Fn(&Disk, u64, u64)) {
    for (end, seed) in ends.iter().flat_map(|end| [(*end, 0), (*end, 1)]) {
        let failed = (0..).take_while(|at| {
            let live = || live(|disk| fault(disk, *at, seed), end, seed);
            let outcome = catch_unwind(AssertUnwindSafe(live));
            assert!(outcome.is_ok(), "seed {seed}, fault {at}, then {end:?}");
            outcome.is_ok_and(|failed| failed)
        });
        assert!(failed.count() > 3, "seed {seed}, {end:?}: there were few faults");
    }
}

#[test]
fn a_store_is_whole_whichever_operation_of_its_compaction_fails() {
    fail_each(&[End::Closed, End::Killed, End::PowerCut], |disk, at, _| disk.fail_after(at));
}

#[test]
fn a_store_is_whole_wherever_its_compaction_is_cut_off() {
    fail_each(&[End::Killed, End::PowerCut], |disk, at, _| disk.die_after(at));
}

#[test]
fn a_store_is_whole_whichever_sync_of_its_compaction_drops_what_it_was_to_write() {
    for file in [DATABASE, COMPACTING] {
        fail_each(&[End::Closed, End::Killed, End::PowerCut], |disk, at, seed| {
            disk.drop_at_syncs(file, at..at + 1, seed);
        });
    }
}
