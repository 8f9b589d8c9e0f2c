//! Finds names after `kb.` that do not exist, before a script runs: a typo in a branch that is
//! seldom taken would else wait there.

use crate::api::{ENTRIES, Is, names};
use crate::words::no_such_name;

/// The line and words of the first unknown name. A script that has a `kb` of its own is left alone.
pub fn unknown_name(source: &str) -> Option<(usize, String)> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |t: &(usize, &str)| t.1);
    let shadowed = (1..tokens.len()).any(|i| {
        text(i) == "kb"
            && (matches!(text(i - 1), "local" | "for" | "(" | ",") && is_binding(&tokens, i))
    });
    if shadowed {
        return None;
    }
    (0..tokens.len()).find_map(|i| {
        if text(i) != "kb" || text(i + 1) != "." || (i > 0 && matches!(text(i - 1), "." | ":")) {
            return None;
        }
        let (line, name) = *tokens.get(i + 2)?;
        let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
            return Some((line, no_such_name("kb", name, &names(ENTRIES))));
        };
        let Is::Table(owner, inner) = &entry.is else { return None };
        let (line, name) = *tokens.get(i + 4)?;
        let unknown = text(i + 3) == "." && !names(inner).contains(&name);
        unknown.then(|| (line, no_such_name(owner, name, &names(inner))))
    })
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

/// Words and single signs with their lines; comments and texts are left out.
fn tokens(source: &str) -> Vec<(usize, &str)> {
    let bytes = source.as_bytes();
    let (mut out, mut at, mut line) = (Vec::new(), 0, 1);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'-' if source[at..].starts_with("--") => comment_end(source, at + 2),
            b'"' | b'\'' | b'`' => text_end(bytes, at),
            b'[' if long_end(source, at).is_some() => long_end(source, at).unwrap_or(at + 1),
            b if is_word(b) => {
                let end = at + bytes[at..].iter().take_while(|b| is_word(**b)).count();
                out.push((line, &source[at..end]));
                end
            }
            b if b.is_ascii_punctuation() => {
                out.push((line, &source[at..at + 1]));
                at + 1
            }
            _ => at + 1,
        };
        line += bytes[at..end].iter().filter(|b| **b == b'\n').count();
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

fn text_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != bytes[at] {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_found_with_its_line() {
        let (line, words) = unknown_name("local x = 1\n\nkb.rejct('A')").expect("found");
        assert_eq!(line, 3);
        assert!(words.starts_with("kb has no \"rejct\" (did you mean \"reject\"?)"), "{words}");
        let (_, words) = unknown_name("kb.log.warning(1)").expect("found");
        assert!(words.starts_with("kb.log has no \"warning\" (did you mean \"warn\"?)"), "{words}");
    }

    #[test]
    fn comments_texts_and_other_tables_are_left_alone() {
        for source in [
            "-- kb.nope",
            "--[[ kb.nope\n ]] kb.log.info(1)",
            "local s = 'kb.nope' .. \"\\\" kb.nope\" .. [==[ kb.nope ]] ]==]",
            "other.kb.nope()",
            "local kb = {} kb.nope()",
            "local function f(a, kb) return kb.nope end",
            "kb.options.nope = kb.merge3(kb.null, 1, 2)",
            "local a = kb.json.encode",
        ] {
            assert_eq!(unknown_name(source), None, "{source}");
        }
        assert!(unknown_name("print(kb.nope)").is_some());
        assert!(unknown_name("print(1, kb.nope)").is_some());
    }
}
