//! What the command says: data on stdout, talk on stderr. A closed pipe ends it quietly.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde_json::Value as Json;

use super::exit::Failure;

/// Stdout and stderr.
pub struct Out {
    data: BufWriter<io::Stdout>,
    /// True if programs read it: JSON only, a line for each item of a stream.
    pub json: bool,
}

impl Out {
    /// Stdout as it is.
    pub fn new(json: bool) -> Out {
        Out { data: BufWriter::new(io::stdout()), json }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.data.write_all(bytes)?)
    }

    /// A line of text.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.raw(text.as_bytes())?;
        self.raw(b"\n")
    }

    /// A line of JSON.
    pub fn json(&mut self, tree: &Json) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.data, tree).map_err(io::Error::from)?;
        self.raw(b"\n")
    }

    /// Says now what was written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.data.flush()?)
    }

    /// True if a person looks at stdout.
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }
}

/// Says something to the person on stderr. Nobody there is no reason to stop.
pub fn talk(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Says what failed: in words, or as JSON for programs.
pub fn complain(failure: &Failure, json: bool) {
    if failure.message.is_empty() {
        return;
    }
    match json {
        true => talk(&failure.to_json().to_string()),
        false => talk(&format!("\x1b[1;31merror:\x1b[0m {}", printable(&failure.to_string()))),
    }
}

/// Text from outside without anything that moves a terminal's cursor. Line ends stay.
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "\n".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}
