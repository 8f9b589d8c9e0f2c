//! How many rows of the database a put takes.

use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use crate::harness::Bench;

const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
const NAMES: TableDefinition<&[u8; 16], &str> = TableDefinition::new("names");
const PACKS: [TableDefinition<u64, &[u8]>; 2] =
    [TableDefinition::new("records"), TableDefinition::new("values")];
const LATE: TableDefinition<u64, &[u8]> = TableDefinition::new("late");

#[test]
fn a_put_of_a_new_key_takes_two_rows_and_a_part_of_two_packs_and_one_of_an_old_key_no_more_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let value = "x".repeat(1_000);
    for puts in [1_u64, 2] {
        let bench = Bench::file(&path);
        (0..600).for_each(|n| drop(bench.put(&format!("key {n}"), &value, puts)));
        drop(bench);
        let database = Database::open(&path).expect("a database");
        let read = database.begin_read().expect("a transaction");
        assert_eq!(read.open_table(KEYS).expect("keys").len().expect("a length"), 600);
        assert_eq!(read.open_table(NAMES).expect("names").len().expect("a length"), 600);
        assert_eq!(read.open_table(LATE).expect("late").len().expect("a length"), 0);
        let packs = PACKS.map(|packs| read.open_table(packs).expect("packs").len());
        let [records, values] = packs.map(|count| count.expect("a length"));
        // Twenty records and more, and a dozen values and more, to a row of the database.
        assert!(records <= puts * 600 / 20 && values <= puts * 600 / 12, "{records} {values}");
    }
}
