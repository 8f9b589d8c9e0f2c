//! `token new`, `token ls`, `token revoke`, `token key` and `token sign`: the tokens of the plugin `auth`.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keepboth_auth::book::{Book, Entry, TOKENS_MAX};
use keepboth_auth::secret::Secret;
use keepboth_auth::signed::Claims;
use keepboth_auth::{FACTORY, FILE, Settings, check_name, grants};
use keepboth_core::identity::NodeKey;
use keepboth_core::ids::{hex, unhex};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::out::{Out, talk};
use super::table::{self, Table};
use super::wait::ms;
use crate::atomic;
use crate::clock;
use keepboth_core::unit::Period;

use crate::config::Config;
use crate::namespace::host::server_folder;

/// Tokens of the plugin auth
#[derive(Debug, clap::Subcommand)]
pub enum Token {
    /// Make a token and write it to stdout; it is shown this once
    #[command(after_help = "Examples:
  keepboth token new anna --grant read,write:notes/anna/ --expires 90d
  keepboth token new root --grant all:* > token

A grant is RIGHTS:NAMESPACE/PREFIX: rights among read, write, delete, resolve, admin and all, on the keys
of the namespace that begin with the prefix; * is every namespace. A server that runs takes it at once.")]
    New {
        /// Whose it is: the name under which hooks and the audit trail see its writes
        name: String,
        /// What it allows; may be given several times
        #[arg(long = "grant", value_name = "GRANT", required = true, value_parser = grant)]
        grants: Vec<String>,
        /// How long it holds; without it, until it is revoked
        #[arg(long, value_name = "PERIOD")]
        expires: Option<Period>,
        #[command(flatten)]
        place: Place,
    },
    /// List the tokens, without their secrets
    Ls {
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a token: a server that runs ends the connections that came in by it
    Revoke {
        /// Its id or its name, from `keepboth token ls`
        #[arg(value_name = "ID|NAME")]
        token: String,
        #[command(flatten)]
        place: Place,
    },
    /// Make a key that signs tokens; write its public key, for the settings of the plugin, to stdout
    Key {
        /// The file for the key, which must not be there yet
        file: PathBuf,
    },
    /// Sign a token that lives for a short time and write it to stdout
    #[command(after_help = "Example:
  keepboth token sign anna --key sign.key --grant read:notes --expires 15m

The server is not asked: it knows the public key by its settings. Such a token cannot be revoked; it ends
when it expires, or when its key is taken out of the settings.")]
    Sign {
        /// Whose it is; the server calls it NAME@KEY, by the key's name in its settings
        name: String,
        /// The file of the key, from `keepboth token key`
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What it allows; may be given several times
        #[arg(long = "grant", value_name = "GRANT", required = true, value_parser = grant)]
        grants: Vec<String>,
        /// How long it holds
        #[arg(long, value_name = "PERIOD", default_value = "15m")]
        expires: Period,
        /// From when it holds, for instance 2026-12-31T23:59:59Z; `expires` counts from then
        #[arg(long, value_name = "TIME")]
        not_before: Option<Timestamp>,
    },
}

/// Where the file of tokens is.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The configuration file of the server
    #[arg(long, short, env = "KEEPBOTH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file of tokens, instead of that of the configuration; also for a server whose --data is not
    /// that of its configuration
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

fn grant(text: &str) -> Result<String, String> {
    grants::parse(text).map(|_| text.to_owned())
}

/// Runs one of the commands.
pub fn run(command: Token, json: bool) -> Result<(), Failure> {
    let mut out = Out::new(json);
    match command {
        Token::New { name, grants, expires, place } => {
            let (secret, entry) = made(name, grants, expires.as_ref())?;
            let (id, name) = (entry.id.clone(), entry.name.clone());
            place.change(|book| add(book, entry))?;
            if json {
                out.json(&json!({"token": secret.token(), "id": id, "name": name}))?;
            } else {
                talk(&format!("the token {id} of {name}; it is shown this once:"));
                out.line(&secret.token())?;
            }
        }
        Token::Ls { place } => ls(&place.read()?, &mut out)?,
        Token::Revoke { token, place } => {
            let mut id = String::new();
            place.change(|book| {
                let found = book.find(&token).ok_or_else(|| unknown(&token))?;
                id.clone_from(&found.id);
                book.tokens.retain(|entry| entry.id != id);
                Ok(())
            })?;
            if json { out.json(&json!({"revoked": id}))? } else { out.line(&id)? }
        }
        Token::Key { file } => {
            let key = make_key(&file)?;
            if json { out.json(&json!({"public": key}))? } else { out.line(&key)? }
        }
        Token::Sign { name, key, grants, expires, not_before } => {
            let key = read_key(&key)?;
            let not_before = not_before.map(|time| u64::try_from(time.as_millisecond()));
            let not_before = not_before.transpose().map_err(|_| usage("a time before 1970"))?;
            let expires = not_before.unwrap_or_else(clock::now).saturating_add(ms(&expires));
            let claims = Claims { key: key.id(), name, grants, not_before, expires };
            let token = claims.sign(&key).map_err(usage)?;
            if json {
                out.json(&json!({"token": token, "expires": expires}))?;
            } else {
                talk(&format!("it holds until {}", table::time(Some(expires))));
                out.line(&token)?;
            }
        }
    }
    out.flush()
}

impl Place {
    /// The file of tokens.
    fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.tokens {
            return Ok(file.clone());
        }
        let loaded = Config::load(self.config.as_deref());
        let loaded = loaded.map_err(|e| Failure::new(Exit::Config, e.to_string()))?;
        let used = loaded.config.plugins.iter().find(|plugin| plugin.use_ == FACTORY.name);
        let used = used.ok_or_else(|| {
            let words = "the configuration has no plugin auth, so there is no file of tokens";
            Failure::new(Exit::Config, words)
                .hint("name the server's configuration with --config, or the file with --tokens")
        })?;
        let settings: Settings = serde_json::from_value(used.settings.clone())
            .map_err(|e| Failure::new(Exit::Config, format!("the plugin auth: {e}")))?;
        let in_folder = || server_folder(&loaded.config.server.data, FACTORY.name).join(FILE);
        Ok(settings.file(loaded.folder()).unwrap_or_else(in_folder))
    }

    fn read(&self) -> Result<Book, Failure> {
        Ok(Book::read(&self.file()?).map_err(failed)?.unwrap_or_default())
    }

    /// Changes the file as one step: two commands at once take their turns, and a server reads the old
    /// tokens or the new ones.
    fn change(&self, change: impl FnOnce(&mut Book) -> Result<(), Failure>) -> Result<(), Failure> {
        let file = self.file()?;
        let wrong = |e: std::io::Error| failed(format!("{}: {e}", file.display()));
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            atomic::folder(folder).map_err(wrong)?;
        }
        let lock = OpenOptions::new().create(true).append(true).open(file.with_extension("lock"));
        let lock = lock.map_err(wrong)?;
        lock.lock().map_err(wrong)?;
        let mut book = Book::read(&file).map_err(failed)?.unwrap_or_default();
        change(&mut book)?;
        atomic::write_private(&file, book.text().as_bytes()).map_err(wrong)
    }
}

/// A new token and what is kept of it.
fn made(
    name: String,
    grants: Vec<String>,
    expires: Option<&Period>,
) -> Result<(Secret, Entry), Failure> {
    check_name(&name).map_err(usage)?;
    let secret = Secret::random().map_err(failed)?;
    let (created, hash) = (clock::now(), secret.hash().map_err(failed)?);
    let expires = expires.map(|period| created.saturating_add(ms(period)));
    let id = secret.id.clone();
    Ok((secret, Entry { id, name, hash, grants, created, expires }))
}

fn add(book: &mut Book, entry: Entry) -> Result<(), Failure> {
    if let Some(there) = book.find(&entry.name) {
        let words = format!("{} has a token already, {}", entry.name, there.id);
        return Err(Failure::new(Exit::Usage, words).hint("revoke it, or take another name"));
    }
    if book.tokens.len() >= TOKENS_MAX {
        let words = format!("there are {TOKENS_MAX} tokens, which is the limit");
        return Err(Failure::new(Exit::Limit, words).hint("revoke those that have expired"));
    }
    book.tokens.push(entry);
    Ok(())
}

fn ls(book: &Book, out: &mut Out) -> Result<(), Failure> {
    if out.json {
        return book.tokens.iter().try_for_each(|entry| {
            let (created, expires) = (entry.created, entry.expires);
            out.json(&json!({"id": entry.id, "name": entry.name, "grants": entry.grants,
                "created": created, "expires": expires}))
        });
    }
    let now = clock::now();
    let mut table = Table::new(&["ID", "NAME", "GRANTS", "CREATED", "EXPIRES"]);
    for entry in &book.tokens {
        let expires = match entry.expires {
            None => "never".to_owned(),
            Some(time) if time <= now => format!("{}, expired", table::time(Some(time))),
            time => table::time(time),
        };
        let (grants, created) = (entry.grants.join(" "), table::time(Some(entry.created)));
        table.row([&entry.id, &entry.name, &grants, &created, &expires]);
    }
    table.write(out, "no tokens")
}

/// Makes a key in a new file: the public key.
fn make_key(file: &Path) -> Result<String, Failure> {
    if file.exists() {
        let words = format!("{} is there already; a key is not replaced", file.display());
        return Err(Failure::new(Exit::Usage, words));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| failed(format!("no randomness for the key: {e}")))?;
    atomic::write_private(file, format!("{}\n", hex(&seed)).as_bytes())
        .map_err(|e| failed(format!("{}: {e}", file.display())))?;
    Ok(NodeKey::from_seed(&seed).id().to_string())
}

fn read_key(file: &Path) -> Result<NodeKey, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| usage(format!("the key in {shown} cannot be read: {e}")))?;
    let seed = unhex::<32>(text.trim());
    let seed = seed.map_err(|_| {
        usage(format!("{shown} holds no key of 64 hex characters; `keepboth token key` makes one"))
    })?;
    Ok(NodeKey::from_seed(&seed))
}

fn unknown(word: &str) -> Failure {
    let words = format!("there is no token with the id or name {word:?}");
    Failure::new(Exit::NotFound, words).hint("keepboth token ls lists them")
}

fn usage(words: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, words.into())
}

fn failed(words: impl Into<String>) -> Failure {
    Failure::new(Exit::Failure, words.into())
}
