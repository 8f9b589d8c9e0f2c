//! A watch that goes on after a lost connection, from the last cursor, so that nothing is missed.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::connection::Client;
use super::error::ClientError;
use super::routes::{Push, Pushes};
use super::target::Target;
use crate::protocol::Format;

/// The pause before the first new attempt; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchRequest {
    /// The namespace.
    pub ns: String,
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// True if what is there comes first.
    pub initial: bool,
    /// Goes on after this place.
    pub cursor: Option<String>,
    /// True if events carry values.
    pub values: bool,
}

impl WatchRequest {
    /// The arguments of `watch`.
    pub fn arguments(&self) -> Json {
        let mut arguments = Map::new();
        arguments.insert("ns".into(), json!(self.ns));
        arguments.insert("initial".into(), json!(self.initial));
        arguments.insert("values".into(), json!(self.values));
        if let Some(prefix) = &self.prefix {
            arguments.insert("prefix".into(), json!(prefix));
        }
        if let Some(cursor) = &self.cursor {
            arguments.insert("cursor".into(), json!(cursor));
        }
        Json::Object(arguments)
    }

    /// Remembers how far the watch has come.
    fn advance(&mut self, push: &Push) {
        let cursor = match push {
            Push::Event(event) => event.get("cursor").and_then(Json::as_str),
            Push::Live { cursor } => Some(cursor.as_str()),
            Push::End(_) => None,
        };
        if let Some(cursor) = cursor {
            self.cursor = Some(cursor.to_owned());
            // What was there is told, so that a new connection needs only what is new.
            self.initial = false;
        }
    }
}

/// A watch over any number of connections.
#[derive(Debug)]
pub struct Follow {
    target: Target,
    format: Format,
    request: WatchRequest,
    now: Option<(Client, Pushes)>,
    pause: Duration,
}

impl Follow {
    /// Begins a watch. Fails if the first connection does.
    pub async fn start(
        target: Target,
        format: Format,
        request: WatchRequest,
    ) -> Result<Follow, ClientError> {
        let mut follow = Follow { target, format, request, now: None, pause: PAUSE_MIN };
        follow.now = Some(follow.open().await?);
        Ok(follow)
    }

    /// The next event or live mark. `lost` is told of each lost connection and failed attempt. Fails
    /// where a new connection would not help. May be dropped and asked again.
    pub async fn next(&mut self, mut lost: impl FnMut(&ClientError)) -> Result<Push, ClientError> {
        loop {
            let error = match &mut self.now {
                Some((client, pushes)) => match pushes.next().await {
                    Some(Push::End(refused)) => ClientError::Refused(Box::new(refused)),
                    Some(push) => {
                        self.request.advance(&push);
                        self.pause = PAUSE_MIN;
                        return Ok(push);
                    }
                    None => client.closed().unwrap_or_else(|| ClientError::Closed {
                        code: None,
                        reason: "the connection is lost".into(),
                    }),
                },
                None => {
                    tokio::time::sleep(self.pause).await;
                    self.pause = PAUSE_MAX.min(self.pause * 2);
                    match self.open().await {
                        Ok(now) => {
                            self.now = Some(now);
                            continue;
                        }
                        Err(error) => error,
                    }
                }
            };
            self.now = None;
            if !error.reconnect() {
                return Err(error);
            }
            lost(&error);
        }
    }

    async fn open(&self) -> Result<(Client, Pushes), ClientError> {
        let client = Client::connect_to(&self.target, self.format).await?;
        let pushes = client.watch(self.request.arguments()).await?;
        Ok((client, pushes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_goes_on_from_its_last_cursor_without_what_was_told() {
        let mut request = WatchRequest {
            ns: "notes".into(),
            initial: true,
            values: true,
            ..WatchRequest::default()
        };
        request.advance(&Push::Event(json!({"type": "put"})));
        assert_eq!(request.arguments(), json!({"ns": "notes", "initial": true, "values": true}));
        request.advance(&Push::Live { cursor: "c.1.1".into() });
        request.advance(&Push::Event(json!({"type": "put", "cursor": "c.1.2"})));
        assert_eq!(
            request.arguments(),
            json!({"ns": "notes", "initial": false, "values": true, "cursor": "c.1.2"})
        );
    }
}
