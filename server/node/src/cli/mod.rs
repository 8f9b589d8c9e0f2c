//! The `keepboth` command.

/// Serving.
pub mod serve;
/// The demo.
pub mod demo;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Serve(serve::Args),
}

/// Stopgap.
pub fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(args) => serve::run(&args, cli.json),
    }
}
