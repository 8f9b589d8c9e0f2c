//! A sync that fails as on Linux: what it was to write may never come to the disk, though reads show it and later
//! syncs succeed. What was answered is there all the same after a power cut, whoever had the disk meanwhile.

use std::ops::Range;
use std::time::Duration;

use keepboth_core::ids::NodeId;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::{Durability, Options};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Bench, put_op};
use crate::simulated::{DATABASE, Disk, JOURNAL};

/// What was said of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Done,
    Refused,
    Unknown,
}

impl Said {
    fn of<T>(outcome: Result<T, Refusal>) -> Said {
        let Err(refusal) = outcome else { return Said::Done };
        assert_eq!(refusal.code, Code::StoreFailed, "{refusal}");
        if refusal.message.contains("unknown") { Said::Unknown } else { Said::Refused }
    }
}

/// The two keys that only this batch writes.
fn own(batch: usize) -> [String; 2] {
    [format!("a{batch}"), format!("b{batch}")]
}

/// The key that it shares with others.
fn shared(batch: usize) -> String {
    format!("shared{}", batch % 3)
}

/// Writes so many batches of three keys.
fn write(bench: &Bench, said: &mut Vec<Said>, batches: usize) {
    for _ in 0..batches {
        let n = said.len();
        let value = format!("{n} {}", "x".repeat(300));
        let keys = own(n).into_iter().chain([shared(n)]);
        let ops = keys.map(|key| put_op(&key, &value)).collect();
        said.push(Said::of(bench.batch(ops, n as u64)));
    }
}

/// What was answered is there, what was refused is not, and of each batch all or nothing.
fn check(bench: &Bench, said: &[Said]) {
    // The database is open again once this is answered.
    bench.batch(Vec::new(), 0).expect("the store goes on");
    bench.verify();
    let mut newest = [None; 3];
    for (n, said) in said.iter().enumerate() {
        let [a, b] = own(n).map(|key| bench.get(&key).is_ok());
        assert_eq!(a, b, "half of batch {n} is there");
        match said {
            Said::Done => assert!(a, "batch {n} was answered and is lost"),
            Said::Refused => assert!(!a, "batch {n} was refused and is there"),
            Said::Unknown => {}
        }
        if a {
            newest[n % 3] = Some(n);
        }
    }
    for (n, newest) in newest.into_iter().enumerate() {
        let value = bench.get(&shared(n)).ok();
        let batch = value.and_then(|value| value.split(' ').next()?.parse().ok());
        assert_eq!(batch, newest, "which batch wrote {} last", shared(n));
    }
}

/// What one process does with the store.
#[derive(Debug, Clone, Copy)]
struct Process {
    /// To another node than the one before it the store is a copy, and gets an id of its own.
    node: NodeId,
    batches: usize,
    /// True if it is killed; otherwise it closes the store.
    killed: bool,
}

const WRITES: Process = Process { node: NodeId([0; 32]), batches: 8, killed: false };
const ONLY_OPENS: Process = Process { batches: 0, ..WRITES };

fn any(rng: &mut StdRng) -> Process {
    let batches = [0, 0, 3, 8][rng.random_range(0..4)];
    Process { node: NodeId([rng.random_range(0..2); 32]), batches, killed: rng.random() }
}

/// Lets processes have a disk, one after the other, of which these syncs of a file fail; then the power goes. True
/// if one failed.
fn lives(processes: &[Process], file: usize, fail: Range<u64>, rng: &mut StdRng) -> bool {
    let (mut disk, mut said) = (Disk::default(), Vec::new());
    let most = fail.end - fail.start;
    disk.drop_at_syncs(file, fail, rng.random());
    for process in processes {
        let open = || disk.try_open(process.node);
        let bench = (0..most).find_map(|_| open().ok());
        let bench = bench.unwrap_or_else(|| open().expect("a store"));
        write(&bench, &mut said, process.batches);
        if most == 1 {
            check(&bench, &said);
        }
        if process.killed {
            disk = disk.kill();
        }
    }
    let failed = disk.has_dropped();
    for batches in [3, 0] {
        let unsure = said.iter().filter(|said| **said == Said::Unknown).count();
        assert!(unsure as u64 <= most, "{most} syncs failed, {unsure} answers are unknown");
        disk = disk.power_cut(rng);
        let bench = disk.open();
        check(&bench, &said);
        bench.check();
        write(&bench, &mut said, batches);
    }
    failed
}

/// Lives in which in turn each sync of these files is the first of so many that fail.
fn fail_each(files: &[usize], most: u64, seeds: u64, live: impl Fn(&mut StdRng) -> Vec<Process>) {
    for (file, seed) in files.iter().flat_map(|file| (0..seeds).map(|seed| (*file, seed))) {
        // Without its first sync the file is none of redb's, and is refused.
        let first = u64::from(file == DATABASE);
        let failed = (first..).take_while(|at| {
            let mut rng = StdRng::seed_from_u64(seed);
            let processes = live(&mut rng);
            let lives = || lives(&processes, file, *at..at + most, &mut rng);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(lives));
            assert!(outcome.is_ok(), "seed {seed}, file {file}, sync {at}: {processes:?}");
            outcome.is_ok_and(|failed| failed)
        });
        assert!(failed.count() > 0, "seed {seed}: no sync of file {file} failed");
    }
}

fn four(rng: &mut StdRng) -> Vec<Process> {
    (0..4).map(|_| any(rng)).collect()
}

#[test]
fn after_a_sync_of_the_database_that_dropped_anything_the_store_goes_on_and_nothing_is_lost() {
    fail_each(&[DATABASE], 1, 8, four);
}

#[test]
fn after_a_sync_of_the_journal_that_dropped_anything_the_store_goes_on_and_nothing_is_lost() {
    fail_each(&JOURNAL, 1, 5, |rng| [vec![WRITES], four(rng)].concat());
}

#[test]
fn after_two_such_syncs_in_a_row_nothing_that_was_answered_is_lost() {
    fail_each(&[DATABASE, JOURNAL[0], JOURNAL[1]], 2, 3, |rng| [vec![WRITES], four(rng)].concat());
}

#[test]
fn a_sync_that_fails_while_nothing_is_written_costs_nothing_later() {
    let crashes = Process { killed: true, ..WRITES };
    let copied = Process { node: NodeId([1; 32]), ..ONLY_OPENS };
    let made = vec![ONLY_OPENS];
    let crashed = vec![crashes, ONLY_OPENS, Process { batches: 1, ..crashes }];
    for processes in [made, crashed, vec![WRITES, copied]] {
        fail_each(&[DATABASE], 1, 4, |_| processes.clone());
    }
}

#[test]
fn with_an_interval_what_a_failed_sync_dropped_is_durable_once_the_next_write_has_met_it() {
    for seed in 0..20 {
        let (disk, mut said) = (Disk::default(), Vec::new());
        let durability = Durability::Interval(Duration::from_millis(1));
        let bench = disk.open_with(Options { durability, ..Options::default() });
        write(&bench, &mut said, 1);
        disk.drop_at_syncs(JOURNAL[0], 0..1, seed);
        while !said.contains(&Said::Unknown) {
            write(&bench, &mut said, 1);
        }
        check(&bench, &said);
        let cut = disk.power_cut(&mut StdRng::seed_from_u64(seed));
        let outcome = std::panic::catch_unwind(|| check(&cut.open(), &said));
        assert!(outcome.is_ok(), "seed {seed}: {said:?}");
    }
}
