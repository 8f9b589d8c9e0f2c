//! The server that the tests start: what anybody's own server looks like.

fn main() -> std::process::ExitCode {
    keepboth::main_with(&[])
}
