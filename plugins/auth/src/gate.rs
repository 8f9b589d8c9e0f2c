//! The gate: its settings, and who somebody is who shows a token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use keepboth_core::ids::NodeId;
use keepboth_core::limits::figure;
use keepboth_core::period;
use keepboth_core::plugin::{
    BuiltGate, Credentials, Gate, Grants, Host, Identity, Pass, ServerSite, SettingsError, Thread,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::attempts::Attempts;
use crate::bench::Bench;
use crate::book::Book;
use crate::form::{check_name, moment};
use crate::grants;
use crate::secret::Secret;
use crate::signed::Signers;
use crate::table::{Record, Table};

/// The file of tokens in the plugin's folder, if the settings name none.
pub const FILE: &str = "tokens.json";
/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Hashes that are computed at once.
const HASHES: usize = 2;
/// Tokens that wait for their hash: a second of work.
const HASHES_WAITING: usize = 64;
/// How often the file is looked at although nobody comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The settings of the plugin `auth`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file of tokens, which `keepboth token` writes. Without it, `tokens.json` in
    /// `DATA/plugins/@server/auth`.
    pub tokens: Option<String>,
    /// What everybody may do who shows no token: grants like `"read:notes/open/"`.
    #[serde(default)]
    pub anonymous: Vec<String>,
    /// Whose signatures are good: names, and for each the public key that `keepboth token key` shows.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// How far away the end of a signed token may be.
    #[serde(default = "day")]
    #[schemars(extend("format" = "period", "pattern" = "^[0-9]+ *(ms|s|m|h|d)$"))]
    pub signed_for_max: String,
    /// How many wrong tokens an address may show before it has to wait, twice as long after each. Tokens
    /// of a form that is unknown here count: a plugin that knows them stands before this one.
    #[serde(default = "five")]
    pub attempts: u32,
}

fn day() -> String {
    "24h".to_owned()
}

fn five() -> u32 {
    5
}

impl Settings {
    /// The file of tokens, if the settings name one.
    pub fn file(&self, folder: &Path) -> Option<PathBuf> {
        self.tokens.as_ref().map(|file| folder.join(file))
    }
}

/// The JSON Schema of the settings.
pub fn settings_schema() -> Json {
    schemars::schema_for!(Settings).to_value()
}

/// Makes the gate, or tells all that is wrong.
pub fn build(site: &ServerSite, settings: Json) -> BuiltGate {
    let fault = |pointer: String, message: String| SettingsError { pointer, message };
    let fingerprint = Fingerprint::new().with("auth").with(settings.to_string()).finish();
    let settings: Settings =
        serde_json::from_value(settings).map_err(|e| vec![fault(String::new(), e.to_string())])?;
    let mut faults = Vec::new();
    let file = settings.file(&site.folder);
    if let Some(Err(words)) = file.as_deref().map(Book::read) {
        faults.push(fault("/tokens".into(), words));
    }
    let mut anonymous = Vec::new();
    for (at, text) in settings.anonymous.iter().enumerate() {
        match grants::parse(text) {
            Ok(grant) => anonymous.push(grant),
            Err(words) => faults.push(fault(format!("/anonymous/{at}"), words)),
        }
    }
    let mut keys: BTreeMap<NodeId, String> = BTreeMap::new();
    for (name, text) in &settings.keys {
        let pointer = format!("/keys/{}", name.replace('~', "~0").replace('/', "~1"));
        let key = check_name(name).and_then(|()| {
            let wrong = |_| format!("{text:?} is no public key of 64 hex characters");
            text.parse().map_err(wrong)
        });
        match key.map(|key| keys.insert(key, name.clone())) {
            Ok(None) => {}
            Ok(Some(other)) => {
                faults.push(fault(pointer, format!("{other:?} has the same key")));
            }
            Err(words) => faults.push(fault(pointer, words)),
        }
    }
    let longest = period::parse(&settings.signed_for_max).unwrap_or_else(|words| {
        faults.push(fault("/signed_for_max".into(), words.into()));
        Duration::ZERO
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Ok(Arc::new(Auth(Arc::new(Porter {
        file,
        anonymous: (!anonymous.is_empty()).then_some(Grants(anonymous)),
        signers: Signers { keys, longest },
        attempts: Mutex::new(Attempts::new(settings.attempts)),
        bench: Bench::new(HASHES, HASHES_WAITING),
        running: OnceLock::new(),
        fingerprint,
        thread: Thread::default(),
    }))))
}

/// The gate, which shares itself with its thread.
struct Auth(Arc<Porter>);

struct Porter {
    file: Option<PathBuf>,
    anonymous: Option<Grants>,
    signers: Signers,
    attempts: Mutex<Attempts>,
    bench: Bench,
    running: OnceLock<Running>,
    fingerprint: [u8; 32],
    thread: Thread,
}

/// What is there once it was started.
struct Running {
    host: Arc<dyn Host>,
    table: Mutex<Table>,
    /// The hash of a secret that nobody knows: an unknown id takes as long as a wrong secret.
    dummy: String,
}

impl Running {
    /// The tokens as the file has them now. Status warns while that cannot be used.
    fn table(&self) -> MutexGuard<'_, Table> {
        let mut table = lock(&self.table);
        if table.refresh() {
            let told = |fault| format!("nobody new is let in by stored tokens: {fault}");
            self.host.warn("tokens", table.fault().map(told));
        }
        table
    }
}

impl Gate for Auth {
    fn authenticates(&self) -> bool {
        true
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>, Refusal> {
        self.0.authenticate(credentials)
    }

    /// The file of tokens is not in it: what changes there is noticed without a reload.
    fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        let porter = &self.0;
        let file = match &porter.file {
            Some(file) => file.clone(),
            None => host.folder().map_err(|refusal| refusal.message)?.join(FILE),
        };
        let table = Mutex::new(Table::open(file)?);
        let dummy = Secret::random()?.hash()?;
        let _ = porter.running.set(Running { host: host.clone(), table, dummy });
        let sharer = Arc::downgrade(porter);
        porter.thread.start("auth", host, move |end| {
            while let Some(porter) = sharer.upgrade() {
                porter.look();
                drop(porter);
                if end.wait(LOOK_EVERY) {
                    return;
                }
            }
        })
    }

    fn stop(&self) {
        self.0.thread.stop();
    }
}

impl Porter {
    /// Reads the file again if it has changed, so that who was revoked leaves although nobody comes.
    fn look(&self) {
        if let Some(running) = self.running.get() {
            drop(running.table());
        }
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>, Refusal> {
        let Some(token) = &credentials.token else {
            let grants = self.anonymous.clone();
            let identity =
                |grants| Identity { actor: "anonymous".into(), grants, pass: Pass::default() };
            return Ok(grants.map(identity));
        };
        let not_started = || Refusal::new(Code::ShuttingDown, "the server is starting");
        let running = self.running.get().ok_or_else(not_started)?;
        let address = credentials.address;
        if token.len() > TOKEN_BYTES_MAX {
            let (size, most) = (figure(token.len()), figure(TOKEN_BYTES_MAX));
            let words = format!("the token has {size} bytes, the limit is {most}");
            return Err(self.wrong(running, address, words));
        }
        let now = running.host.now();
        if let Some(known) = self.known(running, token) {
            known.identity.pass.check(now)?;
            return Ok(Some(known.identity.clone()));
        }
        if let Some(read) = self.signers.read(token, now) {
            // It costs little to see that one is good: others at the same address do not hold it up.
            let (claims, signer) = read.map_err(|words| self.wrong(running, address, words))?;
            let grants = grants::parse_all(&claims.grants).map_err(unknown)?;
            let actor = format!("{}@{signer}", claims.name).into();
            return Ok(Some(Identity { actor, grants, pass: Pass::until(Some(claims.expires)) }));
        }
        let Some(secret) = Secret::parse(token) else {
            self.count(running, address)?;
            return Ok(None);
        };
        let secret = secret.map_err(|words| self.wrong(running, address, words))?;
        let record = self.verify(running, &secret, address)?;
        if let Some(expires) = record.entry.expires.filter(|expires| *expires <= now) {
            return Err(unknown(format!("the token expired at {}", moment(expires))));
        }
        lock(&running.table).remember(token, &record);
        Ok(Some(record.identity.clone()))
    }

    /// The stored token, if it was verified before.
    fn known(&self, running: &Running, token: &str) -> Option<Arc<Record>> {
        let table = running.table();
        table.verified(token).filter(|_| table.fault().is_none())
    }

    /// The stored token, if its secret is the right one. Whether there is one with its id shows neither
    /// in the words of a refusal nor in the time that it takes.
    fn verify(
        &self,
        running: &Running,
        secret: &Secret,
        address: IpAddr,
    ) -> Result<Arc<Record>, Refusal> {
        // Whoever has to wait takes no place from others.
        lock(&self.attempts).may_try(address, Instant::now())?;
        let record = {
            let table = lock(&running.table);
            if table.fault().is_some() {
                running.host.count("file_of_tokens_unusable", 1);
                let words = "the server cannot use its file of tokens; its log says why";
                return Err(Refusal::new(Code::StoreFailed, words));
            }
            table.find(&secret.id)
        };
        let hash = record.as_ref().map_or(&running.dummy, |record| &record.entry.hash);
        // The attempt is taken on the place: of those that wait none holds one that others need.
        let good = self.bench.run(|| {
            let taken = lock(&self.attempts).take(address, Instant::now())?;
            let is_right = secret.is_of(hash);
            let good = record.as_ref().filter(|_| is_right);
            if good.is_some() {
                lock(&self.attempts).give_back(taken);
            }
            Ok::<_, Refusal>(good.cloned())
        })??;
        good.ok_or_else(|| {
            running.host.count("wrong_tokens", 1);
            let id = &secret.id;
            unknown(format!(
                "the token kb_{id}_… is not good here: it was revoked, is of another server, or is mistyped"
            ))
        })
    }

    /// Counts a wrong token against its address, and says what is wrong unless the address has to wait.
    fn wrong(&self, running: &Running, address: IpAddr, words: String) -> Refusal {
        self.count(running, address).map_or_else(|refusal| refusal, |()| unknown(words))
    }

    /// Counts a wrong token against its address. Refused while that has to wait.
    fn count(&self, running: &Running, address: IpAddr) -> Result<(), Refusal> {
        lock(&self.attempts).take(address, Instant::now())?;
        running.host.count("wrong_tokens", 1);
        Ok(())
    }
}

fn unknown(words: String) -> Refusal {
    Refusal::new(Code::Unauthenticated, words)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
