//! A small network of its own: a namespace for each node, and lines that can be cut, slow or unplugged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where a packet goes that is to get lost: nobody on the bridge has this address.
const NOBODY: &str = "02:00:00:00:ff:ff";
const PREFIX: &str = "kb";
const PORT: u16 = 7_400;

/// Namespaces on one bridge; gone when dropped.
pub struct Net {
    pid: u32,
    nodes: u8,
}

/// Runs `ip` or `tc`; what went wrong, if it did.
fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command.args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{line}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Net {
    #[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
    /// Lays the lines; None, with a word on stderr, where this machine does not allow it.
    pub fn lay(nodes: u8) -> Option<Net> {
        sweep();
        let net = Net { pid: std::process::id(), nodes };
        match net.set_up() {
            Ok(()) => Some(net),
            Err(why) => {
                eprintln!("skipped: no network namespaces here: {why}");
                None
            }
        }
    }

    fn set_up(&self) -> Result<(), String> {
        let bridge = self.bridge();
        run(&format!("ip link add {bridge} type bridge"))?;
        run(&format!("ip addr add {}/24 dev {bridge}", self.ip(254)))?;
        run(&format!("ip link set {bridge} up"))?;
        for n in 1..=self.nodes {
            let (name, line) = (self.name(n), self.line(n));
            run(&format!("ip netns add {name}"))?;
            run(&format!("ip link add {line} type veth peer name eth0 netns {name}"))?;
            run(&format!("ip link set {line} master {bridge} up"))?;
            run(&format!("ip -n {name} addr add {}/24 dev eth0", self.ip(n)))?;
            run(&format!("ip -n {name} link set lo up"))?;
            run(&format!("ip -n {name} link set eth0 up"))?;
            run(&format!("ip netns exec {name} true"))?;
        }
        Ok(())
    }

    fn bridge(&self) -> String {
        format!("{PREFIX}{}b", self.pid)
    }

    /// The end of a node's line that is on the bridge.
    fn line(&self, n: u8) -> String {
        format!("{PREFIX}{}v{n}", self.pid)
    }

    /// The namespace of a node.
    pub fn name(&self, n: u8) -> String {
        format!("{PREFIX}{}-{n}", self.pid)
    }

    /// Two tests at once seldom have the same network.
    fn ip(&self, host: u8) -> IpAddr {
        let [_, _, high, low] = self.pid.to_be_bytes();
        Ipv4Addr::new(10, 128 | high, low, host).into()
    }

    /// Where a node listens.
    pub fn address(&self, n: u8) -> SocketAddr {
        (self.ip(n), PORT).into()
    }

    /// From now on what a node sends to another one gets lost on the way, and nobody says so.
    pub fn cut(&self, from: u8, to: u8) {
        if from != to {
            let (name, to) = (self.name(from), self.ip(to));
            // An unplugged node loses everything anyway.
            let _ = run(&format!(
                "ip -n {name} neigh replace {to} lladdr {NOBODY} dev eth0 nud permanent"
            ));
        }
    }

    /// Takes a node off the network.
    pub fn down(&self, n: u8) {
        run(&format!("ip link set {} down", self.line(n))).expect("unplugged");
    }

    /// Makes a node's line slow; how.
    pub fn slow(&self, n: u8) -> &'static str {
        let device = format!("dev {} root", self.line(n));
        let netem = "netem delay 80ms 60ms loss 3%";
        // Not every kernel has it; a narrow line with a short queue delays and loses as well.
        let narrow = "tbf rate 600kbit burst 3000 latency 150ms";
        let put = |how| run(&format!("tc qdisc replace {device} {how}"));
        match put(netem) {
            Ok(()) => netem,
            Err(_) => {
                let _ = run(&format!("tc qdisc del {device}"));
                put(narrow).map_or("not on this machine", |()| narrow)
            }
        }
    }

    /// A node's line is whole again, in both directions.
    pub fn heal(&self, n: u8) {
        let (name, line) = (self.name(n), self.line(n));
        run(&format!("ip link set {line} up")).expect("plugged in");
        let _ = run(&format!("tc qdisc del dev {line} root"));
        for other in (1..=self.nodes).filter(|other| *other != n) {
            let (other_name, own, its) = (self.name(other), self.ip(n), self.ip(other));
            let _ = run(&format!("ip -n {name} neigh del {its} dev eth0"));
            let _ = run(&format!("ip -n {other_name} neigh del {own} dev eth0"));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for n in 1..=self.nodes {
            let _ = run(&format!("ip link del {}", self.line(n)));
            remove(&self.name(n));
        }
        let _ = run(&format!("ip link del {}", self.bridge()));
    }
}

/// Removes what a test left behind that was killed before it could.
fn sweep() {
    let dead = |name: &str| {
        let rest = name.strip_prefix(PREFIX)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (pid, kind) = (rest[..digits].parse::<u32>().ok()?, rest[digits..].chars().next()?);
        (!Path::new("/proc").join(pid.to_string()).exists()).then_some(kind)
    };
    let names = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for name in names("/sys/class/net").iter().filter(|name| matches!(dead(name), Some('b' | 'v')))
    {
        let _ = run(&format!("ip link del {name}"));
    }
    for name in names("/run/netns").iter().filter(|name| dead(name) == Some('-')) {
        remove(name);
    }
}

/// Removes a namespace, and ends what runs in it.
fn remove(name: &str) {
    let inside = Command::new("ip").args(["netns", "pids", name]).output();
    let inside = inside.map(|output| output.stdout).unwrap_or_default();
    for pid in String::from_utf8_lossy(&inside).split_whitespace() {
        let _ = run(&format!("kill -KILL {pid}"));
    }
    let _ = run(&format!("ip netns del {name}"));
}
