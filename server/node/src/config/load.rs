//! From a file and the environment to a checked configuration, all mistakes in one pass.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keepboth_core::name::Namespace;
use keepboth_core::plugin::Factory;
use serde_json::{Value as Json, json};

use super::bind::{Bound, bind, pointer_of_use};
use super::certificates;
use super::error::{ConfigError, ConfigErrors};
use super::mistake::{Mistake, find};
use super::rules;
use super::shape::{Config, schema};
use super::tree::{ENVIRONMENT_PREFIX, Tree, parts, pointer as join};

/// A file larger than this is not the configuration.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A configuration and where each part of it was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings, paths resolved.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    tree: Tree,
}

impl Loaded {
    /// The folder from which relative paths hold.
    pub fn folder(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// What is wrong with it for a server that runs where everyone reaches it: no plugin says who clients are.
    pub fn open_to_all(&self, address: SocketAddr) -> ConfigErrors {
        let words = format!(
            "the server listens on {address} until it is started again, and everyone who reaches it could read \
             and write everything: no plugin says who clients are"
        );
        let hint = "keep a plugin in [[plugins]] that does; another listen, or insecure = true, holds after a \
                    restart";
        ConfigErrors::new(placed(&self.tree, vec![Mistake::new("/plugins", words).hint(hint)]))
    }

    /// What is wrong with a plugin of a namespace, or of the server, at this place of its list.
    pub fn plugin_mistake(
        &self,
        namespace: Option<&Namespace>,
        at: usize,
        words: String,
    ) -> ConfigErrors {
        let mistake = Mistake::new(pointer_of_use(namespace, at), words);
        ConfigErrors::new(placed(&self.tree, vec![mistake]))
    }
}

impl Config {
    /// Reads a file, puts the environment's `KEEPBOTH__SECTION__KEY` over it, and checks all but the
    /// plugins and certificates. Without a file it takes the defaults. Relative paths hold from the file's folder,
    /// or without a file from the working directory. Opens nothing but the file.
    pub fn load(path: Option<&Path>) -> Result<Loaded, ConfigErrors> {
        Config::load_from(path, std::env::vars_os())
    }

    /// As [`Config::load`], with these variables instead of the environment.
    pub fn load_from(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, ConfigErrors> {
        match read(path, variables)? {
            (loaded, errors) if errors.is_empty() => Ok(loaded),
            (_, errors) => Err(ConfigErrors::new(errors)),
        }
    }

    /// Reads and checks everything, plugins included, and reports the mistakes of both together: what
    /// `keepboth check` does.
    pub fn load_and_check(
        path: Option<&Path>,
        factories: &[Factory],
    ) -> Result<(Loaded, Bound), ConfigErrors> {
        let (loaded, mut errors) = read(path, std::env::vars_os())?;
        match check(&loaded, factories) {
            Ok(bound) if errors.is_empty() => Ok((loaded, bound)),
            Ok(_) => Err(ConfigErrors::new(errors)),
            Err(more) => {
                errors.extend(more.0);
                Err(ConfigErrors::new(errors))
            }
        }
    }
}

/// Makes the plugins of all namespaces, in the order of the file. Reads the files that their settings
/// name, and certificates and keys; opens no port and no database.
pub fn check(loaded: &Loaded, factories: &[Factory]) -> Result<Bound, ConfigErrors> {
    let mut found = certificates::find(&loaded.config);
    let (bound, more) = bind(&loaded.config, loaded.folder(), factories, None);
    if more.is_empty() && !bound.gates.is_empty() && !bound.authenticates() {
        found.extend(rules::open_to_all(&loaded.config.server));
    }
    found.extend(more);
    match found.is_empty() {
        true => Ok(bound),
        false => Err(ConfigErrors::new(placed(&loaded.tree, found))),
    }
}

/// Makes the plugins of the configuration that is in force anew, after files that they name were saved.
/// What is faulty is told and stays as it is in force.
pub fn renew(
    loaded: &Loaded,
    in_force: &Bound,
    factories: &[Factory],
) -> (Bound, Option<ConfigErrors>) {
    let (bound, found) = bind(&loaded.config, loaded.folder(), factories, Some(in_force));
    let faulty = !found.is_empty();
    (bound, faulty.then(|| ConfigErrors::new(placed(&loaded.tree, found))))
}

/// The configuration as far as it is sound, and its mistakes. An error if there is nothing to check.
fn read(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Loaded, Vec<ConfigError>), ConfigErrors> {
    let mut tree = Tree::default();
    if let Some(path) = path {
        let text = read_file(path).map_err(|e| ConfigErrors(vec![e]))?;
        tree.add_file(&path.display().to_string(), &text).map_err(ConfigErrors::new)?;
    }
    let mut errors = add_environment(&mut tree, variables);
    let (mut config, found) = typed(&tree).map_err(|e| ConfigErrors(vec![e]))?;
    errors.extend(placed(&tree, found));
    let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
    config.resolve_paths(folder);
    Ok((Loaded { config, file: path.map(Path::to_path_buf), tree }, errors))
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| {
        let error = ConfigError::new(format!("cannot read the configuration file {shown}: {e}"));
        error.hint("name another one with --config, or leave it out to run with the defaults")
    };
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Err(ConfigError::new(format!(
            "{shown} is no configuration file: not a regular file, or over 4 MiB"
        )));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        ConfigError::new(format!("{shown} is not UTF-8 at byte {at}"))
    })
}

fn add_environment(
    tree: &mut Tree,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<ConfigError> {
    let ours = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        name.starts_with(ENVIRONMENT_PREFIX).then_some((name, value))
    };
    // Sorted, a section set as a whole comes before the settings in it.
    let mut ours: Vec<_> = variables.into_iter().filter_map(ours).collect();
    ours.sort();
    let add = |(name, value): (String, OsString)| match value.to_str() {
        Some(value) => tree.add_variable(&name, value).err(),
        None => Some(ConfigError::new(format!("the environment's {name} is not UTF-8"))),
    };
    ours.into_iter().filter_map(add).collect()
}

/// The settings, with the default in place of each that is faulty, and the mistakes.
fn typed(tree: &Tree) -> Result<(Config, Vec<Mistake>), ConfigError> {
    let mut root = Json::Object(tree.root.clone());
    let mut found = find(&schema(), &root, "");
    let faulty: BTreeSet<String> = found.iter().map(|m| m.pointer.clone()).collect();
    for pointer in &faulty {
        neutralize(&mut root, pointer);
    }
    // Only a mistake that the schema should have found can remain.
    let config: Config =
        serde_json::from_value(root).map_err(|e| match placed(tree, found.clone()) {
            told if told.is_empty() => ConfigError::new(e.to_string()),
            mut told => told.remove(0),
        })?;
    found.extend(rules::find(&config, &faulty));
    Ok((config, found))
}

/// Takes out a faulty setting so that the rest can be looked at, with the table around it if that cannot be
/// without it. In a list it leaves an empty one, or the pointers behind it would name their neighbours.
fn neutralize(root: &mut Json, pointer: &str) {
    let keys = parts(pointer);
    let (depth, empty) = match keys.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["namespaces", _, "plugins", _, ..] => (4, json!({"use": ""})),
        ["plugins", _, ..] => (2, json!({"use": ""})),
        ["mesh", "members", _, ..] => (3, json!({"node": ""})),
        ["server", "tls", ..] => (2, Json::Null),
        _ => (keys.len(), json!("")),
    };
    let keys = &keys[..depth];
    let Some((last, above)) = keys.split_last() else {
        *root = json!({});
        return;
    };
    match root.pointer_mut(&join(above)) {
        Some(Json::Object(table)) => drop(table.remove(last)),
        Some(Json::Array(list)) => {
            let item = last.parse().ok().and_then(|i: usize| list.get_mut(i));
            item.into_iter().for_each(|item| *item = empty.clone());
        }
        _ => {}
    }
}

/// Gives each mistake its place in the texts.
fn placed(tree: &Tree, found: Vec<Mistake>) -> Vec<ConfigError> {
    let placed = |mistake: Mistake| {
        let pointer = match mistake.or {
            Some(or) if !tree.has(&mistake.pointer) => or,
            _ => &mistake.pointer,
        };
        let place = tree.place(pointer, mistake.part);
        let nowhere = place.is_none() && !mistake.pointer.is_empty();
        let message = if nowhere {
            format!("{}: {}", parts(&mistake.pointer).join("."), mistake.message)
        } else {
            mistake.message
        };
        ConfigError { place: place.map(Box::new), message, hint: mistake.hint }
    };
    found.into_iter().map(placed).collect()
}
