//! How a transaction becomes durable: its pages first, and then what leads to them.
//!
//! A sync that fails may have dropped what it was to write, while reads still show it. In redb's faster way, with one
//! sync for both, who opens the database next finds such pages by their checksums to be whole, and goes on from
//! them; nobody writes them again, and when the power goes they are gone. In two steps nothing ever leads to
//! a page that was not durable before, and what leads there is written anew by each opening.

use redb::{Database, WriteTransaction};

/// Begins a transaction that is durable when it is committed.
pub fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    // Besides the two steps: after a crash, the file need not be read as a whole.
    transaction.set_quick_repair(true);
    Ok(transaction)
}
