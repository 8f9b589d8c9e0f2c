//! A server in a process of its own: what it takes of the machine, and its end.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::setup::{Folder, Setup, Way};
use super::wire::{Place, Wire};
use super::{Bench, data};
use crate::cli::exit::{Exit, Failure};

/// How long a server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// In which parts of a second Linux tells processes' times, on every machine.
const TICKS: f64 = 100.0;
/// Bytes of a log that are shown when a server failed.
const LOG_TAIL: usize = 2_000;

/// A server with its folder; killed, and the folder removed, when dropped.
pub struct Process {
    /// Where clients connect.
    pub place: Place,
    /// How long it took from its start to its first answer.
    pub started_in: Duration,
    program: PathBuf,
    child: Option<Child>,
    // After the process, which writes into it.
    folder: Folder,
}

/// A port that is free now.
pub fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The address of a port of this machine.
pub fn here(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Process {
    /// Starts one of ours, with one namespace that is shared and these others.
    pub fn keepboth(
        bench: &Bench,
        way: Way,
        peers: &[String],
        others: &[&str],
    ) -> Result<Process, Failure> {
        let (folder, port) = (Folder::new(&bench.below)?, free_port()?);
        Setup { port, way, peers, others }.write(folder.path())?;
        let place = Place::keepboth(here(port));
        let mut process = Process::new(bench.program.clone(), place, folder);
        process.start_again(bench)?;
        Ok(process)
    }

    /// Starts a server that was stopped, with what it had.
    pub fn start_again(&mut self, bench: &Bench) -> Result<(), Failure> {
        let config = self.folder.path().join("config.toml");
        let mut command = Command::new(&self.program);
        // The environment is the user's and concerns the user's servers.
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.to_string_lossy().starts_with("KEEPBOTH")) {
            command.env_remove(name);
        }
        command.args(["serve", "--config"]).arg(config);
        self.start(bench, command, async |wire: &mut Wire| {
            let answer = wire.ask(|out| data::get(1, 0, out)).await;
            // That nothing is there is an answer too.
            answer.map(drop).or_else(|failure| match failure.message.contains("not_found") {
                true => Ok(()),
                false => Err(failure),
            })
        })
    }

    /// A server that is to be started, from this program in this folder.
    pub fn new(program: PathBuf, place: Place, folder: Folder) -> Process {
        Process { place, started_in: Duration::ZERO, program, child: None, folder }
    }

    /// Starts it with this command, and asks until it answers.
    pub fn start(
        &mut self,
        bench: &Bench,
        mut command: Command,
        ask: impl AsyncFn(&mut Wire) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let log = File::options().create(true).append(true).open(self.log())?;
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn();
        let child = child.map_err(|e| self.failed(&format!("does not start: {e}")))?;
        self.child = Some(child);
        loop {
            let answered = bench.wait(async {
                let mut wire = Wire::open(&self.place).await?;
                ask(&mut wire).await
            });
            let Err(failure) = answered else { break };
            if failure.exit == Exit::Interrupted {
                return Err(failure);
            }
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(self.failed(&format!("ended at once with {status}")));
            }
            if started.elapsed() > PATIENCE {
                return Err(self.failed(&format!("does not answer: {failure}")));
            }
            sleep(LOOK_EVERY);
        }
        self.started_in = started.elapsed();
        Ok(())
    }

    /// Where peers connect.
    pub fn url(&self) -> String {
        format!("ws://{}", self.place.address)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes of memory that it has now.
    pub fn memory(&self) -> Result<u64, Failure> {
        Ok(figure(&format!("/proc/{}/status", self.id()?), "VmRSS:")? * 1024)
    }

    /// How long it has had a processor since it started, in seconds.
    pub fn processor(&self) -> Result<f64, Failure> {
        let id = self.id()?;
        let text = proc_file(&format!("/proc/{id}/stat"))?;
        // The name stands in parentheses, and may hold some; of what follows it the 12th and 13th figure.
        let figures = text.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks = figures.filter_map(|figure| figure.parse::<f64>().ok()).sum::<f64>();
        Ok(ticks / TICKS)
    }

    /// Bytes that it has had written to disks since it started.
    pub fn written(&self) -> Result<u64, Failure> {
        figure(&format!("/proc/{}/io", self.id()?), "write_bytes:")
    }

    /// Asks it to end, waits until all is on the disk, and gives the bytes that it has had written in all.
    pub fn stop(&mut self) -> Result<u64, Failure> {
        let id = self.id()?;
        Command::new("kill").args(["-s", "TERM", &id.to_string()]).status()?;
        let asked = Instant::now();
        // What has ended can still be asked what it did, until somebody takes note of its end.
        while !has_ended(id)? {
            if asked.elapsed() > PATIENCE {
                return Err(self.failed("does not stop"));
            }
            sleep(LOOK_EVERY);
        }
        let written = self.written()?;
        match self.child.take().map(|mut child| child.wait()).transpose()? {
            Some(status) if !status.success() => Err(self.failed(&format!("ended with {status}"))),
            _ => Ok(written),
        }
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// True if these words stand in what it has logged.
    pub fn has_said(&self, words: &str) -> Result<bool, Failure> {
        Ok(std::fs::read_to_string(self.log())?.contains(words))
    }

    fn id(&self) -> Result<u32, Failure> {
        self.child.as_ref().map(Child::id).ok_or_else(|| self.failed("has ended"))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn failed(&self, what: &str) -> Failure {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL)..]);
        Failure::new(Exit::Failure, format!("{} {what}\n{tail}", self.program.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How many files this process may have open at once; None where the system does not say.
pub fn open_files_max() -> Option<u64> {
    figure("/proc/self/limits", "Max open files").ok()
}

/// Bytes that a folder and all in it take on the disk.
pub fn on_disk(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { on_disk(&entry.path())? } else { blocks(&data) };
    }
    Ok(bytes)
}

#[cfg(unix)]
fn blocks(file: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(file) * 512
}

#[cfg(not(unix))]
fn blocks(file: &std::fs::Metadata) -> u64 {
    file.len()
}

/// True if a process is nothing more than an entry that its parent has not read.
fn has_ended(id: u32) -> Result<bool, Failure> {
    let text = proc_file(&format!("/proc/{id}/stat"))?;
    // The name before the state stands in parentheses, and may hold some.
    Ok(text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// The figure after this word in a file of the system's about a process.
fn figure(file: &str, word: &str) -> Result<u64, Failure> {
    let text = proc_file(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.ok_or_else(|| Failure::new(Exit::Failure, format!("{file} has no figure after {word}")))
}

fn proc_file(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| {
        let failure = Failure::new(Exit::Failure, format!("{file}: {e}"));
        match e.kind() {
            ErrorKind::NotFound => failure.hint("what a process takes can be measured on Linux"),
            _ => failure,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("below")).expect("a folder");
        for name in ["a", "below/b"] {
            std::fs::write(folder.path().join(name), vec![7; 10_000]).expect("written");
        }
        let bytes = on_disk(folder.path()).expect("read");
        assert!((20_000..100_000).contains(&bytes), "{bytes}");
    }
}
