//! The journal: what was answered is there after a crash, and no journal but the right one is taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepboth_core::ids::NodeId;
use keepboth_core::refusal::Code;
use keepboth_store::{Durability, OpenError, Options, Store, Task, journal_of};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::harness::{Bench, crash, mark, namespace, put_op};
use crate::simulated::Disk;

/// What records begin at a multiple of.
const BLOCK: usize = 512;

/// A store in a folder of its own, and a place for copies of it.
struct Files {
    folder: TempDir,
    path: PathBuf,
}

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.redb");
        Files { folder, path }
    }

    fn open(&self) -> Bench {
        Bench::file(&self.path)
    }

    /// The files as a crash would leave them now.
    fn crashed(&self, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        crash(&self.path, &copy);
        copy
    }
}

fn put_many(bench: &Bench, keys: std::ops::Range<u64>) {
    for n in keys {
        bench.put(&format!("k{n}"), &n.to_string(), n);
    }
}

/// The values of `k0` to `k9`, up to the first that is not there; no later one may be.
fn count(bench: &Bench) -> u64 {
    let there: Vec<bool> = (0..10).map(|n| bench.get(&format!("k{n}")).is_ok()).collect();
    let count = there.iter().take_while(|there| **there).count();
    assert!(there[count..].iter().all(|there| !there), "{there:?}");
    count as u64
}

/// The file in which a journal begins.
fn first(path: &Path) -> PathBuf {
    let [first, _] = journal_of(path);
    first
}

/// Why the store is not opened: its journal is not right, and the words name the files.
fn refused(path: &Path) -> String {
    let error = Bench::try_file(path).map(|_| ()).expect_err("refused");
    assert!(matches!(error, OpenError::Journal { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains(&path.display().to_string()), "{words}");
    let journal = journal_of(path).map(|file| words.contains(&file.display().to_string()));
    assert!(journal.contains(&true), "{words}");
    assert!(words.contains("put an empty file in its place"), "{words}");
    words
}

#[test]
fn what_was_answered_is_there_after_a_crash() {
    let files = Files::new();
    let bench = files.open();
    put_many(&bench, 0..10);
    bench.delete("k9", 20);
    let (root, counts) = (bench.store.root(), bench.store.counts());
    let copy = files.crashed("crashed.redb");
    let again = Bench::file(&copy);
    assert_eq!((again.store.root(), again.store.counts()), (root, counts));
    assert_eq!((count(&again), again.store.epoch(), again.store.id()), (9, 1, bench.store.id()));
    again.verify();
    assert_eq!(again.put("k9", "again", 30).sequence, counts.last_sequence + 1);
}

#[test]
fn a_store_that_crashes_again_and_again_keeps_what_was_answered_between() {
    let files = Files::new();
    let mut path = files.path.clone();
    let mut bench = Bench::file(&path);
    for n in 0..10 {
        put_many(&bench, n..n + 1);
        let copy = files.folder.path().join(format!("crash{n}.redb"));
        crash(&path, &copy);
        bench = Bench::file(&copy);
        assert_eq!(count(&bench), n + 1);
        path = copy;
    }
    bench.verify();
}

/// A crashed store of three puts; where the last record begins, and where it ends.
fn three(files: &Files) -> (PathBuf, usize, usize) {
    let bench = files.open();
    put_many(&bench, 0..2);
    let before = fs::read(first(&files.path)).expect("a journal");
    put_many(&bench, 2..3);
    let copy = files.crashed("three.redb");
    let after = fs::read(first(&copy)).expect("a journal");
    let changed = |(at, (a, b)): (usize, (&u8, &u8))| (a != b).then_some(at);
    let start = before.iter().zip(&after).enumerate().find_map(changed).expect("a record");
    let end = after.iter().rposition(|byte| *byte != 0).expect("a record") + 1;
    // First comes the record's hash, of which some bytes may be zero as what was there before.
    assert!(start % BLOCK < 32, "a record begins with a block");
    (copy, start / BLOCK * BLOCK, end)
}

#[test]
fn a_last_group_cut_short_anywhere_is_left_out_and_the_ones_before_it_are_there() {
    let files = Files::new();
    let (path, start, end) = three(&files);
    let whole = (fs::read(&path).expect("read"), fs::read(first(&path)).expect("read"));
    for cut in (start..end).step_by(23).chain([end - 1, end]) {
        // Cut off, or what the file system had reserved.
        for rest in [0, whole.1.len() - cut] {
            let copy = files.folder.path().join("cut.redb");
            let journal = [&whole.1[..cut], &vec![0; rest]].concat();
            crash(&path, &copy);
            fs::write(&copy, &whole.0).expect("written");
            fs::write(first(&copy), journal).expect("written");
            let bench = Bench::file(&copy);
            assert_eq!(count(&bench), if cut == end { 3 } else { 2 }, "cut at {cut}");
            bench.verify();
        }
    }
}

#[test]
fn a_damaged_group_before_others_is_refused_and_not_skipped() {
    let files = Files::new();
    let (path, start, _) = three(&files);
    let whole = fs::read(first(&path)).expect("read");
    for at in (BLOCK..start).step_by(61) {
        let mut wrong = whole.clone();
        wrong[at] ^= 1;
        // Zeros behind a record are no part of it.
        if whole[at] == 0 {
            continue;
        }
        fs::write(first(&path), wrong).expect("written");
        let words = refused(&path);
        assert!(words.contains("is damaged, and later ones are whole"), "byte {at}: {words}");
    }
    fs::write(first(&path), &whole).expect("written");
    assert_eq!(count(&Bench::file(&path)), 3);
}

#[test]
fn a_missing_journal_is_refused_until_somebody_says_that_it_is_lost() {
    let files = Files::new();
    let (path, ..) = three(&files);
    for file in journal_of(&path) {
        let whole = fs::read(&file).expect("read");
        fs::remove_file(&file).expect("removed");
        let words = refused(&path);
        assert!(words.contains("it is missing"), "{words}");
        assert!(words.contains(&file.display().to_string()), "{words}");
        fs::write(&file, whole).expect("written");
    }
    fs::write(first(&path), "").expect("written");
    let bench = Bench::file(&path);
    assert_eq!(count(&bench), 0, "nothing was in the database for good");
    assert_eq!(bench.store.epoch(), 2, "sequences are given a second time");
    put_many(&bench, 0..5);
    bench.verify();
}

#[test]
fn the_journal_of_another_store_or_of_another_time_is_refused() {
    let (files, other) = (Files::new(), Files::new());
    let (path, ..) = three(&files);
    let (foreign, ..) = three(&other);
    fs::copy(first(&foreign), first(&path)).expect("copied");
    assert!(refused(&path).contains("it is that of store"));
    fs::write(first(&path), "this is a letter and no journal").expect("written");
    assert!(refused(&path).contains("it is no journal"));
    // The same store, opened another time.
    let mine = first(&files.path);
    let bench = files.open();
    put_many(&bench, 3..5);
    fs::copy(mine, first(&path)).expect("copied");
    assert!(refused(&path).contains("of another time"));
}

#[test]
fn an_older_copy_of_the_database_beside_its_journal_is_refused() {
    let files = Files::new();
    let options = Options { journal_bytes_max: 4 * BLOCK, ..Options::default() };
    let open = |tell| Store::open(&files.path, &namespace(), options, tell);
    let bench = Bench::start(open).expect("a store");
    put_many(&bench, 0..1);
    let path = files.crashed("older.redb");
    let older = fs::read(&path).expect("read");
    // Of two files of a journal the newer one may go on from the older copy; not what comes after it.
    let words = (1..10_000).find_map(|n| {
        put_many(&bench, n..n + 1);
        for (from, to) in journal_of(&files.path).iter().zip(journal_of(&path)) {
            fs::copy(from, to).expect("copied");
        }
        fs::write(&path, &older).expect("put back");
        match Bench::try_file(&path) {
            Ok(again) => {
                again.verify();
                assert_eq!(again.store.counts(), bench.store.counts());
                None
            }
            Err(e) => Some(e.to_string()),
        }
    });
    let words = words.expect("refused");
    assert!(words.contains("it goes on from a later state"), "{words}");
}

#[test]
fn a_closed_store_is_whole_without_a_journal() {
    let (files, elsewhere) = (Files::new(), Files::new());
    let bench = files.open();
    put_many(&bench, 0..10);
    let (root, counts) = (bench.store.root(), bench.store.counts());
    assert!(first(&files.path).exists());
    bench.store.close();
    assert!(!first(&files.path).exists());
    fs::copy(&files.path, &elsewhere.path).expect("copied");
    let copy = elsewhere.open();
    assert_eq!((copy.store.root(), copy.store.counts(), count(&copy)), (root, counts, 10));
    copy.verify();
    copy.store.close();
    assert!(!first(&elsewhere.path).exists(), "nothing was written");
}

#[test]
fn a_journal_that_was_not_removed_at_the_close_does_no_harm() {
    let files = Files::new();
    let bench = files.open();
    put_many(&bench, 0..3);
    let kept = files.crashed("kept.redb");
    bench.store.close();
    for (from, to) in journal_of(&kept).iter().zip(journal_of(&files.path)) {
        fs::copy(from, to).expect("copied");
    }
    let bench = files.open();
    assert_eq!((count(&bench), bench.store.epoch()), (3, 1));
    assert!(!first(&files.path).exists());
}

#[test]
fn a_journal_of_another_time_beside_a_closed_store_is_put_aside() {
    let files = Files::new();
    let bench = files.open();
    put_many(&bench, 0..3);
    bench.store.close();
    let backup = fs::read(&files.path).expect("read");
    let bench = files.open();
    put_many(&bench, 3..6);
    let crashed = files.crashed("crashed.redb");
    fs::write(&crashed, backup).expect("put back");
    let bench = Bench::file(&crashed);
    assert_eq!(count(&bench), 3);
    assert!(!first(&crashed).exists());
    for unused in ["journal-a-unused", "journal-b-unused"] {
        assert!(crashed.with_extension(unused).exists(), "{unused}");
    }
    put_many(&bench, 3..4);
    bench.verify();
}

#[test]
fn the_journal_begins_anew_again_and_again_and_what_was_answered_is_there_after_each_crash() {
    let files = Files::new();
    let (journal_bytes_max, late_bytes_max) = (8 * 1024, 2 * 1024);
    let options = Options { journal_bytes_max, late_bytes_max, ..Options::default() };
    let open = |tell| Store::open(&files.path, &namespace(), options, tell);
    let bench = Bench::start(open).expect("a store");
    let (mut begun, mut before) = (0, 0);
    for n in 0..100_000 {
        put_many(&bench, n..n + 1);
        let now = bench.store.journal_bytes();
        if now < before {
            begun += 1;
            let again = Bench::file(&files.crashed("crashed.redb"));
            assert_eq!(again.store.counts(), bench.store.counts());
            again.verify();
        }
        before = now;
        if begun == 5 {
            return;
        }
    }
    panic!("it was begun anew {begun} times");
}

#[test]
fn a_full_disk_is_a_clear_refusal_of_which_nothing_is_there() {
    let disk = Disk::default();
    let bench = disk.open_with(Options::default());
    bench.put("k", "one", 1);
    disk.fill(disk.journal_bytes());
    let mut last = 1;
    let refusal = loop {
        last += 1;
        match bench.op(put_op("k", &last.to_string()), last) {
            Ok(_) => continue,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.code, Code::StoreFailed);
    assert!(refusal.message.contains("nothing was written"), "{refusal}");
    assert_eq!(refusal.hint.as_deref(), Some("make room on the disk, and write again"));
    assert_eq!(bench.get("k").expect("found"), (last - 1).to_string());
    assert!(bench.store.is_healthy() && bench.op(put_op("l", "x"), 1).is_err());
    disk.heal();
    bench.put("k", "with room", 9);
    let root = bench.store.root();
    let cut = disk.power_cut(&mut StdRng::seed_from_u64(1));
    let again = cut.open();
    assert_eq!((again.get("k").expect("found").as_str(), again.store.root()), ("with room", root));
    again.verify();
}

fn interval(period: Duration) -> Options {
    Options { durability: Durability::Interval(period), ..Options::default() }
}

const NEVER: Duration = Duration::from_secs(3_600);

#[test]
fn with_an_interval_a_power_cut_may_cost_the_last_answers_and_a_crash_of_the_process_none() {
    let mut lost = 0;
    for seed in 0..30 {
        let (disk, mut rng) = (Disk::default(), StdRng::seed_from_u64(seed));
        let bench = disk.open_with(interval(NEVER));
        put_many(&bench, 0..10);
        assert_eq!(count(&bench), 10);
        let cut = disk.power_cut(&mut rng);
        let bench = cut.open();
        lost += 10 - count(&bench);
        bench.verify();
        assert_eq!(bench.store.epoch(), 2, "seed {seed}: sequences may be given a second time");
    }
    assert!(lost > 0, "nothing was ever lost");
    let files = Files::new();
    let open = |tell| Store::open(&files.path, &namespace(), interval(NEVER), tell);
    let bench = Bench::start(open).expect("a store");
    put_many(&bench, 0..10);
    assert_eq!(count(&Bench::file(&files.crashed("crashed.redb"))), 10);
}

#[test]
fn with_an_interval_what_peers_sent_and_all_before_it_is_durable_when_it_is_answered() {
    for seed in 0..30 {
        let (disk, peer) = (Disk::default(), Bench::new());
        let bench = disk.open_with(interval(NEVER));
        put_many(&bench, 0..5);
        peer.put("theirs", "x", 1);
        bench.learn(&peer, "theirs");
        let cut = disk.power_cut(&mut StdRng::seed_from_u64(seed));
        let bench = cut.open();
        assert_eq!((count(&bench), bench.get("theirs").expect("found").as_str()), (5, "x"));
        bench.verify();
    }
}

#[test]
fn with_an_interval_all_is_durable_when_it_is_over() {
    let disk = Disk::default();
    let bench = disk.open_with(interval(Duration::from_millis(1)));
    put_many(&bench, 0..10);
    while !disk.is_synced() {
        std::thread::yield_now();
    }
    let cut = disk.power_cut(&mut StdRng::seed_from_u64(3));
    assert_eq!(count(&cut.open()), 10);
}

#[test]
fn a_change_to_an_interval_and_back_holds_from_the_next_write() {
    for seed in 0..30 {
        let (disk, mut rng) = (Disk::default(), StdRng::seed_from_u64(seed));
        let bench = disk.open();
        put_many(&bench, 0..2);
        bench.store.set_options(interval(NEVER));
        put_many(&bench, 2..4);
        if seed % 2 == 0 {
            bench.store.set_options(Options::default());
            put_many(&bench, 4..5);
        }
        let again = disk.power_cut(&mut rng).open();
        let there = count(&again);
        assert!(if seed % 2 == 0 { there == 5 } else { there >= 2 }, "seed {seed}: {there}");
        again.verify();
    }
}

#[test]
fn marks_of_peers_are_kept_with_the_next_write() {
    let files = Files::new();
    let bench = files.open();
    put_many(&bench, 0..1);
    let marks = vec![(NodeId([9; 32]), mark(1, 1, 5))];
    bench.store.submit_blocking(Task::Agreed { marks: marks.clone() }).expect("open");
    put_many(&bench, 1..2);
    let again = Bench::file(&files.crashed("crashed.redb"));
    assert_eq!(again.store.snapshot().agreed().expect("marks"), marks);
}

#[test]
fn a_copy_of_a_crashed_store_and_its_journal_becomes_a_store_of_its_own_with_all_it_held() {
    let files = Files::new();
    let (path, ..) = three(&files);
    let options = Options { node: NodeId([4; 32]), ..Options::default() };
    let copy = Bench::start(|tell| Store::open(&path, &namespace(), options, tell));
    let copy = copy.expect("a store");
    assert_eq!((count(&copy), copy.store.epoch()), (3, 2));
    put_many(&copy, 3..4);
    copy.verify();
}
