//! The `keepboth` command: stdout is data, stderr is talk, and every end has its exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// How the command ends.
mod exit;
/// Stdout and stderr.
mod out;
/// Tables for people.
mod table;
/// Objects as words of the command line.
mod object;
/// Values as words of the command line.
mod input;
/// How far something has come.
mod progress;
/// Lines of a file.
mod lines;
/// The token of the user.
mod bearer;
/// A command with its connection.
mod session;
/// Writes that wait for other nodes.
mod wait;
/// `get`, `ls`, `history`.
mod read;
/// `put`, `rm`, `revert`.
mod write;
/// `query`.
mod query;
/// `plugin`.
mod plugin;
/// `watch`.
mod watch;
/// `conflict`.
mod conflict;
/// `trash`.
mod trash;
/// `status`.
mod status;
/// `ns`.
mod ns;
/// `reload`.
mod reload;
/// `peer`.
mod peer;
/// `token`.
mod token;
/// `acks`.
mod acks;
/// `quarantine`.
mod quarantine;
/// `schema`.
mod schema;
/// `hook`.
mod hook;
/// `import`.
mod import;
/// `export`.
mod export;
/// `errors`.
mod errors;
/// `check`.
mod check;
/// `bench`.
pub mod bench;
/// `serve`.
pub mod serve;
/// `demo`.
pub mod demo;

use keepboth_core::plugin::Factory;

use crate::client::Target;
use crate::server::BUNDLED;
use exit::{Exit, Failure};
use session::Session;

/// A storage server that keeps both sides of every conflict, and the command to talk to it.
#[derive(Debug, Parser)]
#[command(
    name = "keepboth",
    version,
    max_term_width = 100,
    after_help = "An object is one word, NAMESPACE/KEY. Data goes to stdout, talk to stderr.

First steps:
  keepboth serve                                 a server with one namespace, default
  keepboth put default/hello '{\"text\":\"hi\"}'
  keepboth get default/hello
  keepboth watch default --initial
  keepboth conflict ls default

Exit codes: 0 done, 1 failure, 2 usage, 3 the server does not know who you are, 4 not allowed,
5 not found, 6 conflict or a condition that does not hold, 7 refused, 8 limit, 9 server unreachable,
10 not on all nodes that were asked for, 78 configuration, 130 interrupted."
)]
struct Cli {
    /// The server
    #[arg(
        long,
        global = true,
        env = "KEEPBOTH_URL",
        value_name = "URL",
        default_value = "ws://127.0.0.1:7400"
    )]
    url: String,
    /// Who must have signed the certificate of a wss:// server, instead of the system's authorities: a
    /// PEM file, which may also be the server's own certificate if it signed itself
    #[arg(long, global = true, env = "KEEPBOTH_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The file with the token that shows the server who you are; without it, the token itself may stand
    /// in the environment's KEEPBOTH_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The name under which hooks and the audit trail see what you write
    #[arg(long, global = true, env = "KEEPBOTH_CLIENT", value_name = "NAME")]
    client: Option<String>,
    /// Write JSON for programs: one object, or one line for each item
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a server
    Serve(serve::Args),
    /// Check the configuration and report every mistake
    Check(check::Check),
    /// Write an object's value to stdout
    Get(read::Get),
    /// Give an object a value
    Put(write::Put),
    /// Delete an object
    Rm(write::Rm),
    /// List objects
    Ls(read::Ls),
    /// Find objects by an index
    Query(query::Query),
    /// Ask something of a plugin
    Plugin(plugin::Plugin),
    /// Write events as they happen, a line of JSON each
    Watch(watch::Watch),
    /// List the versions of an object
    History(read::History),
    /// Put the value of an earlier version again
    Revert(write::Revert),
    /// Conflicts: list, show, resolve
    #[command(subcommand)]
    Conflict(conflict::Conflict),
    /// What was deleted: list, restore, purge
    #[command(subcommand)]
    Trash(trash::Trash),
    /// Show how the node, its namespaces and its peers are
    Status(status::Status),
    /// Namespaces: list, info, add, remove
    #[command(subcommand)]
    Ns(ns::Ns),
    /// Have the server read its configuration again
    Reload(reload::Reload),
    /// The other nodes of the mesh: list, invite, add, remove
    #[command(subcommand)]
    Peer(peer::Peer),
    /// Tokens of clients: make, list, revoke, sign
    #[command(subcommand)]
    Token(token::Token),
    /// Ask whether a version is on all nodes
    Acks(acks::Acks),
    /// What other nodes sent and this node's rules refuse: list, admit, discard, retry
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// JSON Schemas for values: check, test, infer, report
    #[command(subcommand)]
    Schema(schema::Schema),
    /// Scripts: new, check, test, run, replay, bench, log
    #[command(subcommand)]
    Hook(hook::Hook),
    /// Put many objects from lines of JSON
    Import(import::Import),
    /// Write all objects as lines of JSON
    Export(export::Export),
    /// Explain error codes
    Errors(errors::Errors),
    /// Measure puts, gets, watches and replication on this machine
    Bench(bench::Args),
    /// Watch three nodes disagree and agree again
    Demo(demo::Demo),
}

/// Runs the command that the process was started with. `own` are plugins besides those that come with
/// the server.
pub fn main(own: &[Factory]) -> ExitCode {
    let Cli { url, ca, token_file, client, json, command } = Cli::parse();
    let factories: Vec<Factory> = BUNDLED.iter().chain(own).copied().collect();
    let outcome = match command {
        Command::Serve(args) => return serve::run(&args, &factories, json),
        Command::Check(args) => check::run(&args, &factories, json),
        Command::Errors(args) => errors::run(&args, json),
        Command::Bench(args) => bench::run(&args, json),
        Command::Demo(args) => demo::run(&args, json),
        Command::Schema(schema::Schema::Check(files)) => schema::check(&files, json),
        Command::Schema(schema::Schema::Test(files)) => schema::test(&files, json),
        Command::Schema(schema::Schema::Infer(args)) if args.from.is_some() => {
            schema::infer(&args, json)
        }
        Command::Hook(ref own) if let Some(outcome) = hook::offline(own, json) => outcome,
        Command::Token(command) => token::run(command, json),
        command => bearer::read(token_file.as_deref())
            .and_then(|token| talking(command, Target { url, ca, token }, client.as_deref(), json)),
    };
    let exit = match &outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            out::complain(failure, json);
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

/// Runs a command that needs a server, until it is done or interrupted.
fn talking(
    command: Command,
    target: Target,
    client: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::from)?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = with_server(command, target, client, json) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::quiet(Exit::Interrupted)),
        }
    });
    // A thread that waits for stdin must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn with_server(
    command: Command,
    target: Target,
    client: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    if let Command::Watch(args) = command {
        return watch::run(args, target, json).await;
    }
    let session = &mut Session::open(&target, client, json).await?;
    let outcome = match command {
        Command::Get(args) => read::get(args, session).await,
        Command::Put(args) => write::put(args, session).await,
        Command::Rm(args) => write::rm(args, session).await,
        Command::Ls(args) => read::ls(args, session).await,
        Command::Query(args) => query::run(args, session).await,
        Command::Plugin(args) => plugin::run(args, session).await,
        Command::History(args) => read::history(args, session).await,
        Command::Revert(args) => write::revert(args, session).await,
        Command::Conflict(command) => conflict::run(command, session).await,
        Command::Trash(command) => trash::run(command, session).await,
        Command::Status(args) => status::run(args, session).await,
        Command::Ns(command) => ns::run(command, session).await,
        Command::Reload(_) => reload::run(session).await,
        Command::Peer(command) => peer::run(command, session).await,
        Command::Acks(args) => acks::run(args, session).await,
        Command::Quarantine(command) => quarantine::run(command, session).await,
        Command::Schema(command) => schema::run(command, session).await,
        Command::Hook(command) => hook::run(command, session).await,
        Command::Import(args) => import::run(args, session).await,
        Command::Export(args) => export::run(args, session).await,
        Command::Serve(_)
        | Command::Check(_)
        | Command::Errors(_)
        | Command::Bench(_)
        | Command::Demo(_)
        | Command::Token(_)
        | Command::Watch(_) => Ok(()),
    };
    // What was written before a failure is still worth reading.
    session.out.flush()?;
    outcome
}

#[cfg(test)]
mod tests;
