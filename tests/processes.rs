//! Five nodes in five network namespaces, with links that are cut and slow and nodes that are killed:
//! nothing that was acknowledged is lost, and all end with the same.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keepboth::cli::demo::node::Node;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::cluster::{NOTES, give_key, members, mesh};
use crate::harness::{Client, PATIENCE, program};
use crate::net::Net;

const NODES: u8 = 5;
const WRITERS: u64 = 4;
/// Few keys, so that writers meet.
const KEYS: u32 = 12;
/// Faults of one run, and the acknowledged writes between two of them.
const FAULTS: usize = 20;
const WRITES_BETWEEN: usize = 60;
/// A fault stays at least until so many writes came through, or for so long.
const FAULT_WITHIN: Duration = Duration::from_millis(1_200);
/// After this the writer asks another node.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);

/// The nodes of the mesh; one that was killed is None.
struct Nodes {
    folders: Vec<TempDir>,
    running: Vec<Option<Node>>,
}

impl Nodes {
    async fn start(net: &Net) -> Nodes {
        let mut nodes = Nodes { folders: Vec::new(), running: Vec::new() };
        for n in 1..=NODES {
            let folder = TempDir::new().expect("a folder");
            give_key(folder.path(), n);
            // Each is told of one other, and finds the rest.
            let next = format!("ws://{}", net.address(n % NODES + 1));
            let patience = "ping_every = \"100ms\"\nstall_after = \"300ms\"\ncut_after = \"3s\"\n";
            let rest = format!("{patience}{}{NOTES}", members(&[1, 2, 3, 4, 5]));
            let server = format!("[server]\nlisten = \"{}\"\ninsecure = true\n", net.address(n));
            let config = format!("{server}{}", mesh(&[next], &rest));
            std::fs::write(folder.path().join("config.toml"), config).expect("a config");
            let script = format!(
                "#!/bin/sh\nexec ip netns exec {} {} \"$@\"\n",
                net.name(n),
                program().display()
            );
            let path = folder.path().join("inside");
            std::fs::write(&path, script).expect("a script");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("a script");
            nodes.folders.push(folder);
            nodes.running.push(None);
            nodes.go_on(n).await;
        }
        nodes
    }

    fn config(&self, n: u8) -> PathBuf {
        self.folders[usize::from(n) - 1].path().join("config.toml")
    }

    async fn go_on(&mut self, n: u8) {
        let running = &mut self.running[usize::from(n) - 1];
        if running.is_none() {
            let folder = self.folders[usize::from(n) - 1].path();
            let node = Node::start(&folder.join("inside"), &folder.join("config.toml")).await;
            *running = Some(node.expect("a node that starts"));
        }
    }

    async fn kill(&mut self, n: u8) {
        if let Some(node) = self.running[usize::from(n) - 1].take() {
            node.kill().await.expect("killed");
        }
    }

    /// The logs, for whoever looks for what went wrong.
    fn logs(&self) -> String {
        let log = |n| {
            let log = self.config(n).with_file_name("log");
            format!("--- node {n}\n{}", std::fs::read_to_string(log).unwrap_or_default())
        };
        (1..=NODES).map(log).collect()
    }
}

/// What the writers did.
#[derive(Default)]
struct Ledger {
    /// Acknowledged: key, version, and the value; None for a delete.
    done: Vec<(String, String, Option<Json>)>,
    /// All values that were ever sent.
    sent: BTreeSet<String>,
    unknown: usize,
    by_node: BTreeMap<u8, usize>,
}

/// Writes to a random node after the other until it is told to stop.
async fn write(
    writer: u64,
    seed: u64,
    urls: Vec<String>,
    ledger: Arc<Mutex<Ledger>>,
    progress: watch::Sender<usize>,
    stop: watch::Receiver<bool>,
) {
    let mut random = StdRng::seed_from_u64(seed ^ (writer << 32));
    let (mut n, mut serial) = (0, 0);
    while !*stop.borrow() {
        n += 1;
        let at = random.random_range(0..urls.len());
        let connected = timeout(ANSWER_WITHIN, Client::try_connect(&urls[at], None, "/".as_ref()));
        let Ok(Ok(mut client)) = connected.await else { continue };
        for _ in 0..random.random_range(1..20) {
            serial += 1;
            let key = format!("k{}", random.random_range(0..KEYS));
            let value = json!(format!("writer {writer} connection {n} write {serial}"));
            let delete = random.random_range(0..10) == 0;
            let frame = match delete {
                true => json!({"delete": {"ns": "notes", "key": key}}),
                false => {
                    lock(&ledger).sent.insert(value.to_string());
                    json!({"put": {"ns": "notes", "key": key, "value": value}})
                }
            };
            let Ok(Some(answer)) = timeout(ANSWER_WITHIN, client.try_ask(frame)).await else {
                lock(&ledger).unknown += 1;
                break;
            };
            if let Some(version) = answer["ok"]["version"].as_str() {
                let mut ledger = lock(&ledger);
                ledger.done.push((key, version.to_owned(), (!delete).then_some(value)));
                *ledger.by_node.entry(at as u8 + 1).or_default() += 1;
                progress.send_replace(ledger.done.len());
            } else {
                let code = answer["error"]["code"].as_str().expect("a code");
                assert!(delete && matches!(code, "not_found" | "in_conflict"), "{answer}");
            }
            if *stop.borrow() {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One more fault, or the end of one.
async fn trouble(random: &mut StdRng, net: &Net, nodes: &mut Nodes) -> String {
    let one = random.random_range(1..=NODES);
    let other = (one + random.random_range(0..NODES - 1)) % NODES + 1;
    match random.random_range(0..14) {
        0..3 => {
            net.cut(one, other);
            net.cut(other, one);
            format!("no link between {one} and {other}")
        }
        3 => {
            net.cut(one, other);
            format!("nothing gets from {one} to {other}")
        }
        4 => {
            let (inside, outside): (Vec<u8>, Vec<u8>) = (1..=NODES).partition(|n| n % 2 == one % 2);
            for (a, b) in inside.iter().flat_map(|a| outside.iter().map(move |b| (*a, *b))) {
                net.cut(a, b);
                net.cut(b, a);
            }
            format!("{inside:?} and {outside:?} are apart")
        }
        5 => {
            net.down(one);
            format!("{one} is unplugged")
        }
        6..8 => format!("the line of {one} is slow: {}", net.slow(one)),
        8..10 => {
            net.heal(one);
            format!("the lines of {one} are whole")
        }
        10 => {
            (1..=NODES).for_each(|n| net.heal(n));
            "all lines are whole".to_owned()
        }
        11..13 => {
            nodes.kill(one).await;
            format!("{one} is killed")
        }
        _ => {
            for n in 1..=NODES {
                nodes.go_on(n).await;
            }
            "all nodes run".to_owned()
        }
    }
}

/// What a node holds of a key: the versions, and which of them are heads that are puts.
async fn versions(client: &mut Client, key: &str) -> BTreeMap<String, bool> {
    let (mut versions, mut after) = (BTreeMap::new(), Json::Null);
    loop {
        let mut ask = json!({"history": {"ns": "notes", "key": key}});
        if !after.is_null() {
            ask["history"]["after"] = after;
        }
        let page = client.ok(ask).await;
        for version in page["versions"].as_array().expect("versions") {
            let id = version["version"].as_str().expect("a version").to_owned();
            versions.insert(id, version["head"] == true && version["change"] == "put");
        }
        after = page["next"].clone();
        if after.is_null() {
            return versions;
        }
    }
}

/// Waits until all nodes say that they are synced and show the same.
async fn converged(clients: &mut [Client], say: impl Fn() -> String) -> Json {
    let end = Instant::now() + 2 * PATIENCE;
    loop {
        let (mut shown, mut states) = (Vec::new(), Vec::new());
        for client in &mut *clients {
            let status = client.ok(json!({"status": {"ns": "notes"}})).await;
            states.push(status["namespaces"][0].clone());
            shown.push(client.objects("notes").await);
        }
        let synced = states.iter().all(|state| {
            state["state"] == "synced" && crate::cluster::connected(state) == clients.len() - 1
        });
        if synced && shown.windows(2).all(|two| two[0] == two[1]) {
            return shown.remove(0);
        }
        assert!(Instant::now() < end, "they do not agree: {states:#?}\n{}", say());
    }
}

#[expect(clippy::print_stderr, reason = "a run that failed is to be repeated")]
#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_lose_no_acknowledged_write_to_cut_and_slow_lines_and_kills() {
    let Some(net) = Net::lay(NODES) else { return };
    let seed = match std::env::var("KEEPBOTH_SEED") {
        Ok(seed) => seed.parse().expect("KEEPBOTH_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    eprintln!("KEEPBOTH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut nodes = Nodes::start(&net).await;
    let urls: Vec<String> = (1..=NODES).map(|n| format!("ws://{}", net.address(n))).collect();

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (progress, stop) = (watch::Sender::new(0), watch::Sender::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (ledger, progress) = (ledger.clone(), progress.clone());
        writers.spawn(write(writer, seed, urls.clone(), ledger, progress, stop.subscribe()));
    }
    let mut seen = progress.subscribe();
    for _ in 0..FAULTS {
        let wanted = *seen.borrow() + WRITES_BETWEEN;
        let _ = timeout(FAULT_WITHIN, seen.wait_for(|done| *done >= wanted)).await;
        let done = *seen.borrow();
        eprintln!("{done:>6} {}", trouble(&mut random, &net, &mut nodes).await);
    }
    stop.send_replace(true);
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer that ends well");
    }
    for n in 1..=NODES {
        net.heal(n);
        nodes.go_on(n).await;
    }

    let mut clients = Vec::new();
    for url in &urls {
        let client = timeout(PATIENCE, Client::connect(url, None)).await;
        clients.push(client.expect("a connection in time"));
    }
    let objects = converged(&mut clients, || nodes.logs()).await;
    let ledger = std::mem::take(&mut *lock(&ledger));
    let (done, unknown) = (ledger.done.len(), ledger.unknown);
    let status = clients[0].ok(json!({"status": {"ns": "notes"}})).await;
    let conflicts = &status["namespaces"][0]["conflicts"];
    eprintln!(
        "{done} writes acknowledged, {unknown} unknown, {conflicts} conflicts; by node: {:?}",
        ledger.by_node
    );
    assert!(done > 20, "too little came through to show anything");

    let mut histories = BTreeMap::new();
    for key in ledger.done.iter().map(|(key, ..)| key.clone()).collect::<BTreeSet<_>>() {
        let mut same = Vec::new();
        for client in &mut clients {
            same.push(versions(client, &key).await);
        }
        assert!(same.windows(2).all(|two| two[0] == two[1]), "{key}: histories differ");
        histories.insert(key, same.remove(0));
    }
    for (key, version, value) in &ledger.done {
        let known = histories[key].contains_key(version);
        assert!(known, "lost: {key} {version} {value:?}\n{}", nodes.logs());
    }
    // What is on top of everything is shown, under its key or as a side of a conflict; equal values
    // count once, so it is the values that are looked for.
    let shown: BTreeSet<String> = objects
        .as_object()
        .expect("objects")
        .values()
        .map(|object| object[1].to_string())
        .collect();
    for (key, version, value) in &ledger.done {
        if let (true, Some(value)) = (histories[key][version], value) {
            assert!(shown.contains(&value.to_string()), "{key}: {value} is on top and not shown");
        }
    }
    assert!(shown.is_subset(&ledger.sent), "a value that nobody wrote");
}
