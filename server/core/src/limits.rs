//! Bounds that hold on every node, and how figures are written in messages.

/// Most bytes of one value, whatever its kind. A namespace may set less.
pub const VALUE_BYTES_MAX: usize = 65_536;
/// Most bytes of a key in UTF-8.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Most operations in one atomic batch.
pub const BATCH_OPS_MAX: usize = 1_000;
/// Most bytes of one WebSocket message, in either direction.
pub const FRAME_BYTES_MAX: usize = 1_048_576;
/// Deepest nesting of arrays and objects in a JSON or CBOR value.
pub const DEPTH_MAX: usize = 64;
/// Levels that a frame may have around its values.
pub const FRAME_DEPTH: usize = 8;
/// Most parents of one version: a merge of that many sides.
pub const PARENTS_MAX: usize = 10_000;

/// Writes a count with commas between thousands, as all messages do.
///
/// ```
/// assert_eq!(keepboth_core::limits::figure(65_539), "65,539");
/// ```
pub fn figure(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Where a value was measured; named in the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// As it stood in the client's frame.
    Client,
    /// After the namespace's hooks had their turn.
    Hook,
    /// As a peer sent it.
    Peer,
    /// In the commit thread, right before it is written.
    Write,
}

impl Stage {
    /// The words that follow "value is N bytes" in a message.
    pub fn words(self) -> &'static str {
        match self {
            Stage::Client => "in the client's frame",
            Stage::Hook => "after hooks",
            Stage::Peer => "from a peer",
            Stage::Write => "at the write",
        }
    }
}
