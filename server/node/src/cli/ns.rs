//! `ns ls`, `ns info`, `ns add` and `ns rm`.

use keepboth_core::name::Namespace;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::object::namespace;
use super::out::printable;
use super::session::{Session, namespace_arguments, number, text};
use super::status::table_of_peers;
use super::table::Table;

/// The namespaces of a server
#[derive(Debug, clap::Subcommand)]
pub enum Ns {
    /// List the namespaces
    Ls,
    /// Show a namespace with its store, limits, plugins and peers
    Info {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
    /// Make a namespace without plugins, shared with peers that have one of the same name
    Add {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
    },
    /// Remove a namespace that was made with `ns add`; its database is moved away, not deleted
    Rm {
        /// The namespace
        #[arg(value_name = "NAMESPACE", value_parser = namespace)]
        ns: Namespace,
        /// Do it: nobody is asked
        #[arg(long)]
        yes: bool,
    },
}

/// Runs one of the commands.
pub async fn run(command: Ns, session: &mut Session) -> Result<(), Failure> {
    match command {
        Ns::Ls => ls(session).await,
        Ns::Info { ns } => info(&ns, session).await,
        Ns::Add { ns } => {
            let answer = ask("ns_add", &ns, session).await?;
            match session.out.json {
                true => session.out.json(&answer),
                false => session.out.line(text(&answer, "store")),
            }
        }
        Ns::Rm { ns, yes: false } => {
            let words = format!("everything in {ns} would be gone from this server");
            Err(Failure::new(Exit::Usage, words).hint("say --yes to do it"))
        }
        Ns::Rm { ns, yes: true } => {
            let answer = ask("ns_rm", &ns, session).await?;
            match session.out.json {
                true => session.out.json(&answer),
                false => session.out.line(&printable(text(&answer, "file"))),
            }
        }
    }
}

async fn ask(method: &str, ns: &Namespace, session: &Session) -> Result<Json, Failure> {
    session.call(method, namespace_arguments(ns.as_str(), [])).await
}

async fn ls(session: &mut Session) -> Result<(), Failure> {
    let status = session.call("status", json!({})).await?;
    let mut table = Table::new(&["NAMESPACE", "STATE", "OBJECTS", "CONFLICTS", "STORE"]);
    for ns in status["namespaces"].as_array().into_iter().flatten() {
        if session.out.json {
            session.out.json(ns)?;
            continue;
        }
        let (objects, conflicts) = (number(ns, "objects"), number(ns, "conflicts"));
        table.row([text(ns, "name"), text(ns, "state"), &objects, &conflicts, text(ns, "store")]);
    }
    if session.out.json { Ok(()) } else { table.write(&mut session.out, "no namespaces") }
}

async fn info(ns: &Namespace, session: &mut Session) -> Result<(), Failure> {
    let info = ask("ns_info", ns, session).await?;
    if session.out.json {
        return session.out.json(&info);
    }
    for line in lines(&info) {
        session.out.line(&printable(&line))?;
    }
    let peers = table_of_peers(std::slice::from_ref(&info["status"]));
    if peers.is_empty() {
        return Ok(());
    }
    session.out.line("")?;
    peers.write(&mut session.out, "")
}

/// The namespace, a line for each thing to know.
fn lines(info: &Json) -> Vec<String> {
    let (status, limits) = (&info["status"], &info["limits"]);
    let mut lines = vec![
        format!("namespace   {}, made by {}", text(status, "name"), text(info, "made_by")),
        format!("store       {}, epoch {}", text(status, "store"), number(info, "epoch")),
        format!("state       {}: {}", text(status, "state"), text(status, "reason")),
        format!("shared      {}", if info["replicate"] == json!(true) { "yes" } else { "no" }),
    ];
    for name in ["keys", "objects", "conflicts", "trash", "quarantined", "unfit", "sequence"] {
        lines.push(format!("{name:<11} {}", number(status, name)));
    }
    lines.push(format!("file        {} bytes", number(info, "file_bytes")));
    for (name, bound) in limits.as_object().into_iter().flatten() {
        lines.push(format!("limit       {name} = {bound}"));
    }
    for plugin in info["plugins"].as_array().into_iter().flatten() {
        lines.push(format!("plugin      {}", plugin.as_str().unwrap_or_default()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_shown_line_by_line() {
        let info = json!({"status": {"name": "notes", "store": "ab", "state": "empty",
            "reason": "no history", "keys": 0, "objects": 1, "conflicts": 2, "trash": 3,
            "quarantined": 5, "unfit": 6, "sequence": 4}, "epoch": 1, "made_by": "config", "replicate": true,
            "file_bytes": 4096, "limits": {"value_bytes_max": 65536}, "plugins": ["lua"]});
        assert_eq!(
            lines(&info),
            [
                "namespace   notes, made by config",
                "store       ab, epoch 1",
                "state       empty: no history",
                "shared      yes",
                "keys        0",
                "objects     1",
                "conflicts   2",
                "trash       3",
                "quarantined 5",
                "unfit       6",
                "sequence    4",
                "file        4096 bytes",
                "limit       value_bytes_max = 65536",
                "plugin      lua",
            ]
        );
    }
}
