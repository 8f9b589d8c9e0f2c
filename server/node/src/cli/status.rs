//! `status`: how the node, its namespaces and its peers are.

use std::time::Duration;

use keepboth_core::name::Namespace;
use serde_json::{Value as Json, json};

use super::exit::Failure;
use super::object::namespace;
use super::out::{Out, printable, talk};
use super::session::{Session, number, text};
use super::table::{Table, duration};

/// Of what.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Only this namespace
    #[arg(value_name = "NAMESPACE", value_parser = namespace)]
    ns: Option<Namespace>,
}

/// Writes the status: a summary and two tables, or the whole answer as JSON.
pub async fn run(args: Status, session: &mut Session) -> Result<(), Failure> {
    let arguments = args.ns.map_or_else(|| json!({}), |ns| json!({"ns": ns.as_str()}));
    let status = session.call("status", arguments).await?;
    if session.out.json {
        return session.out.json(&status);
    }
    write(&mut session.out, &status)
}

fn write(out: &mut Out, status: &Json) -> Result<(), Failure> {
    out.line(&printable(&format!(
        "node {}, keepboth {}, up {} s, connections {}",
        text(status, "node"),
        text(status, "version"),
        number(status, "uptime_s"),
        number(status, "connections")
    )))?;
    if let Some(warning) = status["warning"].as_str() {
        talk(&printable(warning));
    }
    let namespaces = status["namespaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    out.flush()?;
    warnings(status).iter().for_each(|warning| talk(&format!("\x1b[1;31m{warning}\x1b[0m")));
    out.line("")?;
    table_of_namespaces(namespaces).write(out, "no namespaces")?;
    for table in [table_of_peers(namespaces), table_of_hooks(status)] {
        if !table.is_empty() {
            out.line("")?;
            table.write(out, "")?;
        }
    }
    Ok(())
}

/// The node as a whole, and each of its namespaces, with its name.
fn places(status: &Json) -> impl Iterator<Item = (&str, &Json)> {
    let namespaces = status["namespaces"].as_array().into_iter().flatten();
    [("the server", status)].into_iter().chain(namespaces.map(|ns| (text(ns, "name"), ns)))
}

/// What nobody should overlook, a line each.
fn warnings(status: &Json) -> Vec<String> {
    let each = |(name, place): (&str, &Json)| {
        let warnings = place["warnings"].as_array().into_iter().flatten().filter_map(Json::as_str);
        warnings.map(|words| printable(&format!("WARNING: {name}: {words}"))).collect::<Vec<_>>()
    };
    places(status).flat_map(each).collect()
}

/// What plugins and the hooks of their scripts cost.
fn table_of_hooks(status: &Json) -> Table {
    let head = ["NAMESPACE", "PLUGIN", "HOOK", "CALLS", "ERRORS", "P50", "P99", "SCRIPT"];
    let mut table = Table::new(&head);
    for (name, place) in places(status) {
        for hook in place["hooks"].as_array().into_iter().flatten() {
            let within = |field| duration(Duration::from_nanos(hook[field].as_u64().unwrap_or(0)));
            let name = if std::ptr::eq(place, status) { "" } else { name };
            table.row([
                name,
                text(hook, "plugin"),
                text(hook, "hook"),
                &number(hook, "calls"),
                &number(hook, "errors"),
                &within("p50_ns"),
                &within("p99_ns"),
                text(hook, "script"),
            ]);
        }
    }
    table
}

fn table_of_namespaces(namespaces: &[Json]) -> Table {
    let head =
        ["NAMESPACE", "STATE", "KEYS", "OBJECTS", "CONFLICTS", "TRASH", "HELD", "UNFIT", "REASON"];
    let mut table = Table::new(&head);
    for ns in namespaces {
        let counts = ["keys", "objects", "conflicts", "trash", "quarantined", "unfit"];
        let counts = counts.map(|name| number(ns, name));
        let mut row = vec![text(ns, "name").to_owned(), text(ns, "state").to_owned()];
        row.extend(counts);
        row.push(text(ns, "reason").to_owned());
        table.row(row);
    }
    table
}

/// Where each peer stands, for the status of these namespaces.
pub fn table_of_peers(namespaces: &[Json]) -> Table {
    let mut table = Table::new(&["NAMESPACE", "PEER", "CONNECTED", "AGREES", "BEHIND", "ERROR"]);
    for ns in namespaces {
        for peer in ns["peers"].as_array().into_iter().flatten() {
            let yes = |name| if peer[name] == json!(true) { "yes" } else { "no" };
            let name = [text(peer, "url"), text(peer, "node")].into_iter().find(|n| !n.is_empty());
            let (behind, error) = (number(peer, "behind"), why(peer));
            let name = name.unwrap_or("-");
            table.row([text(ns, "name"), name, yes("connected"), yes("agrees"), &behind, &error]);
        }
    }
    table
}

/// What is wrong with a peer.
fn why(peer: &Json) -> String {
    match peer["stalled"]["blocked_on"].as_str() {
        Some(blocked) => format!("stalled, blocked on {blocked}"),
        None => text(peer, "error").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_and_peers_have_a_line_each() {
        let namespaces = [json!({"name": "notes", "state": "not_synced", "reason": "no peer",
            "keys": 2, "objects": 3, "conflicts": 1, "trash": 0, "quarantined": 4, "unfit": 5,
            "warnings": ["lua: scripts/a.luau is switched off"],
            "peers": [{"url": "ws://b:7400", "connected": false, "agrees": false, "behind": 3,
                "error": "refused"}]})];
        assert_eq!(
            table_of_namespaces(&namespaces).lines()[1],
            "notes      not_synced  2     3        1          0      4     5      no peer"
        );
        let status = json!({"namespaces": namespaces, "warnings": ["auth: its file is gone"]});
        assert_eq!(
            warnings(&status),
            [
                "WARNING: the server: auth: its file is gone",
                "WARNING: notes: lua: scripts/a.luau is switched off"
            ]
        );
        assert_eq!(
            table_of_peers(&namespaces).lines()[1],
            "notes      ws://b:7400  no         no      3       refused"
        );
    }

    #[test]
    fn each_hook_has_a_line_with_its_calls_errors_and_times() {
        let status = json!({
            "hooks": [{"plugin": "auth", "hook": "connect", "calls": 1, "errors": 0,
                "p50_ns": 125, "p99_ns": 125}],
            "namespaces": [{"name": "notes", "hooks": [{"plugin": "lua", "script": "scripts/a.luau",
                "hook": "on_put", "calls": 12, "errors": 1, "p50_ns": 2_500, "p99_ns": 50_000_000}]}]});
        assert_eq!(
            table_of_hooks(&status).lines(),
            [
                "NAMESPACE  PLUGIN  HOOK     CALLS  ERRORS  P50       P99       SCRIPT",
                "           auth    connect  1      0       0.125 us  0.125 us",
                "notes      lua     on_put   12     1       2.5 us    50 ms     scripts/a.luau",
            ]
        );
    }
}
