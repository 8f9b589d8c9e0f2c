//! How the command ends: exit codes, and failures in words.

use std::fmt;

use keepboth_core::refusal::Code;
use serde_json::{Value as Json, json};

use crate::client::{ClientError, Refused};
use crate::tls::Doubt;

/// The exit codes, which scripts may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All was done.
    Done = 0,
    /// Something else failed.
    Failure = 1,
    /// The command line itself is wrong.
    Usage = 2,
    /// The server does not know who asks.
    Unknown = 3,
    /// Who asks may not do this.
    Forbidden = 4,
    /// There is no such object, version or namespace.
    NotFound = 5,
    /// The name is in conflict, or a condition does not hold.
    Conflict = 6,
    /// The key, the value or the write was refused.
    Refused = 7,
    /// A limit was hit.
    Limit = 8,
    /// No server answers.
    Unreachable = 9,
    /// Not on all nodes that were asked for.
    NotEverywhere = 10,
    /// The configuration is wrong.
    Config = 78,
    /// The user stopped it.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a refusal.
    fn of(code: Code) -> Exit {
        match code {
            Code::NotFound | Code::UnknownNamespace | Code::ValueForgotten => Exit::NotFound,
            Code::InConflict | Code::NoConflict | Code::VersionMismatch => Exit::Conflict,
            Code::BadKey
            | Code::ReservedKey
            | Code::BadValue
            | Code::SchemaRefused
            | Code::HookRefused
            | Code::HookFailed
            | Code::InConfig => Exit::Refused,
            Code::Unauthenticated => Exit::Unknown,
            Code::Forbidden => Exit::Forbidden,
            Code::FrameTooLarge
            | Code::ValueTooLarge
            | Code::BatchTooLarge
            | Code::QuotaExceeded
            | Code::RateLimited
            | Code::IndexBehind
            | Code::TooManyWatches
            | Code::Overloaded => Exit::Limit,
            Code::BadConfig => Exit::Config,
            Code::ShuttingDown => Exit::Unreachable,
            Code::BadFrame
            | Code::UnknownMethod
            | Code::BadRequest
            | Code::BadCursor
            | Code::NotAMember
            | Code::SameNode
            | Code::Unsupported
            | Code::MissingParent
            | Code::BadVersion
            | Code::StoreFailed
            | Code::Corrupt => Exit::Failure,
        }
    }
}

/// Why the command was not done.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened; empty if there is nothing to say.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// All that the server said, for `--json`.
    refused: Option<Box<Refused>>,
}

impl Failure {
    /// A failure with these words.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None, refused: None }
    }

    /// An end that needs no words: all is said, or nobody listens.
    pub fn quiet(exit: Exit) -> Failure {
        Failure::new(exit, "")
    }

    /// Adds what would be right.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The failure for programs.
    pub fn to_json(&self) -> Json {
        match &self.refused {
            Some(refused) => json!({"error": refused, "exit": self.exit as u8}),
            None => {
                let error = json!({"message": self.message, "hint": self.hint});
                json!({"error": error, "exit": self.exit as u8})
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let addresses = self.refused.iter().flat_map(|refused| &refused.addresses);
        for address in addresses {
            write!(f, "\n  {address}")?;
        }
        self.hint.iter().try_for_each(|hint| write!(f, "\n  {hint}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let message = error.to_string();
        match error {
            ClientError::Unreachable { .. } => Failure::new(Exit::Unreachable, message)
                .hint("is the server running? keepboth serve starts one; --url names another"),
            ClientError::Untrusted { doubt, .. } => {
                Failure::new(Exit::Unreachable, message).hint(match doubt {
                    Doubt::Authority => {
                        "name its authority, or the certificate itself if it signed itself, with \
                         --ca FILE"
                    }
                    Doubt::Certificate => "the server needs another certificate (server.tls)",
                })
            }
            ClientError::Authorities { .. } => Failure::new(Exit::Unreachable, message),
            ClientError::Closed { .. } => Failure::new(Exit::Unreachable, message)
                .hint("whether a write under way was done is unknown"),
            ClientError::Protocol(_) => Failure::new(Exit::Failure, message),
            ClientError::Refused(refused) => {
                let code = Code::ALL.iter().find(|code| code.as_str() == refused.code);
                let exit = code.map_or(Exit::Failure, |code| Exit::of(*code));
                let hint = refused.hint.clone();
                Failure { exit, message, hint, refused: Some(refused) }
            }
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        // Whoever read our output has enough.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::quiet(Exit::Done);
        }
        Failure::new(Exit::Failure, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_their_exit_codes() {
        for (code, exit) in [
            ("not_found", Exit::NotFound),
            ("in_conflict", Exit::Conflict),
            ("version_mismatch", Exit::Conflict),
            ("schema_refused", Exit::Refused),
            ("unauthenticated", Exit::Unknown),
            ("forbidden", Exit::Forbidden),
            ("value_too_large", Exit::Limit),
            ("rate_limited", Exit::Limit),
            ("bad_config", Exit::Config),
            ("code_of_a_later_server", Exit::Failure),
        ] {
            let refused = json!({"code": code, "message": "m", "addresses": ["aa"], "hint": "h"});
            let refused: Refused = serde_json::from_value(refused).expect("refused");
            let failure = Failure::from(ClientError::Refused(Box::new(refused)));
            assert_eq!(failure.exit, exit);
            assert_eq!(failure.to_string(), format!("m [{code}]\n  aa\n  h"));
            assert_eq!(failure.to_json()["error"]["code"], code);
        }
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let failure = Failure::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::quiet(Exit::Done));
    }
}
