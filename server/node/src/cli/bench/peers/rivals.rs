//! The peers: other servers, where they are installed, in processes of their own.

use std::path::PathBuf;
use std::process::Command;

use crate::cli::bench::Bench;
use crate::cli::bench::process::{Process, free_port, here};
use crate::cli::bench::setup::Folder;
use crate::cli::bench::speech::{Tongue, nats, redis, tarantool};
use crate::cli::bench::wire::{Place, Wire};
use crate::cli::exit::{Exit, Failure};

/// What sets up Tarantool.
const TARANTOOL: &str = include_str!("tarantool.lua");
/// The number of its space.
const SPACE: u64 = 512;

/// Another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// With `appendfsync always`.
    Redis,
    /// JetStream, over its WebSocket.
    Nats,
    /// With `wal_mode fsync`.
    Tarantool,
}

impl Rival {
    /// All.
    pub const ALL: [Rival; 3] = [Rival::Redis, Rival::Nats, Rival::Tarantool];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Rival::Redis => "Redis",
            Rival::Nats => "NATS KV",
            Rival::Tarantool => "Tarantool",
        }
    }

    /// The name of its program, and of the package that has it.
    fn package(self) -> &'static str {
        match self {
            Rival::Redis => "redis-server",
            Rival::Nats => "nats-server",
            Rival::Tarantool => "tarantool",
        }
    }

    /// Its program, if it is installed.
    pub fn program(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Where servers are, even if a user's PATH says nothing of it.
        let folders =
            std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        folders.map(|folder| folder.join(self.package())).find(|program| program.is_file())
    }

    /// Why it is left out.
    pub fn missing(self) -> String {
        let package = self.package();
        format!("{} is not installed: apt-get install {package}", self.name())
    }

    /// Starts it on an empty folder.
    pub fn start(self, bench: &Bench) -> Result<Running, Failure> {
        let program = self.program().ok_or_else(|| Failure::new(Exit::Failure, self.missing()))?;
        let (folder, port) = (Folder::new(&bench.below)?, free_port()?);
        let mut command = Command::new(&program);
        let place = match self {
            Rival::Redis => {
                command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", "always"]);
                Place { address: here(port), tongue: Tongue::Redis(0), web: false }
            }
            Rival::Nats => {
                let web = free_port()?;
                let config = format!(
                    "host: 127.0.0.1\nport: {port}\nping_interval: \"1h\"\n\
                     jetstream {{ store_dir: jetstream }}\n\
                     websocket {{ host: 127.0.0.1, port: {web}, no_tls: true }}\n"
                );
                std::fs::write(folder.path().join("nats.conf"), config)?;
                command.args(["--config", "nats.conf"]);
                Place { address: here(web), tongue: Tongue::Nats, web: true }
            }
            Rival::Tarantool => {
                std::fs::write(folder.path().join("init.lua"), TARANTOOL)?;
                command.args(["init.lua", &port.to_string()]);
                Place { address: here(port), tongue: Tongue::Tarantool(false), web: false }
            }
        };
        let mut process = Process::new(program, place, folder);
        process.start(bench, command, async |wire: &mut Wire| {
            wire.ask(|out| self.begin(out)).await.map(drop)
        })?;
        let function = match self {
            Rival::Redis => bench.wait(load(&process.place))?,
            _ => Vec::new(),
        };
        Ok(Running { rival: self, process, function })
    }

    /// Appends a request with the id 1 that it answers once it can be used.
    fn begin(self, out: &mut Vec<u8>) {
        match self {
            Rival::Redis => redis::command(&[b"PING"], out),
            Rival::Nats => nats::make_bucket(1, out),
            Rival::Tarantool => {
                tarantool::put(SPACE, 1, "first", r#"{"revision":0,"title":"t"}"#, out)
            }
        }
    }
}

/// Gives Redis the function; its name.
async fn load(place: &Place) -> Result<Vec<u8>, Failure> {
    let words: [&[u8]; 3] = [b"SCRIPT", b"LOAD", redis::FUNCTION.as_bytes()];
    let answer = Wire::open(place).await?.ask(|out| redis::command(&words, out)).await?;
    // A length, the name in 40 digits, each on a line.
    let name = answer.split(|byte| *byte == b'\n').nth(1).map(|line| line.trim_ascii_end());
    name.map(<[u8]>::to_vec).ok_or_else(|| Failure::new(Exit::Failure, "Redis names no function"))
}

/// A peer that runs.
pub struct Running {
    rival: Rival,
    /// Its process.
    pub process: Process,
    function: Vec<u8>,
}

impl Running {
    /// Appends a put; with Redis one without the function.
    pub fn put(&self, id: u64, key: &str, value: &str, out: &mut Vec<u8>) {
        match self.rival {
            Rival::Redis => redis::command(&[b"SET", key.as_bytes(), value.as_bytes()], out),
            Rival::Nats => nats::put(id, key, value.as_bytes(), out),
            Rival::Tarantool => tarantool::put(SPACE, id, key, value, out),
        }
    }

    /// Appends a put that a function checks and changes, where there is one.
    pub fn put_by_function(&self, id: u64, key: &str, value: &str, out: &mut Vec<u8>) {
        match self.rival {
            Rival::Redis => {
                let (key, value) = (key.as_bytes(), value.as_bytes());
                redis::command(&[b"EVALSHA", &self.function, b"1", key, value], out);
            }
            _ => self.put(id, key, value, out),
        }
    }

    /// Appends a get; Tarantool is never asked.
    pub fn get(&self, id: u64, key: &str, out: &mut Vec<u8>) {
        match self.rival {
            Rival::Redis => redis::command(&[b"GET", key.as_bytes()], out),
            Rival::Nats => nats::get(id, key, out),
            Rival::Tarantool => {}
        }
    }
}
