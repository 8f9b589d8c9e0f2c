//! What every command that talks to a server has: the connection, and where its output goes.

use serde_json::{Map, Value as Json, json};

use super::exit::{Exit, Failure};
use super::out::Out;
use super::table;
use crate::client::{Client, Target};
use crate::protocol::Format;

/// A command under way.
pub struct Session {
    /// The connection.
    pub client: Client,
    /// Stdout.
    pub out: Out,
}

impl Session {
    /// Connects, and says who is there if the user has a name.
    pub async fn open(target: &Target, name: Option<&str>, json: bool) -> Result<Session, Failure> {
        let client = Client::connect_to(target, Format::Json).await?;
        if let Some(name) = name {
            client.call("hello", json!({"client": name})).await?;
        }
        Ok(Session { client, out: Out::new(json) })
    }

    /// Asks for something.
    pub async fn call(&self, method: &str, arguments: Json) -> Result<Json, Failure> {
        Ok(self.client.call(method, arguments).await?)
    }

    /// Says what a write made: its version, or the whole answer as JSON.
    pub fn written(&mut self, answer: &Json) -> Result<(), Failure> {
        match self.out.json {
            true => self.out.json(answer),
            false => self.out.line(text(answer, "version")),
        }
    }

    /// Reads all pages of a method and gives each item of `field` to `each`, at most `limit` of them.
    pub async fn pages(
        &mut self,
        method: &str,
        arguments: &Json,
        field: &str,
        limit: Option<usize>,
        mut each: impl FnMut(&mut Out, Json) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut arguments = arguments.clone();
        let mut left = limit.unwrap_or(usize::MAX);
        while left > 0 {
            if limit.is_some() {
                arguments["limit"] = left.into();
            }
            let mut page = self.call(method, arguments.clone()).await?;
            let Json::Array(items) = page[field].take() else {
                let words = format!("the answer to {method} has no {field}");
                return Err(Failure::new(Exit::Failure, words));
            };
            for item in items.into_iter().take(left) {
                left -= 1;
                each(&mut self.out, item)?;
            }
            match page["next"].take() {
                Json::Null => return Ok(()),
                next => arguments["after"] = next,
            }
        }
        Ok(())
    }
}

/// A member that is text; empty if it is not there.
pub fn text<'a>(tree: &'a Json, name: &str) -> &'a str {
    tree.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// A member that is a time, for people.
pub fn time(tree: &Json) -> String {
    table::time(tree.get("timestamp").and_then(Json::as_u64))
}

/// A member that is a number, for people.
pub fn number(tree: &Json, name: &str) -> String {
    tree.get(name).and_then(Json::as_u64).map_or_else(|| "-".to_owned(), |n| n.to_string())
}

/// A member that is a value, for people.
pub fn value(tree: &Json) -> String {
    match tree.get("value") {
        None => "-".to_owned(),
        Some(value) => value.to_string(),
    }
}

/// The arguments of a method on a whole namespace.
pub fn namespace_arguments(ns: &str, more: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    let more = more.into_iter().filter(|(_, member)| !member.is_null());
    let mut arguments: Map<String, Json> =
        more.map(|(name, member)| (name.to_owned(), member)).collect();
    arguments.insert("ns".into(), ns.into());
    Json::Object(arguments)
}
