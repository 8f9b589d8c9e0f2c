//! A mistake in the configuration with its place, written as compilers write theirs.

use std::fmt;
use std::ops::Range;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is, if it is in a text at all.
    pub place: Option<Box<Place>>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named, or `environment`.
    pub file: String,
    /// The line, from 1; None in the environment.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: usize,
    /// The whole line.
    pub source: String,
    /// How many characters of the line are meant; at least 1.
    pub width: usize,
}

/// All mistakes of a configuration, in the order of their places. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts the mistakes by place.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        errors.sort_by(|a, b| order(a).cmp(&order(b)));
        ConfigErrors(errors)
    }
}

/// The file comes first, then the environment, then what has no place.
fn order(error: &ConfigError) -> impl Ord + '_ {
    error.place.as_ref().map_or((3, 0, 0, ""), |place| match place.line {
        Some(line) => (1, line, place.column, place.file.as_str()),
        None => (2, 0, 0, place.source.as_str()),
    })
}

impl ConfigError {
    /// A mistake that no text shows, for instance that the file is missing.
    pub fn new(message: impl Into<String>) -> ConfigError {
        ConfigError { place: None, message: message.into(), hint: None }
    }

    /// Says where it is.
    pub(super) fn at(mut self, place: Option<Place>) -> ConfigError {
        self.place = place.map(Box::new);
        self
    }

    /// Adds what would be right.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> ConfigError {
        self.hint = Some(hint.into());
        self
    }
}

impl Place {
    /// The place of these bytes of a text. Without `numbered` it gets no line number.
    pub(super) fn of(file: &str, text: &str, span: &Range<usize>, numbered: bool) -> Place {
        let start = floor(text, span.start);
        let end = floor(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[..line_start].matches('\n').count() + 1;
        Place {
            file: file.to_owned(),
            line: numbered.then_some(line),
            column: text[line_start..start].chars().count() + 1,
            source: text[line_start..line_end].trim_end_matches('\r').to_owned(),
            width: text[start..end.min(line_end)].chars().count().max(1),
        }
    }

    /// The spaces (and tabs, as they stand) that bring the marker under the place.
    fn indent(&self) -> String {
        let blank = |c| if c == '\t' { '\t' } else { ' ' };
        self.source.chars().chain(std::iter::repeat(' ')).take(self.column - 1).map(blank).collect()
    }
}

/// The nearest start of a character at or before this byte.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            write!(f, "error: {}", self.message)?;
            return self.hint.iter().try_for_each(|hint| write!(f, "\n  {hint}"));
        };
        let line = place.line.map(|line| line.to_string()).unwrap_or_default();
        match place.line {
            Some(line) => write!(f, "{}:{line}:{}: ", place.file, place.column)?,
            None => write!(f, "{}: ", place.file)?,
        }
        let margin = " ".repeat(line.len());
        let source: String = place.source.chars().map(shown).collect();
        writeln!(f, "error: {}\n{margin} |\n{line} | {source}", self.message)?;
        let marker = "^".repeat(place.width);
        write!(f, "{margin} | {}{marker}", place.indent())?;
        self.hint.iter().try_for_each(|hint| write!(f, " {hint}"))
    }
}

/// Control characters would move the terminal's cursor.
fn shown(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.0 {
            writeln!(f, "{error}\n")?;
        }
        let count = self.0.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_stands_under_its_place() {
        let text = "a = 1\n\tключ = \"wert\"\n";
        let at = text.find("\"wert\"").expect("there");
        let place = Place::of("c.toml", text, &(at..at + 6), true);
        let error = ConfigError::new("no").at(Some(place)).hint("yes");
        assert_eq!(
            error.to_string(),
            "c.toml:2:9: error: no\n  |\n2 | \tключ = \"wert\"\n  | \t       ^^^^^^ yes"
        );
    }

    #[test]
    fn a_place_outside_the_text_is_its_end() {
        let place = Place::of("c.toml", "é", &(7..9), true);
        assert_eq!((place.line, place.column, place.width), (Some(1), 2, 1));
        assert!(ConfigError::new("no").at(Some(place)).to_string().ends_with("|  ^"));
    }
}
