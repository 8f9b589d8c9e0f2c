//! A value on the command line: as an argument, from a file, or from stdin; as JSON, text or bytes.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use keepboth_core::json;
use keepboth_core::limits::{FRAME_BYTES_MAX, figure};
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};

/// How the bytes of a value are to be understood. Without a choice they must be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::Args)]
#[group(multiple = false)]
pub struct Form {
    /// The value is text, whatever it looks like
    #[arg(long)]
    pub string: bool,
    /// The value is bytes, as they are
    #[arg(long)]
    pub bytes: bool,
    /// The value is JSON (the default); {"$bytes":base64} and the other escapes hold
    #[arg(long)]
    pub json_value: bool,
}

/// Reads a value as it stands in frames. `value` may be `-` for stdin.
pub fn value(value: Option<&str>, file: Option<&PathBuf>, form: Form) -> Result<Json, Failure> {
    let bytes = match (value, file) {
        (Some("-"), _) => bounded(&mut std::io::stdin().lock(), "stdin")?,
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(file)) => read_file(file)?,
        (None, None) => {
            let failure = Failure::new(Exit::Usage, "there is no value");
            return Err(failure.hint("give it as an argument, by --file FILE, or - for stdin"));
        }
    };
    understood(bytes, form)
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let name = file.display().to_string();
    let open = std::fs::File::open(file);
    let mut open = open.map_err(|e| Failure::new(Exit::Failure, format!("{name}: {e}")))?;
    bounded(&mut open, &name)
}

/// Reads no more than a frame could carry.
fn bounded(from: &mut dyn Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(FRAME_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::new(Exit::Failure, format!("{name}: {e}")))?;
    if bytes.len() > FRAME_BYTES_MAX {
        let words = format!("{name} has more than {} bytes", figure(FRAME_BYTES_MAX));
        return Err(Failure::new(Exit::Limit, words).hint("a value has at most 65,536 bytes"));
    }
    Ok(bytes)
}

fn understood(bytes: Vec<u8>, form: Form) -> Result<Json, Failure> {
    let refused = |words: String| Failure::new(Exit::Refused, words);
    if form.bytes {
        return Ok(json!({"$bytes": BASE64.encode(bytes)}));
    }
    if form.string {
        let text = String::from_utf8(bytes).map_err(|e| refused(format!("not UTF-8: {e}")));
        return text.map(Json::String).map_err(|e| e.hint("--bytes puts it as bytes"));
    }
    json::parse(&bytes).map_err(|e| {
        refused(format!("the value is not JSON: {e}"))
            .hint("to put it as text add --string, as bytes --bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, form: Form) -> Result<Json, Failure> {
        value(Some(text), None, form)
    }

    #[test]
    fn a_value_is_json_unless_told_otherwise() {
        let (string, bytes) =
            (Form { string: true, ..Form::default() }, Form { bytes: true, ..Form::default() });
        assert_eq!(of("{\"a\":1}", Form::default()), Ok(json!({"a": 1})));
        assert_eq!(of("5", string), Ok(json!("5")));
        assert_eq!(of("hi", bytes), Ok(json!({"$bytes": "aGk="})));
        let failure = of("hello", Form::default()).expect_err("no JSON");
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.to_string().contains("add --string"), "{failure}");
    }

    #[test]
    fn a_value_comes_from_a_file_too() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "[1]").expect("write");
        let path = file.path().to_owned();
        assert_eq!(value(None, Some(&path), Form::default()), Ok(json!([1])));
        std::fs::write(file.path(), vec![b' '; FRAME_BYTES_MAX + 1]).expect("write");
        let failure = value(None, Some(&path), Form::default()).expect_err("too long");
        assert_eq!(failure.exit, Exit::Limit);
        assert_eq!(value(None, None, Form::default()).expect_err("none").exit, Exit::Usage);
    }
}
