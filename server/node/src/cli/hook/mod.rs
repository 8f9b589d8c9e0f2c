//! `hook`: what those who write scripts need, with a server and without one.

use std::path::{Path, PathBuf};

use keepboth_core::limits::VALUE_BYTES_MAX;
use keepboth_core::name::Namespace;
use keepboth_core::plugin::Site;
use keepboth_lua::Declared;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::object::namespace;
use super::session::Session;

/// `hook new`.
mod new;
/// `hook check`.
mod check;
/// `hook test`.
mod test;
/// The results of tests for people and programs.
mod report;
/// `hook run`.
mod run;
/// What an event came to, as JSON.
mod outcome;
/// `hook bench`.
mod bench;
/// `hook replay`.
mod replay;
/// The last events of a namespace.
mod events;
/// `hook log`.
mod log;

/// Milliseconds that a script may take on trial: a busy machine is no mistake in a script.
const TRIAL_MS: u64 = 5_000;

/// Scripts that hook into writes: new, check, test, run, replay, bench, log
#[derive(Debug, clap::Subcommand)]
pub enum Hook {
    /// Write a script that works, its test, and what editors need; overwrites nothing
    New(new::New),
    /// Check scripts: every mistake with line and column, or which hooks they have and where each runs
    Check(check::Check),
    /// Run the tests of scripts in memory: nothing is stored, no server is asked
    Test(test::Test),
    /// Show what a script makes of one event; nothing is written
    Run(run::Run),
    /// Show what a script would have made of the last events of a namespace; nothing is written
    Replay(replay::Replay),
    /// Measure what each hook of a script costs
    Bench(bench::Bench),
    /// Show what the scripts of a running server log and print, and their failures
    Log(log::Log),
}

/// What a script is bound to on trial.
#[derive(Debug, Clone, clap::Args)]
struct Ground {
    /// The namespace to which the script is bound
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace, default_value = "notes")]
    namespace: Namespace,
    #[command(flatten)]
    options: Options,
}

/// The options of a script.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// kb.options, an object of JSON
    #[arg(long, value_name = "JSON", value_parser = object)]
    options: Option<Json>,
}

impl Options {
    /// The settings of the plugin, without its scripts.
    fn settings(&self) -> Json {
        let options = self.options.clone().unwrap_or_else(|| json!({}));
        json!({"options": options, "time_limit_ms": TRIAL_MS})
    }
}

fn object(text: &str) -> Result<Json, String> {
    match keepboth_core::json::parse(text.as_bytes()) {
        Ok(tree @ Json::Object(_)) => Ok(tree),
        Ok(_) => Err("an object of JSON, like '{\"to\":\"copies\"}'".into()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

/// A script as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// Its folder.
    folder: PathBuf,
    /// Its name there.
    name: String,
}

impl Named {
    /// A file of the command line. Its folder is the scripts folder.
    fn of(file: &Path) -> Result<Named, Failure> {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{} is not the name of a file", file.display()))
        })?;
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        Ok(Named { folder, name: name.to_owned() })
    }

    /// Where it is bound.
    fn site(&self, namespace: &Namespace) -> Site {
        Site {
            namespace: namespace.clone(),
            folder: self.folder.clone(),
            schemas: self.folder.clone(),
            scripts: self.folder.clone(),
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }

    /// A file of the same folder, as a path.
    fn path_of(&self, name: &str) -> String {
        match self.folder == Path::new(".") {
            true => name.to_owned(),
            false => self.folder.join(name).display().to_string(),
        }
    }

    /// Its own path.
    fn path(&self) -> String {
        self.path_of(&self.name)
    }

    /// Words in which files stand as `scripts/NAME`, with their paths instead.
    fn here(&self, words: &str) -> String {
        let stem = self.name.trim_end_matches(".luau").trim_end_matches("_test");
        words.replace(&format!("scripts/{stem}"), &self.path_of(stem))
    }
}

/// The script on trial, or all its mistakes as a failure.
fn trial(
    file: &Named,
    namespace: &Namespace,
    options: &Options,
) -> Result<keepboth_lua::trial::Trial, Failure> {
    let mut settings = options.settings();
    settings["scripts"] = json!([file.name]);
    keepboth_lua::trial::Trial::new(&file.site(namespace), settings).map_err(|mistakes| {
        let words: Vec<String> = mistakes.iter().map(|m| file.here(&m.message)).collect();
        Failure::new(Exit::Config, words.join("\n")).hint("keepboth hook check says more")
    })
}

/// The name of a hook as the command line has it.
fn name_of(declared: &Declared) -> &'static str {
    declared.hook.as_str()
}

/// Runs what needs no server; None if the command needs one.
pub fn offline(command: &Hook, json: bool) -> Option<Result<(), Failure>> {
    Some(match command {
        Hook::New(args) => new::run(args, json),
        Hook::Check(args) => check::run(args, json),
        Hook::Test(args) => test::run(args, json),
        Hook::Run(args) => run::run(args, json),
        Hook::Bench(args) => bench::run(args, json),
        Hook::Replay(_) | Hook::Log(_) => return None,
    })
}

/// Runs what asks a server.
pub async fn run(command: Hook, session: &mut Session) -> Result<(), Failure> {
    match command {
        Hook::Replay(args) => replay::run(args, session).await,
        Hook::Log(args) => log::run(args, session).await,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_by_the_path_that_was_given() {
        let file = Named::of(Path::new("hooks/a.luau")).expect("a file");
        assert_eq!(file.here("scripts/a_test.luau:3: no"), "hooks/a_test.luau:3: no");
        let file = Named::of(Path::new("a_test.luau")).expect("a file");
        assert_eq!((file.path().as_str(), file.folder.as_path()), ("a_test.luau", Path::new(".")));
        assert_eq!(file.here("scripts/a.luau:3: no"), "a.luau:3: no");
        assert_eq!(Named::of(Path::new("..")).expect_err("no file").exit, Exit::Usage);
    }

    #[test]
    fn options_are_an_object() {
        assert_eq!(object("{\"a\":1}"), Ok(json!({"a": 1})));
        assert!(object("[1]").is_err_and(|words| words.contains("an object of JSON")));
        assert!(object("{").is_err_and(|words| words.starts_with("not JSON")));
    }
}
