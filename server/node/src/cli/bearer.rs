//! The token that shows the server who the user is.

use std::path::Path;

use super::exit::{Exit, Failure};

/// The variable with the token.
const VARIABLE: &str = "KEEPBOTH_TOKEN";

/// The token in the file that was named, or else in the environment.
pub fn read(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let (text, place) = match file {
        Some(file) => {
            let place = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|e| {
                Failure::new(Exit::Usage, format!("the token in {place} cannot be read: {e}"))
            })?;
            (text, place)
        }
        None => match std::env::var(VARIABLE) {
            Ok(text) => (text, VARIABLE.to_owned()),
            Err(std::env::VarError::NotPresent) => return Ok(None),
            Err(e) => return Err(Failure::new(Exit::Usage, format!("{VARIABLE}: {e}"))),
        },
    };
    match text.trim() {
        "" => Err(Failure::new(Exit::Usage, format!("{place} has no token in it"))),
        token => Ok(Some(token.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_its_file_without_what_is_around_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        std::fs::write(&file, " abc\n").expect("written");
        assert_eq!(read(Some(&file)), Ok(Some("abc".to_owned())));
        std::fs::write(&file, "\n").expect("written");
        let words = read(Some(&file)).expect_err("refused").message;
        assert!(words.ends_with("has no token in it"), "{words}");
        let words = read(Some(&folder.path().join("none"))).expect_err("refused").message;
        assert!(words.contains("cannot be read"), "{words}");
    }
}
