//! From the bytes of a frame to a request, or to a refusal that names the place.

use std::cell::Cell;
use std::fmt;

use keepboth_core::json;
use keepboth_core::limits::{BATCH_OPS_MAX, DEPTH_MAX, FRAME_DEPTH, figure};
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_schema::events::{EventKind, check_request};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::args::{
    Args, INVITE_MS, INVITE_MS_MAX, INVITE_MS_MIN, WAIT_MS, WAIT_MS_MAX, did_you_mean,
};
use super::format::Format;
use super::msgpack;
use super::request::{BatchOp, Call, METHODS, Request, Resolution};
use super::tree::{Members, Tree, shown};

/// The largest request id: what every JSON reader holds exactly.
const ID_MAX: u64 = (1 << 53) - 1;
/// What a frame looks like.
const FORM: &str = "a request is {\"id\":1,\"method\":{…}}, for instance {\"id\":1,\"status\":{}}";

/// Why a frame is no request.
#[derive(Debug, PartialEq)]
pub struct NoRequest {
    /// Its id if that could be read, so that it can be answered.
    pub id: Option<u64>,
    /// The method that it names, if there is such.
    pub method: Option<&'static str>,
    /// What is wrong, in words that may repeat what the frame holds.
    pub refusal: Refusal,
}

/// Reads a frame.
// The refusal is on its way to the client and moved once; a box would cost more than it saves.
#[allow(clippy::result_large_err)]
pub fn decode_request(format: Format, bytes: &[u8]) -> Result<Request, NoRequest> {
    let no = |id, method, refusal| NoRequest { id, method, refusal };
    let tree = match format {
        Format::Json => read_json(bytes).map_err(|refusal| no(read_json_id(bytes), None, refusal)),
        Format::MessagePack => msgpack::read(bytes, DEPTH_MAX + FRAME_DEPTH)
            .map_err(|refusal| no(msgpack::read_id(bytes).filter(fits), None, refusal)),
    };
    let (id, members) = envelope(tree?).map_err(|refusal| no(None, None, refusal))?;
    let (method, arguments) = method(members).map_err(|refusal| no(Some(id), None, refusal))?;
    let call = call(format, method, arguments);
    let call = call.map_err(|refusal| no(Some(id), Some(method), refusal))?;
    Ok(Request { id, call })
}

fn fits(id: &u64) -> bool {
    *id <= ID_MAX
}

fn read_json(bytes: &[u8]) -> Result<Tree, Refusal> {
    json::parse_frame(bytes).map(Tree::Json).map_err(|e| {
        let words = e.to_string();
        // What is well-formed and yet cannot be held is the value's fault, not the frame's.
        if e.is_data() || words.starts_with("number out of range") {
            return Refusal::new(Code::BadValue, words);
        }
        Refusal::new(Code::BadFrame, format!("not JSON: {words}")).hint(FORM)
    })
}

fn bad_frame(words: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadFrame, words).hint(FORM)
}

/// The id, and everything else.
fn envelope(tree: Tree) -> Result<(u64, Members), Refusal> {
    let members = tree.into_members();
    let mut members = members
        .map_err(|tree| bad_frame(format!("the frame is {}, not an object", tree.kind())))?;
    match members.take("id") {
        Some(Tree::Json(Json::Number(n))) if n.as_u64().is_some_and(|id| fits(&id)) => {
            Ok((n.as_u64().unwrap_or_default(), members))
        }
        Some(other) => Err(bad_frame(format!(
            "id is {}, it should be a whole number from 0 to {ID_MAX}",
            other.describe()
        ))),
        None => Err(bad_frame("the frame has no id")),
    }
}

/// The one method of a frame, with its arguments.
fn method(mut members: Members) -> Result<(&'static str, Tree), Refusal> {
    let names = members.names();
    let name = match names.as_slice() {
        [] => return Err(bad_frame("the frame has no method")),
        [name] => (*name).to_owned(),
        [one, two, ..] => {
            let (one, two) = (shown(one), shown(two));
            return Err(bad_frame(format!("the frame has two methods: {one:?} and {two:?}")));
        }
    };
    let known = METHODS.iter().find(|method| **method == name);
    match (known, members.take(&name)) {
        (Some(method), Some(arguments)) => Ok((method, arguments)),
        _ => Err(unknown_method(&name)),
    }
}

fn unknown_method(name: &str) -> Refusal {
    let words = format!("there is no method {:?}", shown(name));
    let hint = format!("{}the methods are {}", did_you_mean(name, METHODS), METHODS.join(", "));
    Refusal::new(Code::UnknownMethod, words).hint(hint)
}

/// The fields that a method takes.
fn fields(method: &str) -> &'static [&'static str] {
    match method {
        "hello" => &["client", "version", "token"],
        "get" | "conflict" | "purge" => &["ns", "key"],
        "put" => &["ns", "key", "value", "if_version", "wait", "wait_ms"],
        "delete" => &["ns", "key", "if_version", "wait", "wait_ms"],
        "batch" => &["ns", "ops", "wait", "wait_ms"],
        "list" => &["ns", "prefix", "after", "limit", "values"],
        "history" => &["ns", "key", "after", "limit"],
        "get_version" => &["ns", "key", "version"],
        "restore" => &["ns", "key", "version", "wait", "wait_ms"],
        "revert" => &["ns", "key", "version", "if_version", "wait", "wait_ms"],
        "conflicts" | "trash" | "quarantine" | "schema_report" => &["ns", "after", "limit"],
        "resolve" => &["ns", "key", "value", "side", "if_conflict", "wait", "wait_ms"],
        "watch" => &["ns", "prefix", "initial", "cursor", "values"],
        "unwatch" => &["sub"],
        "status" | "ns_info" | "ns_add" | "ns_rm" | "quarantine_retry" => &["ns"],
        "judge" => &["ns", "key", "version", "verdict"],
        "hook_log" => &["ns", "after", "limit", "wait_ms"],
        "acks" => &["ns", "key", "version", "within_ms"],
        "query" => QUERY,
        "plugin" => &["ns", "plugin", "op", "arguments"],
        "peers" => &["after", "limit"],
        "peer_invite" => &["namespaces", "expires_ms"],
        "peer_add" => &["node", "namespaces"],
        "peer_rm" => &["node"],
        _ => &[],
    }
}

fn call(format: Format, method: &'static str, arguments: Tree) -> Result<Call, Refusal> {
    let held = check_event(format, method, &arguments);
    let call = typed_call(format, method, arguments)?;
    // Whatever the types let pass and the schema does not is still refused.
    held.map(|()| call)
}

/// Holds the arguments of a put or delete that came as JSON against the schema of that event.
fn check_event(format: Format, method: &str, arguments: &Tree) -> Result<(), Refusal> {
    let kind = EventKind::from_name(method)
        .filter(|kind| matches!(kind, EventKind::Put | EventKind::Delete));
    match (format, kind, arguments) {
        (Format::Json, Some(kind), Tree::Json(arguments)) => check_request(kind, arguments),
        _ => Ok(()),
    }
}

fn typed_call(format: Format, method: &'static str, arguments: Tree) -> Result<Call, Refusal> {
    let args = &mut Args::open(method, fields(method), arguments)?;
    Ok(match method {
        "hello" => hello(args)?,
        "get" => Call::Get { ns: args.ns()?, key: args.name()? },
        "put" => {
            let (ns, key) = (args.ns()?, args.name()?);
            let (condition, wait) = (args.condition()?, args.waiting()?);
            Call::Put { ns, key, condition, wait, value: args.value()? }
        }
        "delete" => Call::Delete {
            ns: args.ns()?,
            key: args.name()?,
            condition: args.condition_of_delete()?,
            wait: args.waiting()?,
        },
        "batch" => {
            let ns = args.ns()?;
            Call::Batch { ops: batch(format, &ns, args)?, wait: args.waiting()?, ns }
        }
        "list" => Call::List {
            ns: args.ns()?,
            prefix: args.text("prefix")?,
            after: args.after()?,
            limit: args.limit()?,
            values: args.truth("values", false)?,
        },
        "history" => Call::History {
            ns: args.ns()?,
            key: args.name()?,
            after: args.id("after")?,
            limit: args.limit()?,
        },
        "get_version" => Call::GetVersion {
            ns: args.ns()?,
            key: args.name()?,
            version: args.need_id("version")?,
        },
        "revert" => Call::Revert {
            ns: args.ns()?,
            key: args.name()?,
            version: args.need_id("version")?,
            condition: args.condition()?,
            wait: args.waiting()?,
        },
        "conflicts" => {
            Call::Conflicts { ns: args.ns()?, after: args.after()?, limit: args.limit()? }
        }
        "conflict" => Call::Conflict { ns: args.ns()?, key: args.key()? },
        "resolve" => Call::Resolve {
            ns: args.ns()?,
            key: args.key()?,
            if_conflict: args.id("if_conflict")?,
            wait: args.waiting()?,
            with: resolution(args)?,
        },
        "trash" => Call::Trash { ns: args.ns()?, after: args.after()?, limit: args.limit()? },
        "restore" => Call::Restore {
            ns: args.ns()?,
            key: args.key()?,
            version: args.id("version")?,
            wait: args.waiting()?,
        },
        "watch" => watch(args)?,
        "unwatch" => Call::Unwatch { sub: args.need_whole("sub")? },
        "status" => Call::Status { ns: args.ns_if_any()? },
        "ns_info" => Call::NsInfo { ns: args.ns()? },
        "ns_add" => Call::NsAdd { ns: args.ns()? },
        "ns_rm" => Call::NsRm { ns: args.ns()? },
        "reload" => Call::Reload,
        "purge" => Call::Purge { ns: args.ns()?, key: args.key()? },
        "quarantine" => {
            Call::Quarantine { ns: args.ns()?, after: args.place("after")?, limit: args.limit()? }
        }
        "judge" => Call::Judge {
            ns: args.ns()?,
            key: args.key()?,
            version: args.need_id("version")?,
            admit: args.verdict()?,
        },
        "quarantine_retry" => Call::QuarantineRetry { ns: args.ns()? },
        "schema_report" => {
            Call::SchemaReport { ns: args.ns()?, after: args.after()?, limit: args.limit()? }
        }
        "hook_log" => Call::HookLog {
            ns: args.ns()?,
            after: args.whole("after", 0)?,
            limit: args.limit()?,
            wait_ms: args.period("wait_ms", 0, WAIT_MS_MAX)?.unwrap_or(0),
        },
        "acks" => Call::Acks {
            ns: args.ns()?,
            key: args.name()?,
            version: args.id("version")?,
            within_ms: args.period("within_ms", 1, WAIT_MS_MAX)?.unwrap_or(WAIT_MS),
        },
        "query" => query(args)?,
        "plugin" => Call::Plugin {
            ns: args.ns()?,
            plugin: args.need_text("plugin")?,
            op: args.need_text("op")?,
            arguments: args.object("arguments")?,
        },
        "peers" => Call::Peers { after: args.text("after")?, limit: args.limit()? },
        "peer_invite" => Call::PeerInvite {
            namespaces: args.namespaces()?,
            expires_ms: args
                .period("expires_ms", INVITE_MS_MIN, INVITE_MS_MAX)?
                .unwrap_or(INVITE_MS),
        },
        "peer_add" => Call::PeerAdd { node: args.need_id("node")?, namespaces: args.namespaces()? },
        "peer_rm" => Call::PeerRm { node: args.need_id("node")? },
        other => return Err(unknown_method(other)),
    })
}

fn hello(args: &mut Args) -> Result<Call, Refusal> {
    let version = args.whole("version", 1)?;
    let client = args.text("client")?;
    let bytes = client.as_ref().map_or(0, String::len);
    if bytes > CLIENT_BYTES_MAX {
        let (bytes, limit) = (figure(bytes), figure(CLIENT_BYTES_MAX));
        return Err(args.bad(&format!("client is {bytes} bytes, the limit is {limit} bytes")));
    }
    Ok(Call::Hello {
        client,
        // A version that no u32 holds is one that this server does not speak.
        version: version.map(|version| u32::try_from(version).unwrap_or(u32::MAX)),
        token: args.text("token")?,
    })
}

fn watch(args: &mut Args) -> Result<Call, Refusal> {
    let cursor = args.text("cursor")?.map(|text| {
        text.parse().map_err(|e: super::BadCursor| Refusal::new(Code::BadCursor, e.to_string()))
    });
    Ok(Call::Watch {
        ns: args.ns()?,
        prefix: args.text("prefix")?,
        initial: args.truth("initial", false)?,
        cursor: cursor.transpose()?,
        values: args.truth("values", true)?,
    })
}

/// Most bytes of a client's name: it stands in every entry of the audit of what the client writes.
const CLIENT_BYTES_MAX: usize = 256;

/// The fields of a query: all but the first are for the plugin that has the index.
const QUERY: &[&str] =
    &["ns", "index", "eq", "prefix", "from", "to", "values", "after", "limit", "wait_ms"];

fn query(args: &mut Args) -> Result<Call, Refusal> {
    let ns = args.ns()?;
    let kinds = ["eq", "prefix", "from", "to"].map(|field| args.has(field));
    if matches!(kinds, [true, true, ..] | [true, _, true, _] | [true, _, _, true]) {
        return Err(args.bad("eq stands alone: without prefix, from and to"));
    }
    if matches!(kinds, [_, true, true, _] | [_, true, _, true]) {
        return Err(args.bad("prefix stands alone: without eq, from and to"));
    }
    let mut query = Map::new();
    let mut set = |field: &str, value: Option<Json>| {
        value.map(|value| query.insert(field.to_owned(), value));
    };
    set("index", Some(args.need_text("index")?.into()));
    for field in ["eq", "from", "to"] {
        set(field, args.scalar(field)?);
    }
    set("prefix", args.text("prefix")?.map(Json::from));
    set("values", Some(args.truth("values", false)?.into()));
    set("after", args.text("after")?.map(Json::from));
    set("limit", args.limit()?.map(Json::from));
    set("wait_ms", Some(args.period("wait_ms", 0, WAIT_MS_MAX)?.unwrap_or(WAIT_MS).into()));
    Ok(Call::Query { ns, query: Json::Object(query) })
}

fn resolution(args: &mut Args) -> Result<Resolution, Refusal> {
    match (args.has("value"), args.has("side")) {
        (true, false) => args.value().map(Resolution::Value),
        (false, true) => args.need_id("side").map(Resolution::Side),
        (true, true) => Err(args.bad("value and side are both there, give one of them")),
        (false, false) => Err(args.bad("value and side are both missing, give one of them")),
    }
}

fn batch(format: Format, ns: &Namespace, args: &mut Args) -> Result<Vec<BatchOp>, Refusal> {
    let ops = args.items("ops")?;
    if ops.is_empty() {
        return Err(args.bad("ops is empty; a batch has at least one operation"));
    }
    if ops.len() > BATCH_OPS_MAX {
        let (found, limit) = (figure(ops.len()), figure(BATCH_OPS_MAX));
        let words = format!("the batch has {found} operations, the limit is {limit}");
        return Err(Refusal::new(Code::BatchTooLarge, words));
    }
    let op = |(index, op)| batch_op(format, ns, op).map_err(|refusal| refusal.in_batch(index));
    ops.into_iter().enumerate().map(op).collect()
}

const BATCH_METHODS: &[&str] = &["put", "delete", "revert", "resolve"];

/// The fields of an operation: the namespace is the batch's, and so is the wait.
fn batch_fields(method: &str) -> &'static [&'static str] {
    let fields = &fields(method)[1..];
    fields.strip_suffix(&["wait", "wait_ms"]).unwrap_or(fields)
}

fn batch_op(format: Format, ns: &Namespace, tree: Tree) -> Result<BatchOp, Refusal> {
    let bad = |words: String| {
        let form = "an operation is one of {\"put\":{…}}, {\"delete\":{…}}, {\"revert\":{…}}, {\"resolve\":{…}}";
        Refusal::new(Code::BadRequest, words).hint(form)
    };
    let mut members =
        tree.into_members().map_err(|tree| bad(format!("it is {}", tree.describe())))?;
    let name = match members.names().as_slice() {
        [name] => (*name).to_owned(),
        names => return Err(bad(format!("it has {} members, it should have one", names.len()))),
    };
    let known = BATCH_METHODS.iter().find(|method| **method == name);
    let (Some(method), Some(mut arguments)) = (known, members.take(&name)) else {
        let words = format!("there is no operation {:?}", shown(&name));
        return Err(bad(words));
    };
    let held = check_batch_event(format, ns, method, &mut arguments);
    let op = typed_op(method, arguments)?;
    held.map(|()| op)
}

/// As [`check_event`]; the namespace of the batch is lent to the operation for that long.
fn check_batch_event(
    format: Format,
    ns: &Namespace,
    method: &str,
    arguments: &mut Tree,
) -> Result<(), Refusal> {
    let lent = match arguments {
        Tree::Json(Json::Object(members)) if !members.contains_key("ns") => {
            members.insert("ns".to_owned(), ns.as_str().into());
            true
        }
        _ => false,
    };
    let held = check_event(format, method, arguments);
    if let (true, Tree::Json(Json::Object(members))) = (lent, arguments) {
        members.remove("ns");
    }
    held
}

fn typed_op(method: &'static str, arguments: Tree) -> Result<BatchOp, Refusal> {
    let args = &mut Args::open(method, batch_fields(method), arguments)?;
    Ok(match method {
        "put" => {
            BatchOp::Put { key: args.name()?, condition: args.condition()?, value: args.value()? }
        }
        "delete" => BatchOp::Delete { key: args.name()?, condition: args.condition_of_delete()? },
        "revert" => BatchOp::Revert {
            key: args.name()?,
            version: args.need_id("version")?,
            condition: args.condition()?,
        },
        _ => BatchOp::Resolve {
            key: args.key()?,
            if_conflict: args.id("if_conflict")?,
            with: resolution(args)?,
        },
    })
}

/// The `id` of a frame that could not be read, if it stands before what is wrong or that is well-formed.
fn read_json_id(bytes: &[u8]) -> Option<u64> {
    let id = Cell::new(None);
    // The rest of the frame is known to be wrong; what came before it counts.
    let _ = FindId(&id).deserialize(&mut serde_json::Deserializer::from_slice(bytes));
    id.get().filter(fits)
}

/// Looks for the member `id` and leaves it in the cell; two of them are none.
struct FindId<'a>(&'a Cell<Option<u64>>);

impl<'de> DeserializeSeed<'de> for FindId<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FindId<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        let mut seen = 0;
        while let Some(name) = from.next_key::<String>()? {
            if name == "id" {
                seen += 1;
                self.0.set(None);
                self.0.set(Some(from.next_value()?).filter(|_| seen == 1));
            } else {
                from.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}
