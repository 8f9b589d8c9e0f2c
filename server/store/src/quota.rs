//! Limits of a namespace, in words and figures.

use keepboth_core::limits::figure;
use keepboth_core::refusal::{Code, Refusal};

use crate::options::Options;

/// Whether there would be too many objects.
pub fn over_objects(options: &Options, objects: u64) -> Option<Refusal> {
    let max = options.objects_max.filter(|max| objects > *max)?;
    let words = format!(
        "the namespace would have {} objects, the limit is {}",
        figure(objects as usize),
        figure(max as usize)
    );
    Some(Refusal::new(Code::QuotaExceeded, words))
}

/// Whether there would be too many bytes of values.
pub fn over_bytes(options: &Options, bytes: u64) -> Option<Refusal> {
    let max = options.bytes_max.filter(|max| bytes > *max)?;
    let words = format!(
        "the values of the namespace would have {} bytes, the limit is {}",
        figure(bytes as usize),
        figure(max as usize)
    );
    Some(Refusal::new(Code::QuotaExceeded, words))
}
