//! `status`: how the node, its namespaces and its peers are.

use keepboth_core::name::Namespace;
use serde_json::{Value as Json, json};

use super::exit::Failure;
use super::object::namespace;
use super::out::{Out, printable, talk};
use super::session::{Session, number, text};
use super::table::Table;

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
    warnings(namespaces).iter().for_each(|warning| talk(&format!("\x1b[1;31m{warning}\x1b[0m")));
    out.line("")?;
    table_of_namespaces(namespaces).write(out, "no namespaces")?;
    let peers = table_of_peers(namespaces);
    if peers.is_empty() {
        return Ok(());
    }
    out.line("")?;
    peers.write(out, "")
}

/// What nobody should overlook, a line each.
fn warnings(namespaces: &[Json]) -> Vec<String> {
    let each = |ns: &Json| {
        let warnings = ns["warnings"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let name = text(ns, "name");
        warnings.map(|words| printable(&format!("WARNING: {name}: {words}"))).collect::<Vec<_>>()
    };
    namespaces.iter().flat_map(each).collect()
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
        assert_eq!(warnings(&namespaces), ["WARNING: notes: lua: scripts/a.luau is switched off"]);
        assert_eq!(
            table_of_peers(&namespaces).lines()[1],
            "notes      ws://b:7400  no         no      3       refused"
        );
    }
}
