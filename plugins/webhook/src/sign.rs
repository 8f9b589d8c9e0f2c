//! How a request is signed: Standard Webhooks, with HMAC-SHA256.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;

/// What begins a secret whose rest is base64.
const PREFIX: &str = "whsec_";

/// The secret of a target.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// A secret as it stands in a file or variable: `whsec_` and base64, or any other text as it is. White
    /// space around it does not count.
    pub fn read(text: &str) -> Result<Secret, String> {
        let bytes = match text.trim().strip_prefix(PREFIX) {
            Some(rest) => BASE64.decode(rest).map_err(|e| format!("after {PREFIX} it is {e}"))?,
            None => text.trim().as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err("it is empty".into());
        }
        Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The header `webhook-signature` of a request.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn a_signature_is_what_the_standard_says() {
        let secret = Secret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a secret");
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_may_be_any_text_but_none() {
        assert!(Secret::read("a plain one").is_ok());
        assert_eq!(Secret::read(" \n").err().as_deref(), Some("it is empty"));
        assert_eq!(Secret::read("whsec_").err().as_deref(), Some("it is empty"));
        assert!(Secret::read("whsec_!").err().expect("refused").starts_with("after whsec_ it is"));
    }
}
