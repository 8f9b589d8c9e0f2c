//! A server with plugins of its own: what the tests of the contract start.

mod doorman;
mod faller;
mod probe;
mod slippery;

fn main() -> std::process::ExitCode {
    keepboth::main_with(&[
        probe::FACTORY,
        doorman::FACTORY,
        faller::FACTORY,
        slippery::INDEX,
        slippery::WEBHOOK,
        slippery::EXPIRY,
        slippery::LUA,
        slippery::AUTH,
    ])
}
