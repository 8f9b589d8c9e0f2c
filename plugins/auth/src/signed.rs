//! Tokens that carry their grants under a signature: `kbs.PAYLOAD.SIGNATURE`, both in base64 without
//! padding (RFC 4648, section 5). The payload is the JSON of `Claims`; the signature is Ed25519
//! (RFC 8032), of `CONTEXT` followed by the payload as it stands in the token. There is one algorithm,
//! and the token does not choose it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keepboth_core::identity::{NodeKey, SIGNATURE_BYTES, verify};
use keepboth_core::ids::NodeId;
use keepboth_core::period;
use serde::{Deserialize, Serialize};

use crate::form::{check_name, moment};
use crate::grants;

/// A signed token begins so.
pub const PREFIX: &str = "kbs.";
/// What is signed begins so: a signature for another purpose is none for this.
pub const CONTEXT: &[u8] = b"keepboth signed token v1\n";

/// What a signed token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The public key that signed it, 64 hex characters.
    pub key: NodeId,
    /// Whose it is.
    pub name: String,
    /// What it allows, in the form of [`grants`].
    pub grants: Vec<String>,
    /// From when it holds, in milliseconds since 1970; without it, at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// Until when it holds.
    pub expires: u64,
}

impl Claims {
    /// The token, signed. The key in the claims is set to that of the signer.
    pub fn sign(mut self, key: &NodeKey) -> Result<String, String> {
        self.key = key.id();
        check_name(&self.name)?;
        grants::parse_all(&self.grants)?;
        let payload = serde_json::to_vec(&self).map_err(|e| e.to_string())?;
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(&statement(&payload)));
        Ok(format!("{PREFIX}{payload}.{signature}"))
    }
}

/// The bytes that are signed.
fn statement(payload: &str) -> Vec<u8> {
    [CONTEXT, payload.as_bytes()].concat()
}

/// Who may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    /// The public keys and their names.
    pub keys: BTreeMap<NodeId, String>,
    /// The most milliseconds from now until a token expires.
    pub longest: u64,
}

impl Signers {
    /// What a token says, and the name of the key that signed it, if it holds now. None if it is not of
    /// this form at all.
    pub fn read(&self, token: &str, now: u64) -> Option<Result<(Claims, &str), String>> {
        let rest = token.strip_prefix(PREFIX)?;
        Some(self.check(rest, now))
    }

    fn check(&self, rest: &str, now: u64) -> Result<(Claims, &str), String> {
        let broken = || "the token is not whole: kbs.PAYLOAD.SIGNATURE".to_owned();
        let (payload, signature) = rest.split_once('.').ok_or_else(broken)?;
        let decode = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| broken());
        let bytes = decode(payload)?;
        let signature = <[u8; SIGNATURE_BYTES]>::try_from(decode(signature)?);
        let signature = signature.map_err(|_| broken())?;
        let claims: Claims = serde_json::from_slice(&bytes)
            .map_err(|e| format!("the payload of the token is out of form: {e}"))?;
        let signer = self.keys.get(&claims.key).ok_or_else(|| {
            format!("the token is signed by {}, a key that this server does not know", claims.key)
        })?;
        if !verify(&claims.key, &statement(payload), &signature) {
            return Err("the signature of the token is not that of its payload".into());
        }
        check_name(&claims.name)?;
        if claims.expires <= now {
            return Err(format!("the token expired at {}", moment(claims.expires)));
        }
        if let Some(from) = claims.not_before.filter(|from| *from > now) {
            return Err(format!("the token does not hold before {}", moment(from)));
        }
        if claims.expires - now > self.longest {
            let longest = std::time::Duration::from_millis(self.longest);
            return Err(format!(
                "the token would hold until {}, longer than {} from now (signed_for_max)",
                moment(claims.expires),
                period::text(longest)
            ));
        }
        Ok((claims, signer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&[seed; 32])
    }

    fn signers() -> Signers {
        Signers { keys: [(key(1).id(), "web".to_owned())].into(), longest: 3_600_000 }
    }

    fn claims() -> Claims {
        Claims {
            key: key(1).id(),
            name: "anna".into(),
            grants: vec!["read:notes".into()],
            not_before: None,
            expires: NOW + 60_000,
        }
    }

    #[test]
    fn a_signed_token_says_who_it_is_for_and_who_signed_it() {
        let token = claims().sign(&key(1)).expect("a token");
        let signers = signers();
        let (read, signer) = signers.read(&token, NOW).expect("signed").expect("good");
        assert_eq!((read, signer), (claims(), "web"));
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        assert!(signers.read("kb_0", NOW).is_none());
    }

    #[test]
    fn a_token_that_does_not_hold_is_refused_in_words() {
        let sign = |claims: Claims| claims.sign(&key(1)).expect("a token");
        let good = sign(claims());
        let (head, signature) = good.rsplit_once('.').expect("parts");
        let wider = sign(Claims { grants: vec!["all:*".into()], ..claims() });
        let (wider, _) = wider.rsplit_once('.').expect("parts");
        let later = Claims { not_before: Some(NOW + 1), ..claims() };
        for (token, said) in [
            (sign(Claims { expires: NOW, ..claims() }), "the token expired at 2026-09-21T"),
            (sign(later), "the token does not hold before 2026-09-21T"),
            (sign(Claims { expires: NOW + 3_600_001, ..claims() }), "longer than 1h from now"),
            (claims().sign(&key(2)).expect("a token"), "a key that this server does not know"),
            (format!("{wider}.{signature}"), "not that of its payload"),
            (head.to_owned(), "is not whole"),
            (format!("{head}.AAAA"), "is not whole"),
            ("kbs.!.!".into(), "is not whole"),
            (format!("kbs.e30.{signature}"), "out of form: missing field"),
        ] {
            let words = signers().read(&token, NOW).expect("signed").expect_err("refused");
            assert!(words.contains(said), "{words}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_signed() {
        let nameless = Claims { name: "a@b".into(), ..claims() };
        assert!(nameless.sign(&key(1)).expect_err("refused").contains("is no name"));
        let grantless = Claims { grants: vec!["reed:notes".into()], ..claims() };
        assert!(grantless.sign(&key(1)).expect_err("refused").contains("no right"));
    }
}
