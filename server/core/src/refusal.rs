//! The answer "no": a stable code, words for people, and what a program needs to go on.

use std::fmt;

use crate::address::Address;
use crate::ids::VersionId;
use crate::limits::{Stage, figure};

macro_rules! codes {
    ($($name:ident $text:literal $retry:literal $why:literal;)*) => {
        /// Every reason for which a request is refused. The text form never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $why] $name,)* }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as it stands in frames, for instance `value_too_large`.
            pub fn as_str(self) -> &'static str { match self { $(Code::$name => $text,)* } }

            /// What the code means and what to do about it, in a sentence or two.
            pub fn explanation(self) -> &'static str { match self { $(Code::$name => $why,)* } }

            /// True if the same request may succeed later without being changed.
            pub fn retry(self) -> bool { match self { $(Code::$name => $retry,)* } }
        }
    };
}

codes! {
    BadFrame "bad_frame" false "The frame is not JSON or MessagePack of the form {\"id\":1,\"method\":{…}}; the message names the place.";
    UnknownMethod "unknown_method" false "The frame asks for something that this server does not have; the message lists the methods.";
    BadRequest "bad_request" false "The method's arguments have a wrong type, a missing or an unknown field; the message names it.";
    FrameTooLarge "frame_too_large" false "One WebSocket message is larger than the limit; send less at once.";
    Unauthenticated "unauthenticated" false "The server does not know who you are: it wants a token in `hello`, in `Authorization: Bearer`, or in --token-file and KEEPBOTH_TOKEN.";
    Forbidden "forbidden" false "You may not do this; the message names the right that would be needed. An operator grants it.";
    UnknownNamespace "unknown_namespace" false "This server hosts no namespace of that name, or you may not see it.";
    BadKey "bad_key" false "A key is 1 to 1,024 bytes of UTF-8 without NUL.";
    ReservedKey "reserved_key" false "64 lower-case hex characters are always an address; put a prefix before it to use it as a key.";
    BadValue "bad_value" false "The value has no canonical form (a duplicate key, a number that binary64 cannot hold, too deep, an unknown $ escape); the message names the place.";
    ValueTooLarge "value_too_large" false "The value is over the limit at the stage that the message names; nothing was written.";
    BatchTooLarge "batch_too_large" false "A batch has at most 1,000 operations, and its answer must be a frame; it is all or nothing, so cut it where that is allowed.";
    QuotaExceeded "quota_exceeded" false "The namespace holds as much as it may; the message names the limit and the figure. Delete something, or let the operator raise the limit.";
    RateLimited "rate_limited" true "The namespace takes no more writes at this moment, or your address has shown too many wrong tokens; the message names the limit. Send the same request again a little later.";
    NotFound "not_found" false "No object has that name here, or it was deleted.";
    InConflict "in_conflict" false "The name stands for several objects; the answer lists their addresses. Read one of them, put at the key to start it anew, or resolve.";
    NoConflict "no_conflict" false "The key is not in conflict, so there is nothing to resolve; an ordinary put does it.";
    VersionMismatch "version_mismatch" false "The object is not what the condition names any more; read it again and decide anew. Nothing was changed.";
    SchemaRefused "schema_refused" false "The value or event breaks a JSON Schema; the message names the schema file, the place in the value and the rule.";
    HookRefused "hook_refused" false "A hook of the namespace refused the write on purpose; `reason` is the hook's own code.";
    HookFailed "hook_failed" false "A hook of the namespace failed or hit its limit, so the write was refused; the message names script and line.";
    BadCursor "bad_cursor" false "The cursor is not one of this server's, or of a store that was since replaced; watch again without it and take the initial state.";
    IndexBehind "index_behind" true "The index has not followed as far as the namespace is; the message names both. Send the same request again a little later, or with a longer `wait_ms`.";
    TooManyWatches "too_many_watches" false "The connection has as many watches as it may; end one first.";
    InConfig "in_config" false "The namespace is named in the configuration, which decides about it; take it out there and have it read again.";
    BadConfig "bad_config" false "The configuration has mistakes, or a part of it could not be applied; the message lists them as `keepboth check` does. The old configuration is still in force.";
    Overloaded "overloaded" true "A bounded queue is full, or a value changed again and again while a rule looked at it; wait a little and send the same request again.";
    ShuttingDown "shutting_down" true "The server is stopping; connect again and repeat the request.";
    NotAMember "not_a_member" false "The other node is not of this mesh, or was removed from it: an operator admits it by mesh.members, by `keepboth peer add` or with an invitation.";
    SameNode "same_node" false "The other side is this node itself, or a copy of its data folder that runs elsewhere; a copy needs a node.key of its own.";
    Unsupported "unsupported" false "The other side speaks no protocol version that this server speaks.";
    MissingParent "missing_parent" true "A version arrived before its parents; it waits while they are asked for.";
    BadVersion "bad_version" false "A version record from a peer is out of form or its hash is not what its content gives.";
    ValueForgotten "value_forgotten" false "The version is known, and its value is not kept any more; only the newest values of a history are (`history.values`).";
    StoreFailed "store_failed" true "The disk failed; whether the write is there is unknown. Versions are deterministic, so a conditional retry is safe.";
    Corrupt "corrupt" false "What the disk holds does not match its hash; repair it from a peer or a backup.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that was not carried out, and why. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What happened, with the limit, the figure and the place.
    pub message: String,
    /// What would be right, if that is not plain.
    pub hint: Option<Box<str>>,
    /// The objects that a name in conflict stands for.
    pub addresses: Vec<Address>,
    /// What the object is now, for `version_mismatch`.
    pub version: Option<VersionId>,
    /// A hook's own code, for `hook_refused`.
    pub reason: Option<Box<str>>,
}

impl Refusal {
    /// A refusal of this code with these words.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
            hint: None,
            addresses: Vec::new(),
            version: None,
            reason: None,
        }
    }

    /// Adds what would be right.
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into().into_boxed_str());
        self
    }

    /// "value is 65,539 bytes after hooks, the limit is 65,536".
    pub fn value_too_large(size: usize, limit: usize, stage: Stage) -> Refusal {
        Refusal::new(
            Code::ValueTooLarge,
            format!(
                "value is {} bytes {}, the limit is {} bytes",
                figure(size),
                stage.words(),
                figure(limit)
            ),
        )
    }

    /// Says which operation of a batch it is about, counted from 0.
    pub fn in_batch(mut self, index: usize) -> Refusal {
        self.message = format!("operation {index}: {}", self.message);
        self
    }

    /// Several objects stand behind one name.
    pub fn in_conflict(name: &str, addresses: Vec<Address>) -> Refusal {
        let words = format!("{name:?} stands for several objects");
        let refusal = Refusal::new(Code::InConflict, words);
        Refusal { addresses, ..refusal }.hint(
            "read one by its address, put at the key to start it anew, or resolve the conflict",
        )
    }

    /// No object has this name.
    pub fn not_found(name: &str) -> Refusal {
        Refusal::new(Code::NotFound, format!("there is no object {name:?}"))
    }
}
