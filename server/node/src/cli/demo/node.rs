//! A node of its own process, started from this program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a node may take to start.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A running `keepboth serve`. Killed when dropped.
pub struct Node {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its folder.
    pub folder: PathBuf,
    url: String,
    child: Child,
}

impl Node {
    /// Starts `program serve --config FILE`, and waits until it says where it listens. Its log goes to
    /// `log` beside the config file.
    pub async fn start(program: &Path, config: &Path) -> anyhow::Result<Node> {
        let folder = config.parent().unwrap_or(Path::new(".")).to_owned();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
        let mut child = Command::new(program)
            .args(["serve", "--json", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line =
            timeout(START_WITHIN, lines.next_line()).await.context("the node does not start")??;
        let Some(line) = line else {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            bail!("the node ended at once:\n{log}");
        };
        let started: serde_json::Value = serde_json::from_str(&line).context("the first line")?;
        let address =
            started["listening"].as_str().ok_or_else(|| anyhow!("no address in {line}"))?;
        let url = started["url"].as_str().ok_or_else(|| anyhow!("no URL in {line}"))?.to_owned();
        Ok(Node { address: address.parse()?, folder, url, child })
    }

    /// The URL for clients and peers.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The id of its process; None once it has ended.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal to the process, for instance `HUP`.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let id = self.process().ok_or_else(|| anyhow!("the node has ended already"))?;
        Command::new("kill").args(["-s", name, &id.to_string()]).status().await?;
        Ok(())
    }

    /// Kills the process at once, as a power cut would.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill the node")
    }

    /// Asks the process to stop and waits for it; its exit code.
    pub async fn stop(mut self) -> anyhow::Result<Option<i32>> {
        self.signal("TERM").await?;
        Ok(self.child.wait().await?.code())
    }
}
