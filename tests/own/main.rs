//! A server with plugins of its own: what the tests of the contract start.

mod doorman;
mod probe;

fn main() -> std::process::ExitCode {
    keepboth::main_with(&[probe::FACTORY, doorman::FACTORY])
}
