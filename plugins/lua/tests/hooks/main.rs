//! What scripts can do and cannot do, through the plugin as the server uses it.

mod harness;

mod api_values;
mod api_kb;
mod conflicts;
mod failures;
mod hostile;
mod loading;
mod logging;
mod shipped;
