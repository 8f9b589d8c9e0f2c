//! `keepboth serve`: runs a server until it is asked to stop.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{self, Config, LogFormat};
use crate::server::{self, BUNDLED};

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
}

fn peer(text: &str) -> Result<String, String> {
    let checked = config::peer_url(text);
    checked.map(|()| text.to_owned()).map_err(|(words, hint)| format!("{words}; {hint}"))
}

/// Runs the server. `json` prints the first line, which says where it listens, as JSON.
pub fn run(args: &Args, json: bool) -> ExitCode {
    let loaded = Config::load_and_check(args.config.as_deref(), BUNDLED);
    let (loaded, plugins) = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(anstream::stderr(), "{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let mut config = loaded.config;
    config.server.listen = args.listen.unwrap_or(config.server.listen);
    if let Some(data) = &args.data {
        config.server.data.clone_from(data);
    }
    config.mesh.peers.extend(args.peer.iter().cloned());
    if !config.server.listen.ip().is_loopback() && !config.server.insecure {
        let words = "anyone who reaches this address could read and write everything: \
                     listen on 127.0.0.1, or set server.insecure = true";
        let _ = writeln!(anstream::stderr(), "{}: {words}", config.server.listen);
        return ExitCode::from(EXIT_CONFIG);
    }
    start_log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(&config, plugins, json)),
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Config, plugins: config::Bound, json: bool) -> ExitCode {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        let _ = writeln!(anstream::stderr(), "cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let running = match server::start(config, plugins).await {
        Ok(running) => running,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    announce(&running, json);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        in_time = running.stop() => {
            if !in_time {
                tracing::warn!("not everything was done within server.shutdown_grace");
            }
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
    }
}

fn announce(running: &server::Running, json: bool) {
    let names: Vec<String> = running.clients.spaces.keys().map(ToString::to_string).collect();
    let (address, node) = (running.address, running.clients.node);
    let mut out = std::io::stdout().lock();
    // A closed stdout does not stop a server.
    let _ = match json {
        true => writeln!(
            out,
            "{}",
            serde_json::json!({"listening": address, "node": node, "namespaces": names})
        ),
        false => writeln!(
            out,
            "keepboth {} listens on ws://{address}\nnode {node}\nnamespaces: {}",
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
        .with_writer(std::io::stderr);
    // A second logger in the same process (as in tests) is not started, and the first one goes on.
    let _ = match config.server.log_format {
        LogFormat::Text => log.try_init().map_err(|_| ()),
        LogFormat::Json => log.json().try_init().map_err(|_| ()),
    };
}
