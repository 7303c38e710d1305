//! How far long work is, on stderr: a bar on a terminal, lines elsewhere when they are asked for.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// Work of a number of steps.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
}

impl Progress {
    /// Shows `steps` of `what`; where stderr is no terminal only if `wanted`.
    pub fn new(what: &'static str, steps: usize, wanted: bool) -> Progress {
        let bar = ProgressBar::new(steps as u64).with_message(what);
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}, {eta} left");
        bar.set_style(style.expect("the template is well formed"));
        Progress { bar, lines: wanted && !stderr().is_terminal() }
    }

    /// A step is done.
    pub fn step(&self) {
        self.reach(self.bar.position() + 1, self.bar.length().unwrap_or_default());
    }

    /// So many `steps` of `all` are done.
    pub fn reach(&self, steps: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(steps);
        if self.lines {
            eprintln!("{} {steps}/{all}", self.bar.message());
        }
    }

    /// Calls `print`, which writes lines, with the bar out of their way.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
