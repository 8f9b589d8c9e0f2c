//! Durable puts a second against a bare redb transaction that writes the same kinds of rows; run by hand.
//!
//! `cargo test --release -p keepboth-store -- --ignored --nocapture rates`

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use keepboth_core::name::{Key, Name};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Options, Store, Task};
use redb::{Database, TableDefinition};

use crate::harness::namespace;

const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
const NAMES: TableDefinition<&[u8; 16], &str> = TableDefinition::new("names");
const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const VALUES: TableDefinition<u64, &[u8]> = TableDefinition::new("values");
const HOW_LONG: Duration = Duration::from_secs(3);

fn key_of(n: u64) -> String {
    format!("user/{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn value_of(n: u64) -> Vec<u8> {
    let mut value = vec![b'x'; 1024];
    value[..8].copy_from_slice(&n.to_be_bytes());
    value
}

/// Puts of new keys, this many in flight, as one a second.
fn store_rate(path: &Path, in_flight: u64, keys: u64) -> f64 {
    let store = Store::open(path, &namespace(), Options::default(), |_| {}).expect("a store");
    let (sender, answers) = mpsc::channel();
    let submit = |n: u64| {
        let sender = sender.clone();
        let name = Name::Key(Key::new(&key_of(n % keys)).expect("a key"));
        let op = Op::Put { name, value: Value::bytes(value_of(n)), condition: Condition::None };
        let done = Box::new(move |outcome: Result<_, _>| {
            let _ = sender.send(outcome.is_ok());
        });
        store.submit_blocking(Task::Local { ops: vec![op], now: n, done }).expect("open");
    };
    let started = Instant::now();
    (0..in_flight).for_each(submit);
    let (mut next, mut answered) = (in_flight, 0_u64);
    while started.elapsed() < HOW_LONG {
        assert!(answers.recv().expect("an answer"));
        answered += 1;
        submit(next);
        next += 1;
    }
    answered as f64 / started.elapsed().as_secs_f64()
}

/// The same kinds of rows in a bare transaction for each `batch` puts.
fn bare_rate(path: &Path, batch: u64, keys: u64) -> f64 {
    let database = Database::builder().set_cache_size(64 << 20).create(path).expect("a database");
    let started = Instant::now();
    let mut n = 0_u64;
    while started.elapsed() < HOW_LONG {
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut keys_table = transaction.open_table(KEYS).expect("keys");
            let mut names = transaction.open_table(NAMES).expect("names");
            let mut records = transaction.open_table(RECORDS).expect("records");
            let mut values = transaction.open_table(VALUES).expect("values");
            for _ in 0..batch {
                let key = key_of(n % keys);
                records.insert(n, &[1; 140][..]).expect("written");
                values.insert(n, &value_of(n)[..]).expect("written");
                keys_table.insert(&key[..], &[2; 121][..]).expect("written");
                if n < keys {
                    let mut hash = [0; 16];
                    hash.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..16]);
                    names.insert(&hash, &key[..]).expect("written");
                }
                n += 1;
            }
        }
        transaction.commit().expect("a commit");
    }
    n as f64 / started.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement, not a test"]
fn rates_of_durable_puts() {
    for (what, keys) in [("new keys", u64::MAX), ("10,000 keys again and again", 10_000)] {
        for in_flight in [1, 64, 1_000] {
            let folder = tempfile::tempdir().expect("a folder");
            let bare = bare_rate(&folder.path().join("bare"), in_flight, keys);
            let store = store_rate(&folder.path().join("store"), in_flight, keys);
            println!(
                "{what}, {in_flight} in flight: {store:.0} puts/s, bare redb {bare:.0}, ratio {:.2}",
                store / bare
            );
        }
    }
}
