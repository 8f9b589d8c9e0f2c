//! The token that is shown once: `kb_ID_SECRET`, and the hash that is kept of its secret.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use keepboth_core::ids::hex;

use crate::form::random;

/// A stored token begins so.
pub const PREFIX: &str = "kb_";
/// Characters of an id.
pub const ID_CHARS: usize = 16;
/// Characters of a secret: 32 random bytes in base64 (RFC 4648, section 5).
const SECRET_CHARS: usize = 43;
/// Most KiB of memory that a hash may take: more would be a way to stop the server.
const HASH_KIB_MAX: u32 = 256 * 1_024;

/// A stored token in its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What stands in the file and in lists: 16 hex characters.
    pub id: String,
    secret: String,
}

impl Secret {
    /// A new one, at random.
    pub fn random() -> Result<Secret, String> {
        let id = hex(&random::<{ ID_CHARS / 2 }>()?);
        let secret = URL_SAFE_NO_PAD.encode(random::<32>()?);
        Ok(Secret { id, secret })
    }

    /// Reads a token. None if it is not of this form at all; an error if it is not whole.
    pub fn parse(token: &str) -> Option<Result<Secret, String>> {
        let rest = token.strip_prefix(PREFIX)?;
        let (id, secret) = rest.split_once('_').unwrap_or((rest, ""));
        let is_whole = is_id(id) && secret.len() == SECRET_CHARS && secret.is_ascii();
        Some(match is_whole {
            true => Ok(Secret { id: id.to_owned(), secret: secret.to_owned() }),
            false => Err(format!(
                "the token is not whole: kb_, {ID_CHARS} hex characters, _ and {SECRET_CHARS} characters"
            )),
        })
    }

    /// The token as it is shown, once.
    pub fn token(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// The hash to be kept, in PHC form. Takes tens of milliseconds and 19 MiB, as verifying does.
    pub fn hash(&self) -> Result<String, String> {
        let salt = random::<16>()?;
        let hash = Argon2::default().hash_password_with_salt(self.secret.as_bytes(), &salt);
        hash.map(|hash: PasswordHash| hash.to_string()).map_err(|e| format!("Argon2: {e}"))
    }

    /// True if this is the hash of the secret. The comparison takes the same time for every answer.
    pub fn is_of(&self, hash: &str) -> bool {
        let hash = PasswordHash::new(hash);
        hash.is_ok_and(|hash| {
            Argon2::default().verify_password(self.secret.as_bytes(), &hash).is_ok()
        })
    }
}

/// True for the id of a token.
pub fn is_id(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == ID_CHARS && text.bytes().all(is_hex)
}

/// Says what is wrong with a hash that a file holds.
pub fn check_hash(hash: &str) -> Result<(), String> {
    let hash = PasswordHash::new(hash).map_err(|e| format!("no hash in PHC form: {e}"))?;
    if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() || hash.salt.is_none() {
        return Err("no argon2id hash with its salt".into());
    }
    match argon2::Params::try_from(&hash) {
        Err(e) => Err(format!("no parameters of Argon2: {e}")),
        Ok(params) if params.m_cost() > HASH_KIB_MAX => {
            Err(format!("it takes {} KiB of memory, at most {HASH_KIB_MAX}", params.m_cost()))
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_the_hash_of_its_secret_and_no_other() {
        let (one, two) = (Secret::random().expect("one"), Secret::random().expect("two"));
        let hash = one.hash().expect("a hash");
        assert_eq!(check_hash(&hash), Ok(()));
        assert!(one.is_of(&hash) && !two.is_of(&hash) && !one.is_of("nonsense"));
        assert!(!hash.contains(&one.secret));
        let again = Secret::parse(&one.token()).expect("of this form").expect("whole");
        assert!(again == one && again.is_of(&hash));
    }

    #[test]
    fn a_token_that_is_cut_off_is_not_whole_and_other_texts_are_no_tokens() {
        let token = Secret::random().expect("a token").token();
        for text in [&token[..token.len() - 1], "kb_", "kb_0123456789abcdef_", "kb_x_y"] {
            let words = Secret::parse(text).expect("of this form").err().expect("not whole");
            assert!(words.contains("not whole"), "{words}");
        }
        for text in ["", "kb", "kbs.a.b", "Bearer x"] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_hash_that_would_take_too_much_or_is_none_is_told() {
        let hash = Secret::random().expect("a token").hash().expect("a hash");
        for (hash, said) in [
            ("x".to_owned(), "no hash in PHC form"),
            (hash.replace("argon2id", "scrypt"), "no argon2id hash"),
            (hash.replace("m=19456", "m=9000000"), "9000000 KiB of memory, at most 262144"),
        ] {
            let words = check_hash(&hash).expect_err("refused");
            assert!(words.contains(said), "{words}");
        }
    }
}
