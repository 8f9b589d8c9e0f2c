//! The last events of a namespace, as a server has them: each key once, at its last change.

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::session::{Session, text};
use crate::client::{ClientError, Push};

/// An event that has been.
pub struct Past {
    pub key: Key,
    /// The version, or the id of the conflict.
    pub id: String,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    pub what: What,
}

/// What happened to the key.
pub enum What {
    /// It got a value; with the one before, if that is kept.
    Put(Value, Option<Value>),
    /// It was deleted; with the value before, if that is kept.
    Delete(Option<Value>),
    /// It is in conflict: base and sides.
    Conflict(Option<Value>, Vec<Value>),
}

impl What {
    pub fn as_str(&self) -> &'static str {
        match self {
            What::Put(..) => "put",
            What::Delete(_) => "delete",
            What::Conflict(..) => "conflict",
        }
    }
}

/// The events among the last changes of the store, at most `last` of them, the oldest first.
pub async fn last(session: &Session, ns: &Namespace, last: u64) -> Result<Vec<Past>, Failure> {
    let info = session.call("ns_info", json!({"ns": ns.as_str()})).await?;
    let status = &info["status"];
    let sequence = status["sequence"].as_u64().unwrap_or(0);
    let from = sequence.saturating_sub(last);
    let (store, epoch) = (text(status, "store"), info["epoch"].as_u64().unwrap_or(0));
    // The cursor of a place in the feed has this form.
    let cursor = format!("{store}.{epoch}.{from}");
    let watch = json!({"ns": ns.as_str(), "cursor": cursor});
    let mut pushes = session.client.watch(watch).await.map_err(|error| forgotten(error, last))?;
    let mut events = Vec::new();
    loop {
        match pushes.next().await {
            Some(Push::Event(event)) => events.push(event),
            Some(Push::Live { .. }) => break,
            Some(Push::End(refused)) => return Err(ClientError::Refused(Box::new(refused)).into()),
            None => return Err(session.client.closed().map_or_else(lost, Failure::from)),
        }
    }
    drop(pushes);
    let mut past = Vec::new();
    for event in events {
        past.extend(one(session, ns, &event).await?);
    }
    Ok(past)
}

fn lost() -> Failure {
    Failure::new(Exit::Unreachable, "the connection is gone")
}

/// Deletes that are forgotten cannot be told any more.
fn forgotten(error: ClientError, last: u64) -> Failure {
    match &error {
        ClientError::Refused(refused) if refused.code == Code::BadCursor.as_str() => Failure::new(
            Exit::Limit,
            format!("deletes among the last {last} changes are forgotten"),
        )
        .hint("ask for fewer: --last COUNT"),
        _ => error.into(),
    }
}

async fn one(session: &Session, ns: &Namespace, event: &Json) -> Result<Option<Past>, Failure> {
    let key = Key::new(text(event, "key"));
    let Ok(key) = key else { return Ok(None) };
    let version = text(event, "version");
    let what = match text(event, "type") {
        "put" => {
            let old = before(session, ns, &key, version).await?;
            What::Put(value(session, ns, &key, event).await?, old)
        }
        "delete" => What::Delete(before(session, ns, &key, version).await?),
        "conflict" => {
            let conflict = json!({"ns": ns.as_str(), "key": key.as_str()});
            let conflict = session.call("conflict", conflict).await?;
            let mut sides = Vec::new();
            for side in conflict["sides"].as_array().into_iter().flatten() {
                let name = Name::new(text(side, "address")).map_err(|e| unclear(e.message))?;
                let side = match side.get("value") {
                    Some(value) => of_wire(value)?,
                    None => of_wire(
                        &session
                            .call("get", json!({"ns": ns.as_str(), "key": name.to_string()}))
                            .await?["value"],
                    )?,
                };
                sides.push(side);
            }
            What::Conflict(conflict["base"].get("value").map(of_wire).transpose()?, sides)
        }
        _ => return Ok(None),
    };
    let id = [version, text(event, "id")].into_iter().find(|id| !id.is_empty());
    let (id, timestamp) = (id.unwrap_or_default().to_owned(), event["timestamp"].as_u64());
    Ok(Some(Past { key, id, timestamp: timestamp.unwrap_or(0), what }))
}

/// The value of an event; one that was too large for a frame is got alone.
async fn value(
    session: &Session,
    ns: &Namespace,
    key: &Key,
    event: &Json,
) -> Result<Value, Failure> {
    match event.get("value") {
        Some(value) => of_wire(value),
        None => of_wire(&get_version(session, ns, key, text(event, "version")).await?["value"]),
    }
}

async fn get_version(
    session: &Session,
    ns: &Namespace,
    key: &Key,
    version: &str,
) -> Result<Json, Failure> {
    let arguments = json!({"ns": ns.as_str(), "key": key.as_str(), "version": version});
    session.call("get_version", arguments).await
}

/// The value of the only parent of a version; None if it has none, several, or the value is not kept.
async fn before(
    session: &Session,
    ns: &Namespace,
    key: &Key,
    version: &str,
) -> Result<Option<Value>, Failure> {
    let arguments = json!({"ns": ns.as_str(), "key": key.as_str()});
    let history = session.call("history", arguments).await?;
    let versions = history["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |id: &str| versions.iter().find(|past| text(past, "version") == id);
    let parents = of(version).and_then(|past| past["parents"].as_array());
    let Some([Json::String(parent)]) = parents.map(Vec::as_slice) else { return Ok(None) };
    if of(parent).is_none_or(|past| past["bytes"].is_null()) {
        return Ok(None);
    }
    of_wire(&get_version(session, ns, key, parent).await?["value"]).map(Some)
}

fn of_wire(tree: &Json) -> Result<Value, Failure> {
    Value::from_wire(tree).map_err(|e| unclear(e.message))
}

fn unclear(words: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("the server's answer is not understood: {words}"))
}
