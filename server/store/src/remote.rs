//! Versions from other stores, planned on a draft: known, waiting for a parent, going on, or a fork.

use keepboth_core::ids::VersionId;
use keepboth_core::limits::Stage;
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::Received;
use keepboth_core::version::{Change, Event, Version};

use crate::draft::Draft;

/// Judges each version alone.
pub fn receive(draft: &mut Draft, events: Vec<Event>, value_bytes_max: usize) -> Vec<Received> {
    let one = |event| {
        draft.mark();
        receive_one(draft, event, value_bytes_max).unwrap_or_else(|refusal| {
            draft.undo();
            Received::Refused(refusal)
        })
    };
    events.into_iter().map(one).collect()
}

fn receive_one(
    draft: &mut Draft,
    event: Event,
    value_bytes_max: usize,
) -> Result<Received, Refusal> {
    let Event { key, version, value } = event;
    check_form(&key, &version, value.is_some())?;
    let row = draft.row(&key)?;
    let tips = row.as_ref().map(|row| &row.view.tips[..]).unwrap_or(&[]);
    if tips.contains(&version.id) {
        return Ok(Received::Known);
    }
    // The common case goes on from all there is; everything else has to look at the history.
    let goes_on = tips == &version.parents[..];
    if !goes_on {
        let history = &draft.loaded(&key)?.history;
        if history.find(&version.id).is_some() {
            return Ok(Received::Known);
        }
        let unknown = |parent: &&VersionId| history.find(parent).is_none();
        let missing: Vec<VersionId> = version.parents.iter().filter(unknown).copied().collect();
        if !missing.is_empty() {
            return Ok(Received::Missing(missing));
        }
    }
    if let Some(value) = &value {
        value.check_size(value_bytes_max, Stage::Write)?;
    }
    draft.take(&key, vec![(version, value)], false)?;
    Ok(Received::New)
}

/// What the rows rely on, should the caller not have checked the event.
fn check_form(key: &Key, version: &Version, valued: bool) -> Result<(), Refusal> {
    let put = version.change == Change::Put;
    let what = match (put, valued, version.is_first()) {
        (true, false, _) => "a put without its value",
        (false, true, _) => "a value on a delete or split",
        (false, _, true) => "a delete or split without a parent",
        _ => return Ok(()),
    };
    let words = format!("version {} of {:?}: {what}", version.id, key.as_str());
    Err(Refusal::new(Code::BadVersion, words))
}
