//! What clients ask of plugins. A plugin may take its time, so each question has a thread for blocking work
//! and the connection goes on.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::limits::figure;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::Value as Json;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Clients;
use super::connection::Connection;
use super::out::Slot;
use crate::hooks::Chain;
use crate::protocol::{Answer, Call, Estimate, ITEMS_BYTES_MAX};

/// Questions to plugins that are under way.
pub const QUESTIONS_MAX: usize = 64;
/// How long a plugin may take to answer: somewhat more than a client may have it wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(65);

impl Connection {
    /// Asks a plugin. The answer comes through the slot when it is there.
    pub fn ask_plugin(&self, id: u64, call: Call, slot: Slot) {
        let (clients, unread) = (self.clients.clone(), self.unread.clone());
        let left = self.left.clone();
        self.clients.tasks.spawn(async move {
            let outcome = clients.ask_plugin(call).await;
            if let Err(refusal) = &outcome {
                clients.metrics.refused(refusal.code);
            }
            tokio::select! {
                out = unread.sized(id, outcome.map(Answer::Plugin)) => { slot.send(out); }
                () = left.cancelled() => {}
            }
        });
    }
}

impl Clients {
    async fn ask_plugin(self: &Arc<Clients>, call: Call) -> Result<Json, Refusal> {
        let (ns, plugin, op, arguments) = match call {
            Call::Query { ns, query } => (ns, None, "query".to_owned(), query),
            Call::Plugin { ns, plugin, op, arguments } => (ns, Some(plugin), op, arguments),
            other => {
                let words = format!("{} is not for a plugin", other.method());
                return Err(Refusal::new(Code::UnknownMethod, words));
            }
        };
        let Ok(room) = self.questions.clone().try_acquire_owned() else {
            let words = format!("{QUESTIONS_MAX} questions to plugins are under way, no more fit");
            return Err(Refusal::new(Code::Overloaded, words));
        };
        let chain = self.space(&ns)?.setup().chain.clone();
        if let Some(plugin) = &plugin
            && !chain.names().any(|name| name == plugin)
        {
            return Err(no_plugin(&ns, plugin, &chain));
        }
        let asked = spawn_blocking(move || {
            let answer = chain.answer(plugin.as_deref(), &op, &arguments);
            drop(room);
            let answer = answer.unwrap_or_else(|| Err(no_answer(&ns, plugin.as_deref(), &op)))?;
            fitting(answer)
        });
        match timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refusal::new(Code::ShuttingDown, "the server is stopping")),
            Err(_) => {
                let words = format!("the plugin has not answered in {} s", ANSWER_WITHIN.as_secs());
                Err(Refusal::new(Code::Overloaded, words))
            }
        }
    }
}

fn no_plugin(ns: &Namespace, plugin: &str, chain: &Chain) -> Refusal {
    let words = format!("the namespace {:?} has no plugin {plugin:?}", ns.as_str());
    let names: Vec<&str> = chain.names().collect();
    Refusal::new(Code::NotFound, words).hint(match names.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", names.join(", ")),
    })
}

fn no_answer(ns: &Namespace, plugin: Option<&str>, op: &str) -> Refusal {
    let Some(plugin) = plugin else {
        let words = format!("the namespace {:?} has no indexes", ns.as_str());
        let hint = "[[namespaces.NAME.plugins]] with use = \"index\" declares them";
        return Refusal::new(Code::NotFound, words).hint(hint);
    };
    let words = format!("the plugin {plugin} has no answer to {op:?}");
    Refusal::new(Code::NotFound, words)
}

fn fitting(answer: Json) -> Result<Json, Refusal> {
    let bytes = answer.bytes_estimate();
    if bytes <= ITEMS_BYTES_MAX {
        return Ok(answer);
    }
    let (bytes, limit) = (figure(bytes), figure(ITEMS_BYTES_MAX));
    let words =
        format!("the plugin's answer takes about {bytes} bytes, the limit is {limit} bytes");
    Err(Refusal::new(Code::FrameTooLarge, words).hint("ask for less at once, with limit"))
}
