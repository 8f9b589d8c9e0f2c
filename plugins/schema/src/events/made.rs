//! The schemas of events, made from their types, with examples made from them too.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value as Json, json};

use super::EventKind;
use super::form::{
    All, Base, Conflict, Count, Cursor, Delete, DeleteRequest, Event, Hash, Kind, Level, Name,
    Nodes, Ns, Peer, Put, PutRequest, Side, Stalled, State, StoreId, Wait, WaitMs,
};
use crate::keywords;

/// The version of the forms, `MAJOR.MINOR`. A property that is new and may be absent makes the next minor
/// version: who knows an earlier one ignores it. Everything else that changes a rule makes the next major
/// version, which is that of the protocol: who knows an earlier one does not take it.
pub const VERSION: &str = "1.0";

/// The schema of a kind of event.
pub fn schema(kind: EventKind) -> Json {
    let (event, request) = match kind {
        EventKind::Put => (root::<Put>(), Some(root::<PutRequest>())),
        EventKind::Delete => (root::<Delete>(), Some(root::<DeleteRequest>())),
        EventKind::Conflict => (root::<Conflict>(), None),
        EventKind::State => (root::<State>(), None),
    };
    let mut schema = event.as_object().cloned().unwrap_or_default();
    schema.insert("$id".to_owned(), kind.file().into());
    schema.insert("x-version".to_owned(), VERSION.into());
    schema.insert("title".to_owned(), kind.as_str().into());
    schema.insert("examples".to_owned(), json!(examples(kind)));
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        properties.insert("type".to_owned(), json!({"const": kind.as_str()}));
    }
    if let Some(Json::Array(required)) = schema.get_mut("required") {
        required.insert(0, "type".into());
    }
    if let Some(Json::Object(mut request)) = request.map(Schema::to_value) {
        let mut defs = take_defs(&mut request);
        request.remove("$schema");
        request.remove("title");
        request.insert("examples".to_owned(), requests(kind));
        defs.insert("request".to_owned(), request.into());
        defs.extend(take_defs(&mut schema));
        schema.insert("$defs".to_owned(), defs.into());
    }
    schema.into()
}

fn root<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn take_defs(schema: &mut Map<String, Json>) -> Map<String, Json> {
    match schema.remove("$defs") {
        Some(Json::Object(defs)) => defs,
        _ => Map::new(),
    }
}

/// A schema without what only people read. Two with the same rules let the same pass.
pub fn rules(schema: &Json) -> Json {
    let mut rules = schema.clone();
    let mut texts = Vec::new();
    keywords::each(schema, &mut |pointer, _| {
        texts.extend(
            ["description", "examples", "title", "x-version"]
                .map(|text| (pointer.to_owned(), text)),
        );
    });
    for (pointer, text) in texts {
        if let Some(Json::Object(members)) = rules.pointer_mut(&pointer) {
            members.remove(text);
        }
    }
    rules
}

const MADE: &str = "7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069";
const OTHER: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
const THIRD: &str = "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6";
const ADDRESS: &str = "0a41ca5d5c2fbb4cbb3f9dd1d2d0d6b03e23e8160039594a33894f6564e1b134";
const OTHER_ADDRESS: &str = "0a41ca5d5c2fbb4cbb3f9dd1d2d0d6b02e7d2c03a9507ae265ecf5b5356885a5";

fn hash(text: &str) -> Hash {
    Hash(text.to_owned())
}

fn ns() -> Ns {
    Ns("notes".to_owned())
}

fn key() -> Name {
    Name("note/1".to_owned())
}

fn here() -> StoreId {
    StoreId("5c1b2b3f9a0e4c5d8e6f7a8b9c0d1e2f".to_owned())
}

fn cursor() -> Option<Cursor> {
    Some(Cursor("5c1b2b3f9a0e4c5d8e6f7a8b9c0d1e2f.1.42".to_owned()))
}

const TIME: Count = Count(1_790_000_000_000);

fn side(address: &str, version: &str) -> Side {
    let origin = StoreId("c0ffee00c0ffee00c0ffee00c0ffee00".to_owned());
    let (address, version) = (hash(address), hash(version));
    Side { address, version, kind: None, value: None, timestamp: TIME, origin }
}

/// Events of this kind: with all that may be absent, and without.
pub fn examples(kind: EventKind) -> Vec<Event> {
    match kind {
        EventKind::Put => puts().map(Event::Put).into(),
        EventKind::Delete => deletes().map(Event::Delete).into(),
        EventKind::Conflict => conflicts().map(Event::Conflict).into(),
        EventKind::State => states().map(Event::State).into(),
    }
}

fn puts() -> [Put; 3] {
    let whole = Put {
        ns: ns(),
        key: key(),
        version: hash(MADE),
        kind: Kind::Json,
        value: Some(json!({"title": "Shopping", "text": "bread"})),
        timestamp: TIME,
        origin: here(),
        detached: vec![],
        cursor: cursor(),
    };
    let detached = vec![side(ADDRESS, OTHER)];
    let bare = Put { kind: Kind::Bytes, value: None, cursor: None, detached, ..whole.clone() };
    let null = Put { value: Some(Json::Null), ..whole.clone() };
    [whole, bare, null]
}

fn deletes() -> [Delete; 2] {
    let whole = Delete {
        ns: ns(),
        key: key(),
        version: hash(OTHER),
        timestamp: TIME,
        origin: here(),
        detached: vec![side(ADDRESS, OTHER)],
        cursor: cursor(),
    };
    let bare = Delete { detached: vec![], cursor: None, ..whole.clone() };
    [bare, whole]
}

fn conflicts() -> [Conflict; 2] {
    let with_value =
        |side: Side, kind, value| Side { kind: Some(kind), value: Some(value), ..side };
    let (one, two) = (side(ADDRESS, OTHER), side(OTHER_ADDRESS, THIRD));
    let bare = Conflict {
        ns: ns(),
        key: key(),
        id: hash(MADE),
        base: None,
        sides: vec![one.clone(), two.clone()],
        detached: vec![],
        cursor: None,
    };
    let whole = Conflict {
        base: Some(Base { version: hash(MADE), value: Some("a".into()) }),
        sides: vec![
            with_value(one, Kind::String, "b".into()),
            with_value(two, Kind::Bytes, json!({"$bytes": "AAH/"})),
        ],
        detached: vec![side(
            "0a41ca5d5c2fbb4cbb3f9dd1d2d0d6b07f83b1657ff1fc53b92dc18148a1d65d",
            MADE,
        )],
        cursor: cursor(),
        ..bare.clone()
    };
    [bare, whole]
}

fn states() -> [State; 2] {
    let agreeing = Peer {
        node: Some(hash(MADE)),
        url: Some("ws://10.0.0.2:7400".to_owned()),
        connected: true,
        agrees: true,
        behind: Count(0),
        stalled: None,
        error: None,
        last_exchange: Some(TIME),
    };
    let stuck =
        Stalled { since: TIME, blocked_on: "its acknowledgement".to_owned(), behind: Count(3) };
    let behind = Peer {
        agrees: false,
        behind: Count(3),
        stalled: Some(stuck),
        url: None,
        ..agreeing.clone()
    };
    let lost = Peer {
        node: None,
        url: Some("ws://10.0.0.3:7400".to_owned()),
        connected: false,
        agrees: false,
        error: Some("connection refused".to_owned()),
        last_exchange: None,
        ..agreeing.clone()
    };
    let synced = State {
        ns: ns(),
        state: Level::Synced,
        before: Some(Level::NotSynced),
        reason: "all peers agree".to_owned(),
        peers: vec![agreeing],
    };
    let not_synced = State {
        state: Level::NotSynced,
        before: None,
        reason: "a peer makes no progress".to_owned(),
        peers: vec![behind, lost],
        ..synced.clone()
    };
    [synced, not_synced]
}

/// The arguments of requests of this kind.
fn requests(kind: EventKind) -> Json {
    let bare = PutRequest {
        ns: ns(),
        key: key(),
        value: json!({"title": "Shopping", "text": "bread"}),
        if_version: None,
        wait: None,
        wait_ms: None,
    };
    if kind == EventKind::Put {
        let absent = PutRequest { value: Json::Null, if_version: Some(None), ..bare.clone() };
        let whole = PutRequest {
            key: Name(ADDRESS.to_owned()),
            value: json!({"$bytes": "AAH/"}),
            if_version: Some(Some(hash(MADE))),
            wait: Some(Wait::All(All::All)),
            wait_ms: Some(WaitMs(10_000)),
            ..bare.clone()
        };
        return json!([bare, absent, whole]);
    }
    let PutRequest { ns, key, .. } = bare;
    let bare = DeleteRequest { ns, key, if_version: None, wait: None, wait_ms: None };
    let whole = DeleteRequest {
        key: Name(OTHER_ADDRESS.to_owned()),
        if_version: Some(hash(THIRD)),
        wait: Some(Wait::Nodes(Nodes(2))),
        ..bare.clone()
    };
    json!([bare, whole])
}
