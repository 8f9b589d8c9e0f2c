//! How far an import or export has come: a moving line on a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts on stderr while something long goes on.
pub struct Progress(ProgressBar);

impl Progress {
    /// Nothing is done yet. `what` is said after the count.
    pub fn start(what: &'static str) -> Progress {
        let bar = ProgressBar::new_spinner().with_message(what);
        let style = ProgressStyle::with_template("{spinner} {human_pos} {msg}, {per_sec}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        match std::io::stderr().is_terminal() {
            true => bar.enable_steady_tick(Duration::from_millis(100)),
            false => bar.set_draw_target(ProgressDrawTarget::hidden()),
        }
        Progress(bar)
    }

    /// So many are done.
    pub fn set(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
