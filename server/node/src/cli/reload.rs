//! `reload`: the server reads its configuration again.

use serde_json::{Value as Json, json};

use super::exit::Failure;
use super::session::Session;

/// Nothing to choose.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All or nothing: a file with mistakes changes nothing, and they are told as by
keepboth check (exit code 78). SIGHUP does the same. What needs a restart is named."
)]
pub struct Reload {}

/// Asks for it and says what has changed.
pub async fn run(session: &mut Session) -> Result<(), Failure> {
    let answer = session.call("reload", json!({})).await?;
    if session.out.json {
        return session.out.json(&answer);
    }
    let lines = lines(&answer);
    if lines.is_empty() {
        return session.out.line("nothing has changed");
    }
    lines.iter().try_for_each(|line| session.out.line(line))
}

fn lines(answer: &Json) -> Vec<String> {
    let told = [
        ("namespaces_added", "namespaces added"),
        ("namespaces_removed", "namespaces removed"),
        ("namespaces_changed", "namespaces changed"),
        ("plugins_changed", "plugins of the server changed"),
        ("peers_added", "peers added"),
        ("peers_removed", "peers removed"),
        ("restart_needed", "needs a restart"),
    ];
    let line = |(member, words): (&str, &str)| {
        let names: Vec<&str> = answer[member].as_array()?.iter().filter_map(Json::as_str).collect();
        (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")))
    };
    told.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_has_a_line() {
        let answer = json!({"namespaces_added": ["a", "b"], "namespaces_removed": [],
            "restart_needed": ["server.listen"]});
        assert_eq!(lines(&answer), ["namespaces added: a, b", "needs a restart: server.listen"]);
    }
}
