//! Folders of schemas, and what the plugin says of them and of puts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{Before, Draft, Origin, Plugin, Put, SettingsError, Site, Source};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_schema::FACTORY;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

pub fn build_in(folder: &Path, settings: Json) -> Result<Arc<dyn Plugin>, Vec<SettingsError>> {
    let site = Site {
        namespace: Namespace::new("notes").expect("namespace"),
        folder: ".".into(),
        schemas: folder.to_owned(),
        scripts: "scripts".into(),
        value_bytes_max: 65_536,
    };
    FACTORY.build(&site, settings)
}

/// A folder with these files.
pub fn folder(files: &[(&str, Json)]) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (name, schema) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, schema.to_string()).expect("written");
    }
    folder
}

/// What is said of a schema file at the start.
pub fn faults(text: &str) -> String {
    let folder = folder(&[]);
    fs::write(folder.path().join("a.json"), text).expect("written");
    let built = build_in(folder.path(), json!({"bind": {"*": "a.json"}}));
    let errors = built.map(|_| ()).expect_err("refused");
    assert!(errors.iter().all(|e| e.pointer == "/bind/*"), "{errors:?}");
    errors.iter().map(|e| e.message.clone() + "\n").collect()
}

pub fn at_key(key: &str, value: Value) -> Put {
    let key = Key::new(key).expect("key");
    Put {
        namespace: Namespace::new("notes").expect("namespace"),
        name: Name::Key(key.clone()),
        key,
        origin: Origin::new(Source::Client, "ada", 0),
        before: Before::nothing(),
        draft: Draft::new(value, None),
    }
}

pub fn put(plugin: &Arc<dyn Plugin>, key: &str, value: Value) -> Result<(), Refusal> {
    plugin.worker().expect("worker").before_put(&mut at_key(key, value))
}

pub fn put_at(plugin: &Arc<dyn Plugin>, key: &str, value: Json) -> Result<(), Refusal> {
    put(plugin, key, Value::json(&value))
}

pub fn words(result: Result<(), Refusal>) -> String {
    let refusal = result.expect_err("refused");
    assert_eq!(refusal.code, Code::SchemaRefused);
    refusal.message
}

/// The folder of the repository.
pub fn schemas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

pub fn notes() -> Arc<dyn Plugin> {
    let settings = json!({"bind": {"note/*": "note.schema.json"}});
    build_in(&schemas(), settings).unwrap_or_else(|e| panic!("{e:?}"))
}
