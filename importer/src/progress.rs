//! Progress of long work: a bar with rate and time left on a terminal, a log line every few seconds otherwise.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

/// Time between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bars on standard error.
    Bars,
    /// Log lines.
    Lines,
    /// Nowhere.
    Hidden,
}

impl Progress {
    /// Bars if standard error is a terminal, lines otherwise.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// Begins a phase of `total` items.
    pub fn phase(self, name: &'static str, total: usize) -> Phase {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let bar = match self {
            Self::Bars => ProgressBar::new(total).with_style(style()).with_message(name),
            Self::Lines | Self::Hidden => ProgressBar::hidden(),
        };
        Phase {
            name,
            total: AtomicU64::new(total),
            done: Arc::default(),
            bar,
            begun: now(),
            logged: (self == Self::Lines).then(|| Arc::new(AtomicU64::new(0))),
        }
    }
}

/// A phase under way; ends when dropped.
#[derive(Debug)]
pub struct Phase {
    name: &'static str,
    total: AtomicU64,
    done: Arc<AtomicU64>,
    bar: ProgressBar,
    begun: Instant,
    /// Seconds since `begun` at the last log line.
    logged: Option<Arc<AtomicU64>>,
}

impl Phase {
    /// Corrects what was expected to be the total, which was an estimate: there are `actual` items instead of `expected`.
    pub fn correct(&self, expected: u64, actual: u64) {
        let total = self.total.load(Ordering::Relaxed).saturating_sub(expected);
        let total = total.saturating_add(actual);
        self.total.store(total, Ordering::Relaxed);
        self.bar.set_length(total);
    }

    /// Counts `items` as done.
    pub fn advance(&self, items: u64) {
        let done = self.done.fetch_add(items, Ordering::Relaxed).saturating_add(items);
        self.bar.inc(items);
        let Some(logged) = &self.logged else { return };
        let elapsed = now().saturating_duration_since(self.begun).as_secs();
        let last = logged.load(Ordering::Relaxed);
        if elapsed >= last.saturating_add(LOG_INTERVAL.as_secs()) {
            logged.store(elapsed, Ordering::Relaxed);
            let rate = done.checked_div(elapsed).unwrap_or(0);
            let total = self.total.load(Ordering::Relaxed);
            let left = total.saturating_sub(done).checked_div(rate).unwrap_or(0);
            info!("{}: {done} of {total}, {rate}/s, {left} s left", self.name);
        }
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if self.logged.is_some() {
            let done = self.done.load(Ordering::Relaxed);
            let elapsed = now().saturating_duration_since(self.begun).as_secs_f32();
            info!("{}: {done} in {elapsed:.1} s", self.name);
        }
    }
}

/// Measures how long the steps of a run take.
#[derive(Debug)]
pub struct Stopwatch {
    begun: Instant,
    steps: Vec<(&'static str, f64)>,
}

impl Stopwatch {
    /// Begins the first step.
    pub fn start() -> Self {
        Self { begun: now(), steps: Vec::new() }
    }

    /// Ends a step, and begins the next one.
    pub fn lap(&mut self, step: &'static str) {
        let now = now();
        self.steps.push((step, now.saturating_duration_since(self.begun).as_secs_f64()));
        self.begun = now;
    }

    /// The steps with their seconds, in their order.
    pub fn steps(&self) -> &[(&'static str, f64)] {
        &self.steps
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of progress")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::expect_used, reason = "the template is a literal, and a test uses it")]
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:<10} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
        .expect("template parses")
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn a_bar_counts_what_is_done() {
        let phase = Progress::Bars.phase("users", 3);
        phase.advance(2);
        assert_eq!(phase.bar.position(), 2);
        phase.correct(2, 7);
        assert_eq!(phase.bar.length(), Some(8));
    }
}
