//! `peer ls`, `peer invite`, `peer add` and `peer rm`.

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::object::namespace;
use super::out::{printable, talk};
use super::session::{Session, number, text};
use super::table;
use super::wait::ms;
use keepboth_core::unit::Period;

/// The other nodes of the mesh
#[derive(Debug, clap::Subcommand)]
pub enum Peer {
    /// List the other nodes: link, round trip, namespaces, where each stands, what went wrong
    Ls,
    /// Make an invitation for one new node and write it to stdout
    #[command(after_help = "Examples:
  keepboth peer invite > invitation
  keepboth serve --join ws://10.0.0.1:7400 --token-file invitation     on the new node

Whoever has the invitation can join the mesh with it, once, until it expires.")]
    Invite {
        /// The namespaces that the new node may have; all if absent
        #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = namespace)]
        namespaces: Option<Vec<Namespace>>,
        /// How long it holds: 1m to 30d
        #[arg(long, value_name = "PERIOD", default_value = "24h")]
        expires: Period,
    },
    /// Admit a node to the mesh, or change what it may have
    Add {
        /// Its node id, from `keepboth status`
        #[arg(value_name = "NODE_ID")]
        node: NodeId,
        /// The namespaces that it may have; all if absent
        #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = namespace)]
        namespaces: Option<Vec<Namespace>>,
    },
    /// Remove a node from the mesh: all other nodes end their links to it
    Rm {
        /// Its node id, from `keepboth peer ls`
        #[arg(value_name = "NODE_ID")]
        node: NodeId,
        /// Do it: nobody is asked
        #[arg(long)]
        yes: bool,
    },
}

/// Runs one of the commands.
pub async fn run(command: Peer, session: &mut Session) -> Result<(), Failure> {
    match command {
        Peer::Ls => ls(session).await,
        Peer::Invite { namespaces, expires } => {
            let mut arguments = json!({"expires_ms": ms(&expires)});
            limit(&mut arguments, namespaces);
            let answer = session.call("peer_invite", arguments).await?;
            if session.out.json {
                return session.out.json(&answer);
            }
            let until = table::time(answer["expires"].as_u64());
            talk(&format!("it admits one node, until {until}"));
            session.out.line(text(&answer, "token"))
        }
        Peer::Add { node, namespaces } => {
            let mut arguments = json!({"node": node});
            limit(&mut arguments, namespaces);
            let answer = session.call("peer_add", arguments).await?;
            done(&answer, "added", "it is a member already", session)
        }
        Peer::Rm { node, yes: false } => {
            let words = format!("{node} would be cut off from all other nodes");
            Err(Failure::new(Exit::Usage, words).hint("say --yes to do it"))
        }
        Peer::Rm { node, yes: true } => {
            let answer = session.call("peer_rm", json!({"node": node})).await?;
            done(&answer, "removed", "it was removed before", session)
        }
    }
}

fn limit(arguments: &mut Json, namespaces: Option<Vec<Namespace>>) {
    if let Some(namespaces) = namespaces {
        let names = namespaces.iter().map(|ns| ns.as_str().into()).collect();
        arguments["namespaces"] = Json::Array(names);
    }
}

fn done(answer: &Json, what: &str, nothing: &str, session: &mut Session) -> Result<(), Failure> {
    if session.out.json {
        return session.out.json(answer);
    }
    if answer[what] != json!(true) {
        talk(nothing);
    }
    session.out.line(text(answer, "node"))
}

async fn ls(session: &mut Session) -> Result<(), Failure> {
    let mut none = true;
    session
        .pages("peers", &json!({}), "items", None, |out, item| {
            if out.json {
                return out.json(&item);
            }
            if !std::mem::take(&mut none) {
                out.line("")?;
            }
            lines(&item).iter().try_for_each(|line| out.line(&printable(line)))
        })
        .await?;
    if none && !session.out.json {
        talk("no other nodes");
    }
    Ok(())
}

/// A member, a line for each thing to know.
fn lines(member: &Json) -> Vec<String> {
    let time = |name| table::time(member[name].as_u64());
    let strings = |list: &Json| {
        let texts = list.as_array().into_iter().flatten().filter_map(Json::as_str);
        texts.collect::<Vec<_>>().join(", ")
    };
    let node = Some(text(member, "node")).filter(|node| !node.is_empty());
    let mut lines = vec![node.unwrap_or("nobody has answered yet").to_owned()];
    let mut say = |name: &str, words: String| lines.push(format!("  {name:<10} {words}"));
    let link = match (&member["connected_since"], node, &member["admitted"]) {
        (Json::Number(_), _, _) => {
            let trip = member["round_trip_us"].as_u64();
            let trip = trip.map(|us| format!(", round trip {:.1} ms", us as f64 / 1_000.0));
            format!("up since {}{}", time("connected_since"), trip.unwrap_or_default())
        }
        (_, Some(_), Json::Bool(false)) => "removed from the mesh".to_owned(),
        _ => "down".to_owned(),
    };
    say("link", link);
    if let Some(agent) = member["agent"].as_str() {
        say("software", agent.to_owned());
    }
    if member["urls"].as_array().is_some_and(|urls| !urls.is_empty()) {
        say("addresses", strings(&member["urls"]));
    }
    if let Some(stalled) = member["stalled"].as_object() {
        let stalled = Json::Object(stalled.clone());
        let since = table::time(stalled["since"].as_u64());
        let since = since.get(11..19).unwrap_or(&since);
        let (behind, blocked) = (number(&stalled, "behind"), text(&stalled, "blocked_on"));
        say("stalled", format!("{behind} events behind since {since}, blocked on {blocked}"));
    }
    if member["granted"].is_array() {
        say("may have", strings(&member["granted"]));
    }
    for shared in member["namespaces"].as_array().into_iter().flatten() {
        say("namespace", namespace_line(shared));
    }
    if let Some(error) = member["error"].as_str() {
        say("last error", format!("{}: {error}", time("error_at")));
    }
    lines
}

fn namespace_line(shared: &Json) -> String {
    let agrees = if shared["agrees"] == json!(true) { "agrees" } else { "does not agree" };
    let mut words =
        format!("{}: {agrees}, {} behind", text(shared, "ns"), number(shared, "behind"));
    if let Some(agreed) = shared["agreed"].as_u64() {
        words += &format!(", has all up to {agreed} by {}", table::time(shared["seen"].as_u64()));
    }
    if shared["expired"] == json!(true) {
        words += ", silent for too long to be waited for";
    }
    if let Some(parts) = shared["policy_differs"].as_array() {
        let parts: Vec<&str> = parts.iter().filter_map(Json::as_str).collect();
        words += &format!(", its {} differ", parts.join(" and "));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_shown_with_all_that_went_wrong() {
        let member = json!({"node": "ab", "urls": ["ws://b:7400"], "agent": "keepboth/0.1.0",
            "admitted": true, "granted": ["notes", "mine"], "connected": true,
            "connected_since": 0, "round_trip_us": 1_260, "error": "it ended", "error_at": 1_000,
            "stalled": {"since": 1_000, "blocked_on": "an acknowledgement", "behind": 412},
            "namespaces": [{"ns": "notes", "agrees": false, "behind": 412, "agreed": 7,
                "seen": 2_000, "expired": true, "policy_differs": ["schema", "limits"]}]});
        let day = "1970-01-01T00:00:0";
        assert_eq!(
            lines(&member),
            [
                "ab".to_owned(),
                format!("  link       up since {day}0.000Z, round trip 1.3 ms"),
                "  software   keepboth/0.1.0".to_owned(),
                "  addresses  ws://b:7400".to_owned(),
                "  stalled    412 events behind since 00:00:01, blocked on an acknowledgement"
                    .to_owned(),
                "  may have   notes, mine".to_owned(),
                format!(
                    "  namespace  notes: does not agree, 412 behind, has all up to 7 by {day}2.000Z, \
                     silent for too long to be waited for, its schema and limits differ"
                ),
                format!("  last error {day}1.000Z: it ended"),
            ]
        );
        let removed = json!({"node": "ab", "urls": [], "admitted": false, "namespaces": []});
        assert_eq!(lines(&removed), ["ab", "  link       removed from the mesh"]);
        let unknown = json!({"urls": ["ws://c"], "admitted": false, "namespaces": []});
        assert_eq!(lines(&unknown)[..2], ["nobody has answered yet", "  link       down"]);
    }
}
