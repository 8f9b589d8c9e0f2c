//! What Lua holds of CBOR items, and to whom it belongs.

use mlua::AnyUserData;

use crate::cbor::{Item, List, tag};
use crate::state::Shared;

/// To whom an item belongs: who may read and change it, and until when.
#[derive(Clone)]
pub enum Guard {
    /// The script made it.
    Own,
    /// It is part of a value that is lent for one call.
    Lent {
        /// The running call.
        state: Shared,
        /// The call that lent it.
        epoch: u64,
        /// Which value.
        root: usize,
    },
}

impl Guard {
    /// Refuses what was lent in another call.
    pub fn read(&self) -> Result<(), String> {
        match self {
            Guard::Own => Ok(()),
            Guard::Lent { state, epoch, .. } => state.borrow().live(*epoch),
        }
    }

    /// Refuses what may not be changed, and notes that it is.
    pub fn write(&self) -> Result<(), String> {
        let Guard::Lent { state, epoch, root } = self else { return Ok(()) };
        let mut state = state.borrow_mut();
        state.live(*epoch)?;
        state.writable(*root)?;
        state.item_changed = true;
        Ok(())
    }
}

/// A map or list.
pub struct Part {
    /// The map or list itself.
    pub item: Item,
    /// Levels above it.
    pub above: usize,
    /// To whom it belongs.
    pub guard: Guard,
}

impl Part {
    /// Whether this is the whole of the value that the running put lends.
    pub fn is_whole(&self) -> bool {
        self.above == 0 && matches!(self.guard, Guard::Lent { root: 0, .. })
    }
}

/// A set.
pub struct Set {
    /// Its items.
    pub items: List,
    /// Levels above it.
    pub above: usize,
    /// To whom it belongs.
    pub guard: Guard,
}

/// A point in time.
pub struct Date(pub Item, pub f64);
/// A whole number that Lua's own numbers cannot hold, or whose form is that of a large one.
pub struct Whole(pub Item, pub String);
/// An item with a tag that has no form of its own.
pub struct Tagged(pub Item, pub Guard);
/// What is undefined, or a simple value without a name.
pub struct Odd(pub Item);

/// The item behind a proxy, as it stands; None for all other userdata.
pub fn item(data: &AnyUserData) -> Option<Result<Item, String>> {
    if let Ok(part) = data.borrow::<Part>() {
        return Some(part.guard.read().map(|()| part.item.clone()));
    }
    if let Ok(set) = data.borrow::<Set>() {
        let whole = Item::tagged(tag::SET, Item::List(set.items.clone()));
        return Some(set.guard.read().map(|()| whole));
    }
    if let Ok(tagged) = data.borrow::<Tagged>() {
        return Some(tagged.1.read().map(|()| tagged.0.clone()));
    }
    let date = data.borrow::<Date>().map(|date| date.0.clone());
    let whole = || data.borrow::<Whole>().map(|whole| whole.0.clone());
    let odd = || data.borrow::<Odd>().map(|odd| odd.0.clone());
    date.or_else(|_| whole()).or_else(|_| odd()).ok().map(Ok)
}
