//! The `keepboth` command.

fn main() -> std::process::ExitCode {
    keepboth::main_with(&[])
}
