//! A target that is in order, read from its settings and the files that they name, or all that is wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keepboth_core::pattern::Pattern;
use keepboth_core::plugin::{Changed, SettingsError, Site};
use keepboth_core::policy::Fingerprint;
use rustls::ClientConfig;
use serde_json::Value as Json;

use crate::address::{self, Address};
use crate::event;
use crate::settings::{Declared, On, Settings};
use crate::sign::Secret;

/// Most targets of one namespace.
const TARGETS_MAX: usize = 32;
/// Most characters of the name of a target.
const NAME_CHARS_MAX: usize = 64;

/// A target that is in order.
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub declared: Declared,
    /// Where it is.
    pub address: Address,
    /// Whom it trusts, for https.
    pub tls: Option<Arc<ClientConfig>>,
    /// What signs its requests.
    pub secret: Option<Secret>,
    patterns: Vec<Pattern>,
}

impl Target {
    /// True if this node is to tell it of a change.
    pub fn tells(&self, changed: &Changed) -> bool {
        let declared = &self.declared;
        (changed.made_here || declared.on == On::Every)
            && declared.events.contains(&event::kind(&changed.now))
            && self.patterns.iter().any(|pattern| pattern.matches(changed.key.as_str()))
    }
}

/// The targets and a hash of all that they come from, or all that is wrong.
pub fn read(site: &Site, json: Json) -> Result<(Vec<Target>, [u8; 32]), Vec<SettingsError>> {
    let mut print = Fingerprint::new().with("webhook").with(json.to_string());
    let settings: Settings = serde_json::from_value(json)
        .map_err(|e| vec![SettingsError { pointer: String::new(), message: e.to_string() }])?;
    let (mut targets, mut faults) = (Vec::new(), Vec::new());
    if settings.targets.len() > TARGETS_MAX {
        let message = format!("{} targets, the limit is {TARGETS_MAX}", settings.targets.len());
        faults.push(SettingsError { pointer: "/targets".into(), message });
    }
    for (name, declared) in settings.targets {
        let pointer = format!("/targets/{}", name.replace('~', "~0").replace('/', "~1"));
        let mut reading = Reading { folder: &site.folder, pointer, faults: &mut faults, print };
        let target = reading.target(name, declared);
        print = reading.print;
        targets.extend(target);
    }
    if faults.is_empty() { Ok((targets, print.finish())) } else { Err(faults) }
}

/// A target that is being read.
struct Reading<'a> {
    folder: &'a Path,
    pointer: String,
    faults: &'a mut Vec<SettingsError>,
    print: Fingerprint,
}

impl Reading<'_> {
    /// Takes down what is wrong with a field.
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        let pointer = format!("{}{field}", self.pointer);
        self.faults.push(SettingsError { pointer, message: message.into() });
    }

    /// What was read, or None and its fault.
    fn need<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|words| self.fault(field, words)).ok()
    }

    fn target(&mut self, name: String, declared: Declared) -> Option<Target> {
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.contains('\0') {
            self.fault(
                "",
                format!("the name of a target has 1 to {NAME_CHARS_MAX} characters, none NUL"),
            );
        }
        for (field, period) in [
            ("/connect_within", declared.connect_within),
            ("/answer_within", declared.answer_within),
            ("/retry_min", declared.retry_min),
        ] {
            if period.get() == Duration::ZERO {
                self.fault(field, format!("{} is at least 1ms", &field[1..]));
            }
        }
        if declared.retry_max < declared.retry_min {
            let (max, min) = (declared.retry_max, declared.retry_min);
            self.fault(
                "/retry_max",
                format!("retry_max is {max}, less than retry_min, which is {min}"),
            );
        }
        let secret = self.secret(&declared);
        let address = self.need("/url", Address::read(&declared.url));
        let tls = self.tls(&declared, address.as_ref());
        Some(Target {
            address: address?,
            tls: tls?,
            secret: secret?,
            patterns: declared.keys.iter().map(|keys| Pattern::new(keys)).collect(),
            name,
            declared,
        })
    }

    /// None is a fault.
    fn secret(&mut self, declared: &Declared) -> Option<Option<Secret>> {
        let (field, text) = match (&declared.secret_file, &declared.secret_env) {
            (None, None) => return Some(None),
            (Some(_), Some(_)) => {
                self.fault(
                    "/secret_env",
                    "secret_file and secret_env are both there, use one of them",
                );
                return None;
            }
            (Some(file), None) => {
                let path = self.folder.join(file);
                let read = std::fs::read_to_string(&path);
                ("/secret_file", read.map_err(|e| format!("the secret in {}: {e}", path.display())))
            }
            (None, Some(variable)) => {
                let read = std::env::var(variable);
                (
                    "/secret_env",
                    read.map_err(|_| format!("there is no variable {variable} in the environment")),
                )
            }
        };
        let text = self.need(field, text)?;
        self.print = std::mem::take(&mut self.print).with(&text);
        let what = declared.secret_file.as_ref().or(declared.secret_env.as_ref());
        let of = |words| format!("the secret in {}: {words}", what.map_or("", String::as_str));
        self.need(field, Secret::read(&text).map_err(of)).map(Some)
    }

    /// None is a fault.
    fn tls(
        &mut self,
        declared: &Declared,
        address: Option<&Address>,
    ) -> Option<Option<Arc<ClientConfig>>> {
        let address = address?;
        let ca = declared.ca.as_ref().map(|ca| self.folder.join(ca));
        if !address.secure {
            if ca.is_some() {
                self.fault("/ca", "ca is for https, and the url is http");
            }
            return Some(None);
        }
        if let Some(bytes) = ca.as_ref().and_then(|ca| std::fs::read(ca).ok()) {
            self.print = std::mem::take(&mut self.print).with(bytes);
        }
        let field = if ca.is_some() { "/ca" } else { "/url" };
        self.need(field, address::trust(ca.as_deref())).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepboth_core::name::Namespace;
    use serde_json::json;

    fn site(folder: &Path) -> Site {
        Site {
            namespace: Namespace::new("notes").expect("a name"),
            folder: folder.to_owned(),
            schemas: folder.to_owned(),
            scripts: folder.to_owned(),
            value_bytes_max: 65_536,
        }
    }

    fn faults(folder: &Path, target: Json) -> Vec<(String, String)> {
        let read = read(&site(folder), json!({"targets": {"crm": target}}));
        let faults = read.err().expect("refused");
        faults.into_iter().map(|fault| (fault.pointer, fault.message)).collect()
    }

    #[test]
    fn every_mistake_of_a_target_is_told_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("empty"), "\n").expect("written");
        let url = "http://127.0.0.1:1/";
        for (target, pointer, words) in [
            (json!({"url": "nonsense"}), "/targets/crm/url", "is no whole URL"),
            (json!({"url": "ftp://a/"}), "/targets/crm/url", "use http or https"),
            (
                json!({"url": url, "secret_file": "none"}),
                "/targets/crm/secret_file",
                "none: No such file",
            ),
            (
                json!({"url": url, "secret_file": "empty"}),
                "/targets/crm/secret_file",
                "the secret in empty: it is empty",
            ),
            (
                json!({"url": url, "secret_env": "KEEPBOTH_NO_SUCH_SECRET"}),
                "/targets/crm/secret_env",
                "there is no variable KEEPBOTH_NO_SUCH_SECRET",
            ),
            (
                json!({"url": url, "secret_env": "A", "secret_file": "b"}),
                "/targets/crm/secret_env",
                "use one of them",
            ),
            (json!({"url": url, "ca": "empty"}), "/targets/crm/ca", "ca is for https"),
            (
                json!({"url": "https://a/", "ca": "empty"}),
                "/targets/crm/ca",
                "empty: there is no certificate in it",
            ),
            (json!({"url": "https://a/", "ca": "none"}), "/targets/crm/ca", "none: "),
            (
                json!({"url": url, "answer_within": "0s"}),
                "/targets/crm/answer_within",
                "at least 1ms",
            ),
            (
                json!({"url": url, "retry_max": "10ms"}),
                "/targets/crm/retry_max",
                "retry_max is 10ms, less than retry_min, which is 1s",
            ),
        ] {
            let found = faults(folder.path(), target.clone());
            assert_eq!(found.len(), 1, "{target}: {found:?}");
            assert_eq!(found[0].0, pointer, "{target}");
            assert!(found[0].1.contains(words), "{target}: {}", found[0].1);
        }
        let two = json!({"url": "x", "retry_min": "0s", "secret_file": "empty"});
        assert_eq!(faults(folder.path(), two).len(), 3, "all mistakes at once");
    }

    #[test]
    fn a_secret_that_changed_makes_another_plugin() {
        let folder = tempfile::tempdir().expect("a folder");
        let print = |secret: &str| {
            std::fs::write(folder.path().join("secret"), secret).expect("written");
            let target = json!({"url": "http://127.0.0.1:1/", "secret_file": "secret"});
            let read = read(&site(folder.path()), json!({"targets": {"crm": target}}));
            read.expect("a target").1
        };
        assert_eq!(print("a"), print("a"));
        assert_ne!(print("a"), print("b"));
    }
}
