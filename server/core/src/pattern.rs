//! Patterns of keys: `*` stands for any run of characters, `/` included, and `?` for exactly one.

use std::cmp::Reverse;
use std::str::Chars;

/// A pattern. Of several that match a key, the smallest in the order of [`Pattern::rank`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<char>,
}

impl Pattern {
    /// Every text is a pattern.
    pub fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), parts: text.chars().collect() }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The order in which patterns are asked: the longest beginning without `*` and `?` first, then
    /// the most characters besides these, then by the alphabet. The order of a TOML table says
    /// nothing, so it cannot decide.
    pub fn rank(&self) -> impl Ord + use<> {
        let is_plain = |c: &&char| !matches!(**c, '*' | '?');
        let prefix = self.parts.iter().take_while(is_plain).count();
        let plain = self.parts.iter().filter(is_plain).count();
        (plain < self.parts.len(), Reverse(prefix), Reverse(plain), self.text.clone())
    }

    /// True if the whole key fits. Needs at most `pattern × key` steps.
    pub fn matches(&self, key: &str) -> bool {
        let (mut parts, mut left) = (self.parts.as_slice(), key.chars());
        // What comes after the last star, and the rest of the key as it was there.
        let mut star: Option<(&[char], Chars<'_>)> = None;
        while let Some(next) = left.clone().next() {
            match parts.split_first() {
                Some(('*', [])) => return true,
                Some(('*', after)) => {
                    parts = after;
                    star = Some((after, left.clone()));
                }
                Some((c, after)) if *c == '?' || *c == next => {
                    parts = after;
                    left.next();
                }
                _ => {
                    // Back to the last star, which takes one character more.
                    let Some((after, from)) = &mut star else { return false };
                    from.next();
                    (parts, left) = (after, from.clone());
                }
            }
        }
        parts.iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_and_a_question_mark_is_one_character() {
        for (pattern, key, fits) in [
            ("note/*", "note/1", true),
            ("note/*", "note/", true),
            ("note/*", "note/a/b", true),
            ("note/*", "notes/1", false),
            ("*", "anything", true),
            ("*.json", "a.json.json", true),
            ("*.json", "a.jsn", false),
            ("a*b*c", "a-bb-c", true),
            ("a*b*c", "acb", false),
            ("?", "é", true),
            ("?", "éé", false),
            ("a?c", "abc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(key), fits, "{pattern} {key}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = Pattern::new(&"*a".repeat(500));
        assert!(!pattern.matches(&"a".repeat(499)));
        assert!(!pattern.matches(&("a".repeat(1_000) + "b")));
    }

    #[test]
    fn the_most_exact_pattern_is_asked_first() {
        let mut patterns: Vec<_> = ["*", "note/*", "n*", "*/draft", "note/*/draft", "note/1", "??"]
            .map(Pattern::new)
            .into();
        patterns.sort_by_cached_key(Pattern::rank);
        let order: Vec<_> = patterns.iter().map(Pattern::as_str).collect();
        assert_eq!(order, ["note/1", "note/*/draft", "note/*", "n*", "*/draft", "*", "??"]);
    }
}
