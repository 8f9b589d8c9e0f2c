//! Why a Lua value becomes neither JSON nor CBOR, and how large it may be.

use keepboth_core::limits::{VALUE_BYTES_MAX, figure};

/// Most nodes of a tree: a tree of more is larger than any value may be.
pub const NODES_MAX: usize = VALUE_BYTES_MAX;
/// Most bytes of text in a tree.
pub const TEXT_BYTES_MAX: usize = 4 * VALUE_BYTES_MAX;
/// What a node costs beside its text, roughly.
pub const NODE_BYTES: usize = 64;

/// Why a Lua value does not fit, and where in it.
pub struct Misfit {
    path: String,
    words: String,
}

impl Misfit {
    /// At the value itself.
    pub fn new(words: impl Into<String>) -> Misfit {
        Misfit { path: String::new(), words: words.into() }
    }

    /// The same, seen from one level further up.
    pub fn under(mut self, step: &str) -> Misfit {
        self.path.insert_str(0, step);
        self
    }
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.words)
    }
}

/// How much a conversion has come to.
#[derive(Default)]
pub struct Count {
    nodes: usize,
    text: usize,
}

impl Count {
    /// Counts further; refused when it is more than any value may have.
    pub fn add(&mut self, nodes: usize, text: usize) -> Result<(), Misfit> {
        self.nodes += nodes;
        self.text += text;
        if self.nodes > NODES_MAX {
            return Err(Misfit::new(format!("more than {} items", figure(NODES_MAX))));
        }
        if self.text > TEXT_BYTES_MAX {
            return Err(Misfit::new(format!("more than {} bytes", figure(TEXT_BYTES_MAX))));
        }
        Ok(())
    }

    /// Bytes that this takes, roughly.
    pub fn bytes(&self) -> usize {
        self.text + self.nodes * NODE_BYTES
    }
}

/// A table that is neither list nor map.
pub const MIXED: &str = "a table with both items and members";
/// A list in which something is missing.
pub const HOLES: &str = "a table with holes; the items of an array are 1, 2, 3 and so on";

/// Keeps a misfit while an iteration is broken off by an error of its own type.
pub fn stop(kept: &mut Option<Misfit>, misfit: Misfit) -> mlua::Error {
    *kept = Some(misfit);
    mlua::Error::runtime("stopped")
}

/// Ends an iteration that may have been broken off.
pub fn finish(done: mlua::Result<()>, misfit: Option<Misfit>) -> Result<(), Misfit> {
    match (done, misfit) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(misfit)) => Err(misfit),
        (Err(e), None) => Err(Misfit::new(e.to_string())),
    }
}
