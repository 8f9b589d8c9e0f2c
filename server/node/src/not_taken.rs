//! What stands in files and is not in force, since it is faulty: so that status says it, and not the log alone.

use crate::config::{ConfigError, ConfigErrors};

/// Most faulty files that are told.
const FILES_TOLD_MAX: usize = 20;

/// What was read and is not in force, since it is faulty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotTaken {
    /// True if the configuration that was read last has mistakes.
    pub config: bool,
    /// What is wrong with scripts and schemas that were saved, a line each.
    pub files: Vec<String>,
}

impl NotTaken {
    /// What is wrong with these files.
    pub fn files(faulty: &ConfigErrors) -> Vec<String> {
        let line =
            |error: &ConfigError| error.message.lines().next().unwrap_or_default().to_owned();
        faulty.0.iter().take(FILES_TOLD_MAX).map(line).collect()
    }

    /// As status says it.
    pub fn warnings(&self) -> Vec<String> {
        let config = self.config.then(|| {
            "the configuration that was read last has mistakes and is not in force: keepboth check tells them"
                .to_owned()
        });
        let files = self
            .files
            .iter()
            .map(|words| format!("what was saved is not in force, its old version is: {words}"));
        config.into_iter().chain(files).collect()
    }
}
