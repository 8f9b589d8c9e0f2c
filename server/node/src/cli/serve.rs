//! `keepboth serve`: runs a server until it is asked to stop.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use keepboth_core::handshake::Token;
use keepboth_core::plugin::Factory;
use keepboth_core::refusal::{Code, Refusal};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config, Loaded, LogFormat};
use crate::namespace::{NotStarted, OpenSpaceError};
use crate::not_taken::NotTaken;
use crate::protocol::Reloaded;
use crate::reload::{InForce, in_words};
use crate::saved::{self, Files, Saved};
use crate::server::{self, Running, StartError};

/// Exit code for a mistake in the configuration (sysexits: EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// What to serve and where.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// The configuration file; without it, one namespace `default` on 127.0.0.1:7400
    #[arg(long, short, env = "KEEPBOTH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen here instead of `server.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Keep the data here instead of `server.data`
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Also connect to this node; may be given several times
    #[arg(long, value_name = "URL", value_parser = peer)]
    pub peer: Vec<String>,
    /// Join the mesh of the node at this URL, which has sent an invitation; it is used once, and later
    /// starts need neither
    #[arg(long, value_name = "URL", value_parser = peer, requires = "token_file")]
    pub join: Option<String>,
    /// The file with the invitation that `keepboth peer invite` has printed
    #[arg(long, value_name = "FILE", requires = "join")]
    pub token_file: Option<PathBuf>,
    /// Admit every node on this machine to the mesh; for trying out only
    #[arg(long)]
    pub dev: bool,
}

fn peer(text: &str) -> Result<String, String> {
    let checked = config::peer_url(text);
    checked.map(|()| text.to_owned()).map_err(|(words, hint)| format!("{words}; {hint}"))
}

/// Runs the server. `json` prints the first line, which says where it listens, as JSON.
pub fn run(args: &Args, factories: &[Factory], json: bool) -> ExitCode {
    let loaded = Config::load_and_check(args.config.as_deref(), factories);
    let (loaded, plugins) = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(anstream::stderr(), "{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let config = args.over(loaded.config.clone());
    let reached = !config.server.listen.ip().is_loopback();
    if reached && !config.server.insecure && !plugins.authenticates() {
        let words = "anyone who reaches this address could read and write everything: listen on \
                     127.0.0.1, use a plugin in [[plugins]] that says who clients are, or set \
                     server.insecure = true";
        let _ = writeln!(anstream::stderr(), "{}: {words}", config.server.listen);
        return ExitCode::from(EXIT_CONFIG);
    }
    let token = match args.token() {
        Ok(token) => token,
        Err(words) => {
            let _ = writeln!(anstream::stderr(), "{words}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    start_log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let plan = Plan { args, factories: factories.into(), loaded, plugins, token };
            let code = runtime.block_on(serve(plan, config, json));
            // What still runs was given its time: nothing keeps a process that is to end.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    /// The invitation in the file that was named.
    fn token(&self) -> Result<Option<Token>, String> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(file)
            .map_err(|e| format!("the invitation in {} cannot be read: {e}", file.display()))?;
        let token = text.parse().map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(Some(token))
    }

    /// The flags go over the file.
    fn over(&self, mut config: Config) -> Config {
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        if let Some(data) = &self.data {
            config.server.data.clone_from(data);
        }
        config.mesh.peers.extend(self.peer.iter().cloned());
        config.mesh.dev |= self.dev;
        config
    }
}

/// The signals that a server listens to.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The exit code of a server that a signal ends at once.
    async fn stop(&mut self) -> ExitCode {
        tokio::select! {
            _ = self.interrupt.recv() => ExitCode::from(130),
            _ = self.terminate.recv() => ExitCode::from(143),
        }
    }
}

/// What was asked for.
struct Plan<'a> {
    args: &'a Args,
    /// All plugins that there are.
    factories: Arc<[Factory]>,
    /// The configuration as it was read.
    loaded: Loaded,
    /// The plugins that were made from it.
    plugins: config::Bound,
    token: Option<Token>,
}

async fn serve(plan: Plan<'_>, config: Config, json: bool) -> ExitCode {
    let Ok(mut signals) = Signals::listen() else {
        let _ = writeln!(anstream::stderr(), "cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let mut running = match server::start(&config, plan.plugins.clone()).await {
        Ok(running) => running,
        Err(StartError::Plugin(error)) => {
            let _ = writeln!(anstream::stderr(), "{}", placed(&plan.loaded, error));
            return ExitCode::from(EXIT_CONFIG);
        }
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    announce(&running, json);
    if let (Some(url), Some(token)) = (&plan.args.join, plan.token.clone()) {
        running.mesh.join(url, token);
    }
    let mut in_force = InForce::new(config);
    until_stopped(plan, &mut in_force, &mut running, &mut signals).await;
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        in_time = running.stop() => {
            if !in_time {
                tracing::warn!("not everything was done within server.shutdown_grace");
            }
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        code = signals.stop() => code,
    }
}

/// Waits until the server is to stop; until then reads the configuration again whenever it is asked to.
async fn until_stopped(
    mut plan: Plan<'_>,
    in_force: &mut InForce,
    running: &mut Running,
    signals: &mut Signals,
) {
    let mut saved = Saved::default();
    let mut looks = tokio::time::interval(saved::EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (reply, again) = tokio::select! {
            _ = signals.interrupt.recv() => return,
            _ = signals.terminate.recv() => return,
            _ = signals.hangup.recv() => (None, Again::All),
            Some(reply) = running.reloads.recv() => (Some(reply), Again::All),
            _ = looks.tick() => match look(&plan.loaded.config, &mut saved).await {
                true => (None, Again::Files),
                false => continue,
            },
        };
        let outcome = tokio::select! {
            outcome = reload(&mut plan, again, in_force, running) => outcome,
            _ = signals.interrupt.recv() => return,
            _ = signals.terminate.recv() => return,
        };
        if let Some(reply) = reply {
            // Whoever asked may be gone; the log has the outcome as well.
            let _ = reply.send(outcome);
        }
    }
}

/// Whether scripts or schemas were saved that are to be taken up.
async fn look(config: &Config, saved: &mut Saved) -> bool {
    if !config.server.watch {
        return false;
    }
    let folders = [config.server.scripts.clone(), config.server.schemas.clone()];
    let files = tokio::task::spawn_blocking(move || Files::look(&folders));
    files.await.is_ok_and(|files| saved.take(files))
}

/// What is read again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The configuration file, certificates, and all files that it names.
    All,
    /// Scripts and schemas, by the configuration that is in force. Those that are faulty stay as they are.
    Files,
}

/// Reads the configuration again, or only the files that it names, checks it, and puts it in force. The words
/// of a refusal are those of `keepboth check`.
async fn reload(
    plan: &mut Plan<'_>,
    again: Again,
    in_force: &mut InForce,
    running: &Running,
) -> Result<Reloaded, Refusal> {
    let (file, factories) = (plan.args.config.clone(), plan.factories.clone());
    let (before, in_force_now) = (plan.loaded.clone(), plan.plugins.clone());
    let loaded = tokio::task::spawn_blocking(move || match again {
        Again::All => Config::load_and_check(file.as_deref(), &factories)
            .map(|(loaded, bound)| (loaded, bound, Vec::new()))
            .map_err(|errors| errors.to_string()),
        Again::Files => {
            let (bound, faulty) = config::renew(&before, &in_force_now, &factories);
            if let Some(faulty) = &faulty {
                tracing::error!(
                    "what is faulty of what was saved was not taken, its old version stays:\n{faulty}"
                );
            }
            Ok((before, bound, faulty.as_ref().map(NotTaken::files).unwrap_or_default()))
        }
    });
    let loaded = loaded.await.unwrap_or_else(|e| Err(format!("reading it ended early: {e}")));
    let certificates = || match again {
        Again::All => running.read_certificates().map(Some).map_err(|faults| faults.to_string()),
        Again::Files => Ok(None),
    };
    let sound = loaded.and_then(|loaded| {
        if in_force.is_open(running.address, &loaded.1) {
            return Err(loaded.0.open_to_all(running.address).to_string());
        }
        Ok((loaded, certificates()?))
    });
    let outcome = match sound {
        Ok(((loaded, plugins, faulty), certificates)) => {
            let config = plan.args.over(loaded.config.clone());
            let applied = in_force.apply(running, config, plugins.clone()).await;
            let applied = applied.map_err(|error| {
                let words = match error {
                    OpenSpaceError::Plugin(error) => placed(&loaded, error),
                    error => error.to_string(),
                };
                Refusal::new(Code::BadConfig, words)
            });
            if applied.is_ok() {
                certificates.into_iter().for_each(|put_in_force| put_in_force());
                (plan.loaded, plan.plugins) = (loaded, plugins);
                let config = again == Again::Files && running.clients.not_taken.load().config;
                running.clients.not_taken.store(NotTaken { config, files: faulty }.into());
            }
            applied
        }
        Err(words) => Err(Refusal::new(Code::BadConfig, words)),
    };
    if outcome.is_err() && again == Again::All {
        let files = running.clients.not_taken.load().files.clone();
        running.clients.not_taken.store(NotTaken { config: true, files }.into());
    }
    match &outcome {
        Ok(reloaded) if again == Again::Files => {
            if reloaded.namespaces_changed.is_empty() && reloaded.plugins_changed.is_empty() {
                tracing::debug!("scripts and schemas were looked at; nothing has changed");
            } else {
                let changed = Reloaded { restart_needed: Vec::new(), ..reloaded.clone() };
                tracing::info!("scripts or schemas were saved; {}", in_words(&changed));
            }
        }
        Err(refusal) if again == Again::Files => {
            tracing::error!(
                "the old scripts and schemas stay, what was saved was not taken:\n{refusal}"
            );
        }
        Ok(reloaded) if !reloaded.restart_needed.is_empty() => {
            tracing::warn!("the configuration was read again; {}", in_words(reloaded));
        }
        Ok(reloaded) => tracing::info!("the configuration was read again; {}", in_words(reloaded)),
        Err(refusal) => {
            tracing::error!("the old configuration stays, the new one was not taken:\n{refusal}");
        }
    }
    outcome
}

/// Why a plugin did not start, with its place in the file.
fn placed(loaded: &Loaded, error: NotStarted) -> String {
    loaded.plugin_mistake(error.namespace.as_ref(), error.at, error.words).to_string()
}

fn announce(running: &Running, json: bool) {
    let names: Vec<String> =
        running.clients.namespaces.all().keys().map(ToString::to_string).collect();
    let (address, node) = (running.address, running.clients.node);
    let url = format!("{}://{address}", if running.is_secure() { "wss" } else { "ws" });
    let mut out = std::io::stdout().lock();
    // A closed stdout does not stop a server.
    let _ = match json {
        true => writeln!(
            out,
            "{}",
            serde_json::json!({
                "listening": address, "url": url, "node": node, "namespaces": names
            })
        ),
        false => writeln!(
            out,
            "keepboth {} listens on {url}\nnode {node}\nnamespaces: {}",
            env!("CARGO_PKG_VERSION"),
            names.join(", ")
        ),
    };
    let _ = out.flush();
}

fn start_log(config: &Config) {
    let filter = EnvFilter::try_new(&config.server.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        // A line that cannot be written is lost. To say so would be to write to the same, and a panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second logger in the same process (as in tests) is not started, and the first one goes on.
    let _ = match config.server.log_format {
        LogFormat::Text => log.try_init().map_err(|_| ()),
        LogFormat::Json => log.json().try_init().map_err(|_| ()),
    };
}
