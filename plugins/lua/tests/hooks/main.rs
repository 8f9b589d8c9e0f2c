//! What scripts can do and cannot do, through the plugin as the server uses it.

mod harness;

mod api_values;
mod api_kb;
mod cbor;
mod checking;
mod conflicts;
mod cookbook;
mod declared;
mod failures;
mod hostile;
mod hostile_more;
mod loading;
mod logging;
mod shipped;
mod snapshots;
mod timers;
mod trials;
