//! Which answer belongs to which request, and which pushed frame to which watch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keepboth_core::refusal::Code;
use keepboth_schema::events::{self, EventKind};
use serde_json::{Map, Value as Json};
use tokio::sync::{mpsc, oneshot};

use super::error::{ClientError, Refused};

/// Pushed frames that wait for their reader; then the whole connection waits.
const PUSHES_MAX: usize = 1_024;

/// Something that the server says without being asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Push {
    /// What a key shows now, or a namespace's state. Its form is checked.
    Event(Json),
    /// What was there is told; from here on come changes.
    Live {
        /// From where to go on later.
        cursor: String,
    },
    /// The watch is over.
    End(Refused),
}

/// A watch's pushed frames. One that is not read holds up the connection.
#[derive(Debug)]
pub struct Pushes {
    /// The server's number for the watch.
    pub sub: u64,
    receiver: mpsc::Receiver<Push>,
}

impl Pushes {
    /// The next frame; None once the watch or the connection is over.
    pub async fn next(&mut self) -> Option<Push> {
        self.receiver.recv().await
    }
}

type Reply<T> = oneshot::Sender<Result<T, ClientError>>;

/// Who waits for an answer.
pub(super) enum Waiting {
    Answer(Reply<Json>),
    Watch(Reply<Pushes>),
}

/// Everybody who waits for something.
#[derive(Default)]
pub(super) struct Routes(Mutex<State>);

#[derive(Default)]
struct State {
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
    watches: HashMap<u64, mpsc::Sender<Push>>,
    closed: Option<ClientError>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}

/// Where a frame goes.
pub(super) enum Route {
    /// It is delivered.
    Done,
    /// Whoever reads the watch may have to catch up first.
    Push(mpsc::Sender<Push>, Push),
}

impl Routes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a request its id, unless the connection is over.
    pub(super) fn enter(&self, waiting: Waiting) -> Result<u64, ClientError> {
        let mut state = self.state();
        if let Some(error) = &state.closed {
            return Err(error.clone());
        }
        state.next_id += 1;
        let id = state.next_id;
        state.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Why the connection is over, if it is.
    pub(super) fn closed(&self) -> Option<ClientError> {
        self.state().closed.clone()
    }

    /// Tells everybody that nothing will come any more.
    pub(super) fn close(&self, error: &ClientError) {
        let mut state = self.state();
        state.closed.get_or_insert_with(|| error.clone());
        state.watches.clear();
        for (_, waiting) in state.waiting.drain() {
            // Whoever does not wait any more misses nothing.
            match waiting {
                Waiting::Answer(reply) => drop(reply.send(Err(error.clone()))),
                Waiting::Watch(reply) => drop(reply.send(Err(error.clone()))),
            }
        }
    }

    /// Takes a frame of the server.
    pub(super) fn route(&self, mut frame: Map<String, Json>) -> Result<Route, ClientError> {
        if let Some(id) = frame.get("id") {
            let Some(id) = id.as_u64() else { return Err(unattributed(&mut frame)) };
            self.answer(id, outcome(&mut frame)?)?;
            return Ok(Route::Done);
        }
        let sub = frame.get("sub").and_then(Json::as_u64);
        let sub = sub.ok_or_else(|| odd("a frame has neither id nor sub"))?;
        let Some(push) = push(&mut frame)? else { return Ok(Route::Done) };
        let mut state = self.state();
        let ends = matches!(push, Push::End(_));
        let watch =
            if ends { state.watches.remove(&sub) } else { state.watches.get(&sub).cloned() };
        Ok(watch.map_or(Route::Done, |watch| Route::Push(watch, push)))
    }

    fn answer(&self, id: u64, outcome: Result<Json, ClientError>) -> Result<(), ClientError> {
        let waiting = self.state().waiting.remove(&id);
        match waiting.ok_or_else(|| odd(&format!("an answer to {id}, which was not asked")))? {
            Waiting::Answer(reply) => drop(reply.send(outcome)),
            Waiting::Watch(reply) => {
                let pushes = outcome.and_then(|answer| self.begin(&answer));
                drop(reply.send(pushes));
            }
        }
        Ok(())
    }

    /// Opens a watch before the next frame is read, so that none of its frames is missed.
    fn begin(&self, answer: &Json) -> Result<Pushes, ClientError> {
        let sub = answer.get("sub").and_then(Json::as_u64);
        let sub = sub.ok_or_else(|| odd("the answer to a watch has no sub"))?;
        let (sender, receiver) = mpsc::channel(PUSHES_MAX);
        self.state().watches.insert(sub, sender);
        Ok(Pushes { sub, receiver })
    }
}

fn odd(words: &str) -> ClientError {
    ClientError::Protocol(words.to_owned())
}

/// The server could not read the id of something that was sent.
fn unattributed(frame: &mut Map<String, Json>) -> ClientError {
    match outcome(frame) {
        Ok(Err(error)) | Err(error) => error,
        Ok(Ok(_)) => odd("an answer without id"),
    }
}

/// `ok` or `error`.
fn outcome(frame: &mut Map<String, Json>) -> Result<Result<Json, ClientError>, ClientError> {
    if let Some(ok) = frame.remove("ok") {
        return Ok(Ok(ok));
    }
    let error = frame.remove("error").ok_or_else(|| odd("an answer has neither ok nor error"))?;
    refused(error).map(|refused| Err(ClientError::Refused(Box::new(refused))))
}

fn refused(error: Json) -> Result<Refused, ClientError> {
    serde_json::from_value(error).map_err(|e| odd(&format!("an error is out of form: {e}")))
}

/// The pushed frame; None for one that a later version of the protocol has.
fn push(frame: &mut Map<String, Json>) -> Result<Option<Push>, ClientError> {
    if let Some(event) = frame.remove("event") {
        return checked(event);
    }
    if let Some(live) = frame.remove("live") {
        let cursor = live.get("cursor").and_then(Json::as_str);
        let cursor = cursor.ok_or_else(|| odd("a live mark has no cursor"))?.to_owned();
        return Ok(Some(Push::Live { cursor }));
    }
    let end = frame.remove("end").map(refused).transpose()?;
    Ok(end.map(Push::End))
}

/// The end of a watch that tells what this program does not know.
fn unknown(kind: &str) -> Refused {
    let known = EventKind::ALL.map(EventKind::as_str).join(", ");
    Refused {
        code: Code::Unsupported.as_str().to_owned(),
        message: format!("the server told an event of the type {kind:?}; known here are {known}"),
        retry: false,
        hint: Some("a newer version of this program may know it".to_owned()),
        addresses: Vec::new(),
        version: None,
        reason: None,
    }
}

/// Holds an event against the schema of its kind. An event of another kind may be all that is told of a
/// key's state, so it is not passed over: it ends the watch.
fn checked(event: Json) -> Result<Option<Push>, ClientError> {
    let kind = event.get("type").and_then(Json::as_str);
    let name = kind.ok_or_else(|| odd("an event has no type"))?;
    let Some(kind) = EventKind::from_name(name) else { return Ok(Some(Push::End(unknown(name)))) };
    events::check(kind, &event).map_err(|e| odd(&format!("an event is out of form: {e}")))?;
    Ok(Some(Push::Event(event)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frame(tree: Json) -> Map<String, Json> {
        let Json::Object(members) = tree else { panic!("{tree}") };
        members
    }

    #[test]
    fn answers_find_their_requests_in_any_order() {
        let routes = Routes::default();
        let (one, mut first) = oneshot::channel();
        let (two, mut second) = oneshot::channel();
        assert_eq!(routes.enter(Waiting::Answer(one)), Ok(1));
        assert_eq!(routes.enter(Waiting::Answer(two)), Ok(2));
        routes.route(frame(json!({"id": 2, "ok": {"n": 2}}))).expect("route");
        let error = json!({"code": "not_found", "message": "no"});
        routes.route(frame(json!({"id": 1, "error": error}))).expect("route");
        assert_eq!(second.try_recv(), Ok(Ok(json!({"n": 2}))));
        let Ok(Err(ClientError::Refused(refused))) = first.try_recv() else { panic!() };
        assert_eq!((refused.code.as_str(), refused.retry), ("not_found", false));
    }

    #[test]
    fn a_watch_gets_its_frames_and_its_end() {
        let routes = Routes::default();
        let (reply, mut answer) = oneshot::channel();
        routes.enter(Waiting::Watch(reply)).expect("id");
        routes.route(frame(json!({"id": 1, "ok": {"sub": 5}}))).expect("route");
        let mut pushes = answer.try_recv().expect("answer").expect("watch");
        for tree in [
            json!({"sub": 5, "live": {"cursor": "c"}}),
            json!({"sub": 5, "end": {"code": "overloaded", "message": "full", "retry": true}}),
        ] {
            let Ok(Route::Push(watch, push)) = routes.route(frame(tree)) else { panic!() };
            watch.try_send(push).expect("room");
        }
        assert_eq!(pushes.receiver.try_recv(), Ok(Push::Live { cursor: "c".into() }));
        let Ok(Push::End(refused)) = pushes.receiver.try_recv() else { panic!() };
        assert!(refused.retry);
        assert!(pushes.receiver.try_recv().is_err());
    }

    #[test]
    fn what_a_later_minor_version_adds_is_ignored_and_an_unknown_type_ends_its_watch_by_name() {
        let routes = Routes::default();
        let (reply, mut answer) = oneshot::channel();
        routes.enter(Waiting::Watch(reply)).expect("id");
        routes.route(frame(json!({"id": 1, "ok": {"sub": 5, "new": 1}}))).expect("route");
        let _pushes = answer.try_recv().expect("answer").expect("watch");
        for kind in EventKind::ALL {
            let schema: Json = serde_json::from_str(kind.text()).expect("a schema");
            for mut event in schema["examples"].as_array().expect("examples").clone() {
                event["new_in_1_1"] = json!({"deep": [1]});
                for list in ["sides", "peers", "detached"] {
                    for item in event[list].as_array_mut().into_iter().flatten() {
                        item["new_in_1_1"] = json!(true);
                    }
                }
                event.as_object_mut().expect("an event").retain(|_, member| !member.is_null());
                let pushed = routes.route(frame(json!({"sub": 5, "event": event, "new": 1})));
                let Ok(Route::Push(_, push)) = pushed else { panic!("{event}") };
                assert_eq!(push, Push::Event(event));
            }
        }
        let later = || frame(json!({"sub": 5, "event": {"type": "later", "key": "k"}}));
        let Ok(Route::Push(_, Push::End(refused))) = routes.route(later()) else { panic!() };
        assert_eq!((refused.code.as_str(), refused.retry), ("unsupported", false));
        let said = "the server told an event of the type \"later\"; known here are put, delete,";
        assert!(refused.message.starts_with(said), "{refused}");
        assert!(matches!(routes.route(later()), Ok(Route::Done)), "the watch is over");
    }

    #[test]
    fn a_closed_connection_answers_everybody() {
        let routes = Routes::default();
        let (reply, mut answer) = oneshot::channel();
        routes.enter(Waiting::Answer(reply)).expect("id");
        let error = ClientError::Closed { code: Some(4000), reason: "stopping".into() };
        routes.close(&error);
        assert_eq!(answer.try_recv(), Ok(Err(error.clone())));
        let (late, _) = oneshot::channel();
        assert_eq!(routes.enter(Waiting::Answer(late)), Err(error));
    }

    #[test]
    fn what_is_out_of_form_is_an_error_and_what_is_new_is_not() {
        let routes = Routes::default();
        for tree in [
            json!({}),
            json!({"id": 9, "ok": {}}),
            json!({"id": null, "error": {"code": "bad_frame", "message": "no"}}),
            json!({"sub": 1, "event": {}}),
            json!({"sub": 1, "event": {"type": "put", "ns": "n"}}),
            json!({"sub": 1, "live": {}}),
        ] {
            assert!(routes.route(frame(tree.clone())).is_err(), "{tree}");
        }
        let later = routes.route(frame(json!({"sub": 1, "later": {}})));
        assert!(matches!(later, Ok(Route::Done)), "a pushed frame that is new");
    }
}
