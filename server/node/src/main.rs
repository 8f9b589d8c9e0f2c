//! The `keepboth` command.

fn main() -> std::process::ExitCode {
    keepboth::cli::main()
}
