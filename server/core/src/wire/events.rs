//! Versions that many peers are told of.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::version::Event;

/// Bytes of values and keys after which a message of events is sent and the next begun.
pub(crate) const EVENTS_BYTES: usize = 256 * 1024;

/// Versions of one message, parents first. They are encoded once, for however many peers; a clone shares them.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    events: Vec<Event>,
    bytes: OnceLock<Vec<u8>>,
}

impl Events {
    /// Cuts what peers are to be told into messages, in order.
    pub fn of_messages(events: Vec<Event>) -> Vec<Events> {
        let (mut messages, mut message, mut bytes) = (Vec::new(), Vec::new(), 0);
        for event in events {
            if bytes > EVENTS_BYTES {
                messages.push(std::mem::take(&mut message));
                bytes = 0;
            }
            bytes += size(&event);
            message.push(event);
        }
        messages.push(message);
        messages.retain(|message| !message.is_empty());
        messages.into_iter().map(Events::from).collect()
    }

    /// The versions themselves; copied if somebody else has them too.
    pub fn into_vec(self) -> Vec<Event> {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.events.clone(), |own| own.events)
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Events {
        Events(Arc::new(Shared { events, bytes: OnceLock::new() }))
    }
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.0.events
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Events {
    fn eq(&self, other: &Events) -> bool {
        **self == **other
    }
}

impl Eq for Events {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<C> Encode<C> for Events {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        if Arc::strong_count(&self.0) == 1 {
            // Nobody else will ask for the bytes.
            return self.0.events.encode(e, ctx);
        }
        // Writing to a vector cannot fail.
        let bytes =
            self.0.bytes.get_or_init(|| minicbor::to_vec(&self.0.events).unwrap_or_default());
        e.writer_mut().write_all(bytes).map_err(EncodeError::write)
    }
}

impl<'b, C> Decode<'b, C> for Events {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Events, DecodeError> {
        Vec::decode(d, ctx).map(Events::from)
    }
}

/// About how many bytes an event takes in a message.
pub(crate) fn size(event: &Event) -> usize {
    let value = event.value.as_ref().map_or(0, |value| value.as_bytes().len());
    160 + event.key.as_str().len() + 34 * event.version.parents.len() + value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::data_hash;
    use crate::ids::StoreId;
    use crate::name::Key;
    use crate::value::Value;
    use crate::version::Version;

    #[test]
    fn versions_are_encoded_once_for_all_who_are_told_of_them() {
        let (key, value) = (Key::new("k").expect("a key"), Value::string("one"));
        let version = Version::first(&key, data_hash(&value), 7, StoreId([1; 16]));
        let events = vec![Event::new(key, version, Some(value))];
        let (plain, one) = (minicbor::to_vec(&events), Events::from(events.clone()));
        let other = one.clone();
        assert_eq!(minicbor::to_vec(&one).expect("bytes"), plain.expect("bytes"));
        let made = |events: &Events| events.0.bytes.get().map(|bytes| bytes.as_ptr());
        assert!(made(&one).is_some());
        assert_eq!(made(&one), made(&other));
        assert_eq!((other.into_vec(), one.into_vec()), (events.clone(), events));
    }
}
