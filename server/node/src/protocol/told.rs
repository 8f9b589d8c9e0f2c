//! An event on its way to many watchers.

use std::sync::OnceLock;

use bytes::Bytes;

use super::encode::encode_notice;
use super::format::Format;
use super::notice::Notice;

/// A notice with its bytes, made once for each form however many watch.
#[derive(Debug)]
pub struct Told {
    notice: Notice,
    bodies: [OnceLock<Bytes>; 4],
}

impl Told {
    /// Nothing is encoded yet.
    pub fn new(notice: Notice) -> Told {
        Told { notice, bodies: Default::default() }
    }

    /// The notice.
    pub fn notice(&self) -> &Notice {
        &self.notice
    }

    /// The bytes of the event in this form, with or without values.
    pub fn body(&self, format: Format, values: bool) -> &Bytes {
        let slot = usize::from(format == Format::MessagePack) * 2 + usize::from(values);
        self.bodies[slot].get_or_init(|| {
            let mut out = Vec::with_capacity(512);
            encode_notice(format, &self.notice, values, &mut out);
            out.into()
        })
    }
}
