//! The two forms of a frame, chosen by the WebSocket subprotocol.

/// How frames are written on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Text messages of JSON; also when the client names no subprotocol.
    #[default]
    Json,
    /// Binary messages of MessagePack.
    MessagePack,
}

impl Format {
    /// Both forms, the preferred one first.
    pub const ALL: [Format; 2] = [Format::Json, Format::MessagePack];

    /// The name in `Sec-WebSocket-Protocol`.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Format::Json => "keepboth.v1.json",
            Format::MessagePack => "keepboth.v1.msgpack",
        }
    }

    /// The form with this subprotocol.
    pub fn from_subprotocol(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.subprotocol() == name)
    }
}
