//! What is asked of targets, and what they say.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use keepboth_core::refusal::{Code, Refusal};
use serde_json::{Map, Value as Json, json};
use tokio::sync::mpsc;

/// Questions that wait for a target.
pub const ORDERS_MAX: usize = 16;
/// How long the targets may take together to answer one; they do nothing that lasts.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Most dead events in one answer.
const LISTED_MAX: usize = 1_000;

/// What is asked of a target.
#[derive(Debug, Clone)]
pub enum Ask {
    /// How it is.
    Targets,
    /// The dead events behind an id, at most so many.
    Dead { after: Option<u64>, limit: usize },
    /// One dead event or all are delivered after all.
    Retry { id: Option<u64> },
    /// One dead event or all are forgotten.
    Drop { id: Option<u64> },
}

/// What a target says.
#[derive(Debug, Default)]
pub struct Told {
    /// What there is.
    pub items: Vec<Json>,
    /// How many events it was about.
    pub count: u64,
}

impl Told {
    /// One thing.
    pub fn item(item: Json) -> Told {
        Told { items: vec![item], count: 0 }
    }
}

/// A question to a target, and where its answer goes.
pub type Order = (Ask, SyncSender<Result<Told, Refusal>>);

/// The name of a target and the way to it.
pub type Way = (String, mpsc::Sender<Order>);

/// A question that is in order.
pub struct Question {
    ask: Ask,
    /// The one target that is meant.
    target: Option<String>,
}

impl Question {
    /// Reads a question to these targets; None if there is no such.
    pub fn read(op: &str, asked: &Json, targets: &[&str]) -> Option<Result<Question, Refusal>> {
        let fields: &[&str] = match op {
            "targets" => &[],
            "dead" => &["target", "after", "limit"],
            "retry" | "drop" => &["target", "id"],
            _ => return None,
        };
        let empty = Map::new();
        Some(Question::of(op, fields, asked.as_object().unwrap_or(&empty), targets))
    }

    fn of(
        op: &str,
        fields: &[&str],
        asked: &Map<String, Json>,
        targets: &[&str],
    ) -> Result<Question, Refusal> {
        let bad = |words: String| {
            let takes = if fields.is_empty() { "nothing".to_owned() } else { fields.join(", ") };
            Refusal::new(Code::BadRequest, words).hint(format!("{op} takes {takes}"))
        };
        if let Some(other) = asked.keys().find(|name| !fields.contains(&name.as_str())) {
            return Err(bad(format!("{op} has no argument {other:?}")));
        }
        let number = |name: &str| match asked.get(name) {
            None => Ok(None),
            Some(n) => n.as_u64().map(Some).ok_or_else(|| {
                bad(format!("{name} is {n}, it should be a whole number of at least 0"))
            }),
        };
        let target = match asked.get("target") {
            None => None,
            Some(Json::String(name)) if targets.contains(&name.as_str()) => Some(name.clone()),
            Some(Json::String(name)) => {
                let shown: String = name.chars().take(80).collect();
                let refusal = Refusal::new(Code::NotFound, format!("there is no target {shown:?}"));
                return Err(refusal.hint(format!("there are {}", targets.join(", "))));
            }
            Some(other) => return Err(bad(format!("target is {other}, it should be a text"))),
        };
        let (id, after, limit) = (number("id")?, number("after")?, number("limit")?);
        if target.is_none() && targets.len() > 1 && id.or(after).is_some() {
            return Err(bad("an id is one of a target: say which".into()));
        }
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LISTED_MAX);
        let ask = match op {
            "targets" => Ask::Targets,
            "dead" => Ask::Dead { after, limit: limit.clamp(1, LISTED_MAX) },
            "retry" => Ask::Retry { id },
            _ => Ask::Drop { id },
        };
        Ok(Question { ask, target })
    }

    /// Asks the targets that are meant, and puts together what they say.
    pub fn put(&self, ways: &[Way]) -> Result<Json, Refusal> {
        let told = self.asked(ways)?;
        match self.ask {
            Ask::Retry { id: Some(id) } | Ask::Drop { id: Some(id) } if told.count == 0 => {
                Err(Refusal::new(Code::NotFound, format!("there is no dead event {id}")))
            }
            Ask::Retry { .. } => Ok(json!({"retried": told.count})),
            Ask::Drop { .. } => Ok(json!({"dropped": told.count})),
            Ask::Targets | Ask::Dead { .. } => Ok(json!({"items": told.items})),
        }
    }

    fn asked(&self, ways: &[Way]) -> Result<Told, Refusal> {
        let overloaded = |words: String| Refusal::new(Code::Overloaded, words);
        let is_meant = |name: &String| self.target.as_ref().is_none_or(|target| name == target);
        let meant: Vec<&Way> = ways.iter().filter(|(name, _)| is_meant(name)).collect();
        if meant.is_empty() {
            let words = "the webhooks are not at work: their table is not open yet, or was closed";
            return Err(overloaded(words.into()));
        }
        let (mut all, until) = (Told::default(), Instant::now() + ANSWER_WITHIN);
        for (name, way) in meant {
            let (reply, answer) = sync_channel(1);
            let full = format!("{ORDERS_MAX} questions wait for the target {name}");
            way.try_send((self.ask.clone(), reply)).map_err(|_| overloaded(full))?;
            let late = format!("the target {name} does not answer; see the log of the server");
            let left = until.saturating_duration_since(Instant::now());
            let told = answer.recv_timeout(left).map_err(|_| overloaded(late))??;
            all.items.extend(told.items);
            all.count += told.count;
        }
        Ok(all)
    }
}
