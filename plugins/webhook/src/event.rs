//! Events: CloudEvents 1.0 as JSON, one for what a key is now.

use jiff::Timestamp;
use keepboth_core::ids::NodeId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Feed, Now};
use serde_json::{Value as Json, json};

use crate::settings::Kind;

/// The media type of an event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What is told of this.
pub fn kind(now: &Now) -> Kind {
    match now {
        Now::Value { .. } => Kind::Put,
        Now::Conflict(_) => Kind::Conflict,
        Now::Nothing => Kind::Delete,
    }
}

/// An id that no other change has, and that a change keeps however often it is told.
pub fn id(feed: &Feed, sequence: u64) -> String {
    format!("{}-{}-{sequence}", feed.store, feed.epoch)
}

/// The event that tells what a key is. Only of a value it is known when that was written.
pub fn body(node: &NodeId, namespace: &Namespace, id: &str, key: &Key, now: &Now) -> Vec<u8> {
    let mut data = json!({"ns": namespace.as_str(), "key": key.as_str()});
    let mut time = None;
    let kind = match now {
        Now::Value { version, timestamp, value } => {
            time =
                i64::try_from(*timestamp).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            data["version"] = version.to_string().into();
            data["value"] = serde_json::from_str(&value.to_wire()).unwrap_or_default();
            "keepboth.put"
        }
        Now::Conflict(addresses) => {
            let addresses = addresses.iter().map(|address| address.to_string().into());
            data["addresses"] = Json::Array(addresses.collect());
            "keepboth.conflict"
        }
        Now::Nothing => "keepboth.delete",
    };
    let mut event = json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/nodes/{node}/namespaces/{namespace}"),
        "type": kind,
        "subject": key.as_str(),
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(time) = time {
        event["time"] = time.to_string().into();
    }
    event.to_string().into_bytes()
}
