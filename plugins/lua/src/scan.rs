//! Finds names after `kb.` that do not exist, before a script runs: a typo in a branch that is
//! seldom taken would else wait there.

use crate::api::{ENTRIES, Is, names};
use crate::words::no_such_name;

/// A name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its line, from 1.
    pub line: usize,
    /// Its place in the line in characters, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub words: String,
}

/// All unknown names, in their order. A script that has a `kb` of its own is left alone.
pub fn unknown_names(source: &str) -> Vec<Unknown> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |t: &(usize, &str)| t.1);
    let shadowed = (1..tokens.len()).any(|i| {
        text(i) == "kb"
            && (matches!(text(i - 1), "local" | "for" | "(" | ",") && is_binding(&tokens, i))
    });
    if shadowed {
        return Vec::new();
    }
    let unknown = |i: usize| {
        if text(i) != "kb" || text(i + 1) != "." || (i > 0 && matches!(text(i - 1), "." | ":")) {
            return None;
        }
        let (at, name) = *tokens.get(i + 2)?;
        let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
            return Some((at, no_such_name("kb", name, &names(ENTRIES))));
        };
        let Is::Table(owner, inner) = &entry.is else { return None };
        let (at, name) = *tokens.get(i + 4)?;
        let unknown = text(i + 3) == "." && !names(inner).contains(&name);
        unknown.then(|| (at, no_such_name(owner, name, &names(inner))))
    };
    (0..tokens.len())
        .filter_map(unknown)
        .map(|(at, words)| {
            let before = &source[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
            Unknown { line, column, words }
        })
        .collect()
}

/// Whether the token at `i` stands where a local name or a parameter is declared.
fn is_binding(tokens: &[(usize, &str)], i: usize) -> bool {
    let before = tokens[..i].iter().rev().map(|t| t.1);
    for token in before {
        match token {
            "local" | "for" | "function" => return true,
            "," | "(" => {}
            word if word.bytes().all(is_word) => {}
            _ => return false,
        }
    }
    false
}

/// Words and single signs with their places in the source; comments and texts are left out.
pub fn tokens(source: &str) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'-' if source[at..].starts_with("--") => comment_end(source, at + 2),
            b'"' | b'\'' | b'`' => text_end(bytes, at),
            b'[' if long_end(source, at).is_some() => long_end(source, at).unwrap_or(at + 1),
            b if is_word(b) => {
                let end = at + bytes[at..].iter().take_while(|b| is_word(**b)).count();
                out.push((at, &source[at..end]));
                end
            }
            b if b.is_ascii_punctuation() => {
                out.push((at, &source[at..at + 1]));
                at + 1
            }
            _ => at + 1,
        };
        at = end;
    }
    out
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn comment_end(source: &str, at: usize) -> usize {
    let line = || source[at..].find('\n').map_or(source.len(), |n| at + n);
    long_end(source, at).unwrap_or_else(line)
}

/// The end of `[[…]]` or `[==[…]==]` that starts here.
fn long_end(source: &str, at: usize) -> Option<usize> {
    let rest = source.get(at..)?.strip_prefix('[')?;
    let level = rest.bytes().take_while(|b| *b == b'=').count();
    let body = rest[level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let start = at + level + 2;
    Some(body.find(&close).map_or(source.len(), |n| start + n + close.len()))
}

/// The end of the text that starts here. In backquotes there may be expressions with texts of their own,
/// to any depth: a source is scanned before the compiler has bounded it.
fn text_end(bytes: &[u8], at: usize) -> usize {
    // The texts that are open, each with its quote and the braces that are open in it.
    let (mut open, mut end) = (vec![(bytes[at], 0_usize)], at + 1);
    while end < bytes.len()
        && let Some((quote, inside)) = open.last_mut()
    {
        match bytes[end] {
            b'\\' => end += 1,
            byte if byte == *quote && *inside == 0 => drop(open.pop()),
            byte @ (b'"' | b'\'' | b'`') if *inside > 0 => open.push((byte, 0)),
            b'{' if *quote == b'`' => *inside += 1,
            b'}' => *inside = inside.saturating_sub(1),
            _ => {}
        }
        end += 1;
    }
    end.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_found_with_their_places() {
        let all = unknown_names("local x = 1\n\nlocal é = kb.rejct('A') kb.log.warning(1)");
        let places: Vec<(usize, usize)> = all.iter().map(|u| (u.line, u.column)).collect();
        assert_eq!(places, [(3, 14), (3, 32)]);
        let words = &all[0].words;
        assert!(words.starts_with("kb has no \"rejct\" (did you mean \"reject\"?)"), "{words}");
        let words = &all[1].words;
        assert!(words.starts_with("kb.log has no \"warning\" (did you mean \"warn\"?)"), "{words}");
    }

    #[test]
    fn comments_texts_and_other_tables_are_left_alone() {
        for source in [
            "-- kb.nope",
            "--[[ kb.nope\n ]] kb.log.info(1)",
            "local s = 'kb.nope' .. \"\\\" kb.nope\" .. [==[ kb.nope ]] ]==]",
            "local s = `{kb.null} kb.nope {f(`kb.nope {'}'} `)} kb.nope`",
            "other.kb.nope()",
            "local kb = {} kb.nope()",
            "local function f(a, kb) return kb.nope end",
            "kb.options.nope = kb.merge3(kb.null, 1, 2)",
            "local a = kb.json.encode",
        ] {
            assert_eq!(unknown_names(source), [], "{source}");
        }
        assert_eq!(unknown_names("print(kb.nope)").len(), 1);
        assert_eq!(unknown_names("print(1, kb.nope)").len(), 1);
    }
}
