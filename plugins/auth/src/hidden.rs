//! Tokens in words that are shown or kept: only what tells one from another stays of them.

use std::borrow::Cow;

use crate::{secret, signed};

/// Characters of a token: those of base64 (RFC 4648, section 5) and the dot between its parts.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// These words with `…` in the place of what is secret of each token in them, also of one that is cut off.
pub fn hide_tokens(words: &str) -> Cow<'_, str> {
    let Some(first) = find(words) else { return Cow::Borrowed(words) };
    let (mut hidden, mut rest, mut next) = (String::new(), words, Some(first));
    while let Some((at, shown)) = next {
        let token = &rest[at..];
        let end = token.bytes().position(|byte| !is_of_token(byte)).unwrap_or(token.len());
        hidden.push_str(&rest[..at]);
        hidden.push_str(&token[..shown.min(end)]);
        if end > shown {
            hidden.push('…');
        }
        rest = &token[end..];
        next = find(rest);
    }
    hidden.push_str(rest);
    Cow::Owned(hidden)
}

/// Where the first token begins, and how many bytes of it may be shown.
fn find(words: &str) -> Option<(usize, usize)> {
    let stored =
        words.find(secret::PREFIX).map(|at| (at, secret::PREFIX.len() + secret::ID_CHARS + 1));
    let signed = words.find(signed::PREFIX).map(|at| (at, signed::PREFIX.len()));
    stored.into_iter().chain(signed).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_token_in_words_only_its_id_is_shown() {
        let stored = "kb_0123456789abcdef_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";
        let signed = "kbs.eyJrZXkiOiIx.c2lnbmF0dXJl-_";
        for (words, shown) in [
            ("nothing of that kind".to_owned(), "nothing of that kind".to_owned()),
            (stored.to_owned(), "kb_0123456789abcdef_…".to_owned()),
            (
                format!("no {stored:?}, no {signed:?}"),
                "no \"kb_0123456789abcdef_…\", no \"kbs.…\"".to_owned(),
            ),
            (format!("{}…", &stored[..30]), "kb_0123456789abcdef_……".to_owned()),
            (
                "the token kb_0123456789abcdef_… is wrong".to_owned(),
                "the token kb_0123456789abcdef_… is wrong".to_owned(),
            ),
            ("kb_short and kbs.".to_owned(), "kb_short and kbs.".to_owned()),
        ] {
            assert_eq!(hide_tokens(&words), shown);
        }
    }
}
