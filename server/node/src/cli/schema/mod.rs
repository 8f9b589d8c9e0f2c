//! `schema check`, `schema test`, `schema infer` and `schema report`.

use std::path::{Path, PathBuf};

use keepboth_core::name::Namespace;
use keepboth_schema::Folder;

use super::exit::{Exit, Failure};
use super::object::namespace;
use super::session::Session;

/// All mistakes of schema files.
mod check;
/// The tests that stand in schema files.
mod test;
/// A schema for objects that are there.
mod infer;
/// Objects that break the schemas of their namespace.
mod report;

pub use check::run as check;
pub use infer::offline as infer;
pub use test::run as test;

/// JSON Schemas for values
#[derive(Debug, clap::Subcommand)]
pub enum Schema {
    /// Check schema files and what they refer to; report every mistake with its line and column
    Check(Files),
    /// Run the tests that stand in schema files: examples pass, counter-examples are refused
    #[command(after_help = test::HELP)]
    Test(Files),
    /// Write a schema that accepts the objects that are there
    Infer(infer::Infer),
    /// List the objects that break the schemas that hold now
    Report {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
}

/// Which schema files.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// The schema files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The folder that no $ref leaves; without it each file's own
    #[arg(long, value_name = "FOLDER")]
    schemas: Option<PathBuf>,
}

/// A schema file, as the command line names it.
struct Named {
    folder: PathBuf,
    /// Its name in the folder.
    name: String,
}

impl Files {
    fn named(&self) -> Result<Vec<Named>, Failure> {
        self.files.iter().map(|file| named(file, self.schemas.as_deref())).collect()
    }
}

fn named(file: &Path, folder: Option<&Path>) -> Result<Named, Failure> {
    let folder = match (folder, file.parent()) {
        (Some(folder), _) => folder,
        (None, Some(folder)) if folder != Path::new("") => folder,
        (None, _) => Path::new("."),
    };
    let here = (folder == Path::new(".")).then_some(file);
    let name = file.strip_prefix(folder).ok().or(here).and_then(Path::to_str).ok_or_else(|| {
        let (file, folder) = (file.display(), folder.display());
        let words = format!("{file} does not begin with the folder {folder}");
        Failure::new(Exit::Usage, words).hint("name the file as FOLDER/FILE")
    })?;
    Ok(Named { folder: folder.to_owned(), name: name.to_owned() })
}

impl Named {
    fn folder(&self) -> Folder {
        Folder::new(&self.folder)
    }

    /// A file of the same folder, as a path.
    fn path_of(&self, name: &str) -> String {
        match self.folder == Path::new(".") {
            true => name.to_owned(),
            false => self.folder.join(name).display().to_string(),
        }
    }
}

/// Runs what asks a server. The other commands need none.
pub async fn run(command: Schema, session: &mut Session) -> Result<(), Failure> {
    match command {
        Schema::Infer(args) => infer::run(args, session).await,
        Schema::Report { ns } => report::run(&ns, session).await,
        Schema::Check(_) | Schema::Test(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_its_folder() {
        for (file, folder, name, path) in [
            ("a.json", None, "a.json", "a.json"),
            ("./a.json", None, "a.json", "a.json"),
            ("sub/a.json", Some("."), "sub/a.json", "sub/a.json"),
            ("schemas/a.json", None, "a.json", "schemas/a.json"),
            ("schemas/sub/a.json", Some("schemas"), "sub/a.json", "schemas/sub/a.json"),
            ("/x/a.json", None, "a.json", "/x/a.json"),
        ] {
            let named = named(Path::new(file), folder.map(Path::new)).expect(file);
            assert_eq!((named.name.as_str(), named.path_of(name).as_str()), (name, path));
        }
        let failure = named(Path::new("b/a.json"), Some(Path::new("schemas"))).map(|_| ());
        let failure = failure.expect_err("elsewhere");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("b/a.json does not begin with the folder schemas"));
    }
}
