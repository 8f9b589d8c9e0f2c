//! What can go wrong between client and server.

use serde::{Deserialize, Serialize};

use crate::tls::Doubt;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no connection, and never was.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The server.
        url: String,
        /// What the system or the server said.
        reason: String,
    },
    /// The server's certificate is not believed, so nothing was said to it.
    #[error("not connected to {url}: {reason}")]
    Untrusted {
        /// The server.
        url: String,
        /// What is wrong with the certificate.
        reason: String,
        /// What is doubted.
        doubt: Doubt,
    },
    /// Without authorities no server's certificate can be believed.
    #[error("not connected to {url}: {reason}")]
    Authorities {
        /// The server.
        url: String,
        /// What is wrong with the authorities, and what would be right.
        reason: String,
    },
    /// The connection ended. Whether requests under way were carried out is unknown.
    #[error("the connection is closed{}: {reason}", .code.map(|code| format!(" ({code})")).unwrap_or_default())]
    Closed {
        /// The close code, if the server gave one.
        code: Option<u16>,
        /// The server's words, or the system's.
        reason: String,
    },
    /// The server said no. Nothing was written.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The other side does not speak as PROTOCOL.md says.
    #[error("not as the protocol has it: {0}")]
    Protocol(String),
}

impl ClientError {
    /// True if a new connection may do better.
    pub fn reconnect(&self) -> bool {
        match self {
            // A certificate can be renewed.
            ClientError::Unreachable { .. } | ClientError::Untrusted { .. } => true,
            // 1002 to 1009 are about what one of the two sent, 4500 and above about who they are.
            ClientError::Closed { code, .. } => {
                !matches!(code, Some(1002 | 1003 | 1007..=1009 | 4500..=4999))
            }
            ClientError::Refused(refused) => refused.retry,
            ClientError::Authorities { .. } | ClientError::Protocol(_) => false,
        }
    }
}

/// The server's refusal: what stands after `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The stable code; one that this client does not know is possible.
    pub code: String,
    /// What happened.
    pub message: String,
    /// True if the same request may succeed later.
    #[serde(default)]
    pub retry: bool,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The objects that a name in conflict stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// What the object is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A hook's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{} [{}: {reason}]", self.message, self.code),
            None => write!(f, "{} [{}]", self.message, self.code),
        }
    }
}
