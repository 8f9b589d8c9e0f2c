//! Panics of plugins, caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls code of a plugin. A panic becomes its words.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let words = text.or_else(|| panic.downcast_ref::<&str>().copied());
        words.unwrap_or("no message").to_owned()
    })
}
