//! `keepboth demo`: three nodes on this machine, a cut link, a conflict, the heal, and a merge by a hook.
//! Each step is printed and checked; anything that disagrees ends it with exit code 1.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::out::{Out, talk};
use crate::client::{Client, ClientError};
use crate::protocol::Format;

/// A wire that can be cut.
pub mod link;
/// A node of its own process.
pub mod node;

use link::Wire;
use node::Node;

/// How long the nodes may take to agree.
const AGREE_WITHIN: Duration = Duration::from_secs(30);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The hook that merges.
const MERGE: &str = include_str!("../../../../../scripts/merge.luau");

/// Where the demo keeps its nodes.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// Keep the nodes' folders here instead of a temporary folder that is removed
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
}

/// Runs the demo, and removes what it made unless it was told where to keep it.
pub fn run(args: &Demo, json: bool) -> Result<(), Failure> {
    let folder = match &args.data {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("keepboth-demo-{}", std::process::id())),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(Failure::from)?.block_on(async {
        tokio::select! {
            outcome = Story::tell(&folder, json) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::quiet(Exit::Interrupted)),
        }
    });
    match &args.data {
        None => drop(std::fs::remove_dir_all(&folder)),
        Some(folder) => talk(&format!("the nodes' folders are in {}", folder.display())),
    }
    outcome
}

/// Three nodes, A, B and C, of which A hangs on two wires.
struct Story {
    nodes: Vec<Node>,
    clients: Vec<Client>,
    wires: Vec<Wire>,
    out: Out,
    step: u32,
}

impl Story {
    async fn tell(folder: &Path, json: bool) -> Result<(), Failure> {
        let mut story = Story::begin(folder, json).await?;
        story.write_and_follow().await?;
        story.cut().await?;
        story.write_on_both_sides().await?;
        story.heal().await?;
        story.both_are_kept_everywhere().await?;
        story.the_hook_has_merged().await?;
        story.resolve().await?;
        story.end().await
    }

    async fn begin(folder: &Path, json: bool) -> Result<Story, Failure> {
        let wires = [wire().await?, wire().await?];
        let mut story = Story {
            nodes: Vec::new(),
            clients: Vec::new(),
            wires: wires.into(),
            out: Out::new(json),
            step: 0,
        };
        for (name, peers) in [("c", vec![]), ("b", vec![0]), ("a", vec![0, 1])] {
            let peers = peers.into_iter().map(|wire: usize| match name {
                // B and C are not parted, so B dials C itself.
                "b" => story.nodes[0].url(),
                _ => format!("ws://{}", story.wires[wire].address),
            });
            let config = prepare(&folder.join(name), &peers.collect::<Vec<_>>())?;
            let program = std::env::current_exe()?;
            let node = Node::start(&program, &config).await;
            let node = node.map_err(|e| Failure::new(Exit::Failure, format!("{e:#}")))?;
            if let Some(wire) = story.wires.get(story.nodes.len()) {
                wire.lead_to(node.address);
            }
            story.clients.push(Client::connect(&node.url(), Format::Json).await?);
            story.nodes.push(node);
        }
        story.nodes.reverse();
        story.clients.reverse();
        let urls: Vec<String> = story.nodes.iter().map(Node::url).collect();
        story.say(&format!("three nodes run: A {}, B {}, C {}", urls[0], urls[1], urls[2]))?;
        Ok(story)
    }

    async fn write_and_follow(&mut self) -> Result<(), Failure> {
        self.put(0, "notes", "plan", json!({"title": "Plan", "text": "first draft"})).await?;
        self.put(0, "lists", "shopping", json!({"milk": 1, "bread": 1})).await?;
        self.agree().await?;
        self.say("A writes notes/plan and lists/shopping; B and C show them too")
    }

    async fn cut(&mut self) -> Result<(), Failure> {
        self.wires.iter().for_each(Wire::cut);
        let alone = |status: &Json| status["namespaces"][0]["state"] == "not_synced";
        self.until(0, alone, "A does not notice that it is alone").await?;
        self.say(
            "the links between A and the others are cut; A says: not_synced, no peer is connected",
        )
    }

    async fn write_on_both_sides(&mut self) -> Result<(), Failure> {
        self.put(0, "notes", "plan", json!({"title": "Plan", "text": "A's version"})).await?;
        self.put(1, "notes", "plan", json!({"title": "Plan", "text": "B's version"})).await?;
        self.put(0, "lists", "shopping", json!({"milk": 2, "bread": 1})).await?;
        self.put(1, "lists", "shopping", json!({"milk": 1, "bread": 1, "eggs": 6})).await?;
        self.say("A and B change notes/plan and lists/shopping, and do not know of each other")
    }

    async fn heal(&mut self) -> Result<(), Failure> {
        self.wires.iter().for_each(Wire::mend);
        self.agree().await?;
        self.say("the links are whole again; all three nodes say: synced")
    }

    async fn both_are_kept_everywhere(&mut self) -> Result<(), Failure> {
        let names = self.sides(0).await?;
        for node in 1..3 {
            let others = self.sides(node).await?;
            check(others == names, "the nodes do not show the same objects under the same names")?;
        }
        let mut texts: Vec<&str> =
            names.iter().filter_map(|(_, value)| value["text"].as_str()).collect();
        texts.sort_unstable();
        check(texts == ["A's version", "B's version"], "a side of the conflict is lost")?;
        self.say(
            "notes/plan is in conflict, and nothing is lost; A, B and C show the same two objects:",
        )?;
        for (address, value) in &names {
            self.detail(&format!("{address}  {}", value["text"]))?;
        }
        Ok(())
    }

    async fn the_hook_has_merged(&mut self) -> Result<(), Failure> {
        let expected = json!({"milk": 2, "bread": 1, "eggs": 6});
        for node in 0..3 {
            let found = self.get(node, "lists", "shopping").await?;
            check(found["value"] == expected, &format!("lists/shopping was not merged: {found}"))?;
        }
        self.say(
            "lists has a hook that merges: lists/shopping is one object again, on all nodes:",
        )?;
        self.detail(&expected.to_string())
    }

    async fn resolve(&mut self) -> Result<(), Failure> {
        let conflict = self.call(2, "conflict", json!({"ns": "notes", "key": "plan"})).await?;
        let value = json!({"title": "Plan", "text": "A's and B's version"});
        let resolve =
            json!({"ns": "notes", "key": "plan", "value": value, "if_conflict": conflict["id"]});
        self.call(2, "resolve", resolve).await?;
        self.agree().await?;
        for node in 0..3 {
            let found = self.get(node, "notes", "plan").await?;
            check(found["value"] == value, &format!("notes/plan is not resolved: {found}"))?;
        }
        self.say("C resolves notes/plan; A, B and C show one object again")
    }

    async fn end(mut self) -> Result<(), Failure> {
        self.clients.clear();
        for node in self.nodes.drain(..) {
            let code =
                node.stop().await.map_err(|e| Failure::new(Exit::Failure, format!("{e:#}")))?;
            check(code == Some(0), "a node did not stop well")?;
        }
        self.say("the nodes have stopped; everything agreed")
    }

    fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.step += 1;
        match self.out.json {
            true => self.out.json(&json!({"step": self.step, "text": text}))?,
            false => self.out.line(&format!("{}. {text}", self.step))?,
        }
        self.out.flush()
    }

    fn detail(&mut self, text: &str) -> Result<(), Failure> {
        match self.out.json {
            true => self.out.json(&json!({"step": self.step, "detail": text}))?,
            false => self.out.line(&format!("   {text}"))?,
        }
        self.out.flush()
    }

    async fn call(&self, node: usize, method: &str, arguments: Json) -> Result<Json, ClientError> {
        self.clients[node].call(method, arguments).await
    }

    async fn put(&self, node: usize, ns: &str, key: &str, value: Json) -> Result<(), Failure> {
        self.call(node, "put", json!({"ns": ns, "key": key, "value": value})).await?;
        Ok(())
    }

    async fn get(&self, node: usize, ns: &str, key: &str) -> Result<Json, Failure> {
        Ok(self.call(node, "get", json!({"ns": ns, "key": key})).await?)
    }

    /// The sides of the conflict at notes/plan on one node, each under its address.
    async fn sides(&self, node: usize) -> Result<Vec<(String, Json)>, Failure> {
        let conflict = self.call(node, "conflict", json!({"ns": "notes", "key": "plan"})).await?;
        let mut sides = Vec::new();
        for side in conflict["sides"].as_array().into_iter().flatten() {
            let address = side["address"].as_str().unwrap_or_default();
            sides.push((
                address.to_owned(),
                self.get(node, "notes", address).await?["value"].take(),
            ));
        }
        Ok(sides)
    }

    /// Waits until every node says of every namespace that it is synced.
    async fn agree(&self) -> Result<(), Failure> {
        let synced = |status: &Json| {
            let mut namespaces = status["namespaces"].as_array().into_iter().flatten();
            namespaces.all(|namespace| {
                let peers = namespace["peers"].as_array().into_iter().flatten();
                let connected = peers.filter(|peer| peer["connected"] == true).count();
                namespace["state"] == "synced" && connected == 2
            })
        };
        for node in 0..3 {
            self.until(node, synced, "the nodes do not agree").await?;
        }
        Ok(())
    }

    async fn until(
        &self,
        node: usize,
        wanted: impl Fn(&Json) -> bool,
        late: &str,
    ) -> Result<(), Failure> {
        let asked = tokio::time::timeout(AGREE_WITHIN, async {
            loop {
                let status = self.call(node, "status", json!({})).await?;
                if wanted(&status) {
                    return Ok::<(), Failure>(());
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        });
        let seconds = AGREE_WITHIN.as_secs();
        let late = || Failure::new(Exit::Failure, format!("{late} within {seconds} s"));
        asked.await.unwrap_or_else(|_| Err(late()))
    }
}

async fn wire() -> Result<Wire, Failure> {
    Ok(Wire::start().await?)
}

/// Writes a node's folder; its config file.
fn prepare(folder: &Path, peers: &[String]) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(folder.join("scripts"))?;
    std::fs::write(folder.join("scripts/merge.luau"), MERGE)?;
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n\n\
         [mesh]\ndev = true\nadvertise = []\npeers = {peers:?}\nreconnect_min = \"20ms\"\nreconnect_max = \"200ms\"\n\n\
         [namespaces.notes]\n\n\
         [[namespaces.lists.plugins]]\nuse = \"lua\"\nscripts = [\"merge.luau\"]\n"
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, config)?;
    Ok(file)
}

fn check(holds: bool, otherwise: &str) -> Result<(), Failure> {
    match holds {
        true => Ok(()),
        false => Err(Failure::new(Exit::Failure, otherwise)),
    }
}
