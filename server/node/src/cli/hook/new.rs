//! `hook new`: a script that works, its test, and what editors need.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use keepboth_lua::{EDITOR_SETTINGS, definitions};
use serde_json::json;

use super::super::exit::{Exit, Failure};
use super::super::out::{Out, talk};

const SCRIPT: &str = include_str!("script.luau");
const TEST: &str = include_str!("script_test.luau");

/// What to write.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  keepboth hook new titles               scripts/titles.luau and scripts/titles_test.luau
  keepboth hook test scripts/titles.luau")]
pub struct New {
    /// The name of the script
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// The scripts folder
    #[arg(long, value_name = "FOLDER", default_value = "scripts")]
    scripts: PathBuf,
}

/// Letters, digits, `_` and `-`; it ends up as the name of a file.
fn name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix(".luau").unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
        return Err("1 to 100 letters, digits, _ and -; the folder is --scripts FOLDER".into());
    }
    if name.ends_with("_test") {
        return Err("a name that ends with _test is that of a test".into());
    }
    Ok(name.to_owned())
}

/// Writes the files that are not there.
pub fn run(args: &New, json: bool) -> Result<(), Failure> {
    let (name, folder) = (&args.name, &args.scripts);
    let path = |end: &str| folder.join(format!("{name}{end}"));
    let (script, test) = (path(".luau"), path("_test.luau"));
    if let Some(there) = [&script, &test].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let words = format!("{} is there already; nothing was written", there.display());
        return Err(Failure::new(Exit::Failure, words).hint("take another name"));
    }
    std::fs::create_dir_all(folder).map_err(|e| cannot(folder, &e))?;
    let mut written = Vec::new();
    for (path, text, must) in [
        (script, SCRIPT.replace("NAME", name), true),
        (test, TEST.to_owned(), true),
        (folder.join("kb.d.luau"), definitions(), false),
        (folder.join(".luaurc"), EDITOR_SETTINGS.to_owned(), false),
    ] {
        match File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes())) {
            Ok(()) => written.push(path.display().to_string()),
            Err(error) if !must && error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(&path, &error)),
        }
    }
    let mut out = Out::new(json);
    match json {
        true => out.json(&json!({"written": written}))?,
        false => written.iter().try_for_each(|path| out.line(path))?,
    }
    out.flush()?;
    if !json {
        talk(&format!("try it: keepboth hook test {}", path(".luau").display()));
    }
    Ok(())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_a_file_in_the_folder() {
        assert_eq!(name("a-b_1.luau"), Ok("a-b_1".into()));
        for text in ["", "../a", "a/b", "a b", "a_test", ".luau"] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}
