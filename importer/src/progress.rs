//! Progress of long work, for people: what a run does now, how far it is, how long that will take. On a terminal that is a
//! line which changes; otherwise a line every few seconds. What is finished stays as a line.

#![warn(clippy::arithmetic_side_effects, reason = "a dump may say any numbers")]

use std::{
    fmt,
    io::{IsTerminal, Write as _},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tracing::info;

use crate::{
    counted::{count, counted, grouped},
    size::size,
};

/// Time between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two drawings of a line on a terminal, if nothing happens.
const TICK: Duration = Duration::from_millis(500);
/// Letters of a line, where that can be: half of a screen is enough for it.
const WIDTH: usize = 60;

/// What is on the terminal now.
static SCREEN: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A line on standard error that changes.
    Bars(Step),
    /// Lines on standard error.
    Lines(Step),
    /// Nowhere.
    Hidden,
}

/// A step of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 1 on; 0 if there is but one.
    number: u8,
    /// How many there are.
    of: u8,
    /// What it does; empty if there is but one.
    name: &'static str,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, of, name } = self;
        match (number, name.is_empty()) {
            (0, true) => Ok(()),
            (0, false) => write!(f, "{name}: "),
            _ => write!(f, "step {number} of {of}, {name}: "),
        }
    }
}

impl Progress {
    /// For whoever reads standard error, a terminal or not.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Bars(Step::default())
        } else {
            Self::Lines(Step::default())
        }
    }

    /// The same for step `number` of so many; 0 if there is but one.
    #[must_use]
    pub fn step(self, number: u8, of: u8, name: &'static str) -> Self {
        let step = Step { number, of, name };
        match self {
            Self::Bars(_) => Self::Bars(step),
            Self::Lines(_) => Self::Lines(step),
            Self::Hidden => Self::Hidden,
        }
    }

    /// Begins a phase of `total` items. `item` is the word for one of them; `s` makes it several.
    pub fn phase(self, item: &'static str, total: usize) -> Phase {
        self.begin(Unit::Item(item), u64::try_from(total).unwrap_or(u64::MAX))
    }

    /// The same with the words for one item and for several.
    pub fn phase_of(self, items: [&'static str; 2], total: usize) -> Phase {
        self.begin(Unit::Items(items), u64::try_from(total).unwrap_or(u64::MAX))
    }

    /// Begins a phase of `total` bytes of `what`.
    pub fn phase_of_bytes(self, what: &'static str, total: u64) -> Phase {
        self.begin(Unit::Bytes(what), total)
    }

    fn begin(self, unit: Unit, total: u64) -> Phase {
        let (step, bar, is_told) = match self {
            Self::Bars(step) => {
                let words = Words { step, unit };
                let bar = SCREEN.add(ProgressBar::new(total).with_style(style(words)));
                bar.enable_steady_tick(TICK);
                (step, bar, false)
            }
            Self::Lines(step) => (step, ProgressBar::hidden(), true),
            Self::Hidden => (Step::default(), ProgressBar::hidden(), false),
        };
        Phase {
            words: Words { step, unit },
            total: AtomicU64::new(total),
            done: Arc::default(),
            bar,
            begun: now(),
            told: is_told.then(|| Arc::new(AtomicU64::new(0))),
        }
    }
}

/// What a phase counts.
#[derive(Clone, Copy, Debug)]
enum Unit {
    /// Items, by the word for one of them, of which an `s` makes several.
    Item(&'static str),
    /// Items, by the words for one and for several.
    Items([&'static str; 2]),
    /// Bytes of something.
    Bytes(&'static str),
}

/// What is said of a phase.
#[derive(Clone, Copy, Debug)]
struct Words {
    step: Step,
    unit: Unit,
}

impl Words {
    /// `step 2 of 4, import: rooms 212 of 500, 18 s, about 40 s left`. What matters least is left out where it gets long.
    fn going(self, done: u64, total: u64, elapsed: Duration) -> String {
        let Self { step, unit } = self;
        let items = |items: &str| match total {
            0 => items.to_owned(),
            _ => format!("{items} {} of {}", grouped(done), grouped(total)),
        };
        let what = match unit {
            Unit::Item(item) => items(&format!("{item}s")),
            Unit::Items([_, many]) => items(many),
            Unit::Bytes(what) => format!("{what} {} of {}", size(done), size(total)),
        };
        let begun = format!("{step}{what}");
        let elapsed_text = time(Duration::from_secs(elapsed.as_secs()));
        let Some(left) = left(done, total, elapsed) else {
            return format!("{begun}, {elapsed_text}");
        };
        let left = time(rounded(left));
        let rate = match unit {
            Unit::Bytes(_) => format!("{}/s", size(rate(done, elapsed))),
            Unit::Item(_) | Unit::Items(_) => elapsed_text.clone(),
        };
        let forms = [
            format!("{begun}, {rate}, about {left} left"),
            format!("{begun}, {elapsed_text}, about {left} left"),
            format!("{begun}, about {left} left"),
        ];
        let fitting = forms.into_iter().find(|form| form.chars().count() <= WIDTH);
        fitting.unwrap_or_else(|| format!("{begun}, {left} left"))
    }

    /// `step 2 of 4, import: 500 rooms in 58 s`.
    fn finished(self, done: u64, elapsed: Duration) -> String {
        let Self { step, unit } = self;
        let what = match unit {
            Unit::Item(item) => count(done, item),
            Unit::Items(items) => counted(done, items),
            Unit::Bytes(what) => format!("{what}, {},", size(done)),
        };
        format!("{step}{what} in {}", time(elapsed))
    }
}

/// How long the rest will take, if it takes as long as what is done.
fn left(done: u64, total: u64, elapsed: Duration) -> Option<Duration> {
    let rest = u128::from(total.checked_sub(done).filter(|rest| *rest > 0)?);
    // After a moment, nothing can be said.
    let elapsed = Some(elapsed).filter(|elapsed| *elapsed >= Duration::from_secs(2))?;
    let left = elapsed.as_millis().saturating_mul(rest).checked_div(u128::from(done))?;
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX)))
}

/// What is done in a second.
fn rate(done: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(done).saturating_mul(1000).checked_div(elapsed.as_millis());
    u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX)
}

/// A guess, no more exact than it is.
fn rounded(left: Duration) -> Duration {
    let seconds = left.as_secs();
    let grain: u64 = match seconds {
        0..20 => 1,
        20..100 => 5,
        _ => 60,
    };
    Duration::from_secs(seconds.div_ceil(grain).saturating_mul(grain).max(1))
}

/// A time for people: `0.3 s`, `18 s`, `2 min 5 s`, `3 h 10 min`.
pub(crate) fn time(time: Duration) -> String {
    let tenths = time.as_millis().saturating_add(50) / 100;
    let seconds = time.as_millis().saturating_add(500) / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0 if tenths == 0 && !time.is_zero() => "< 0.1 s".to_owned(),
        0..10 if time.subsec_nanos() > 0 => format!("{}.{} s", tenths / 10, tenths % 10),
        0..100 => format!("{seconds} s"),
        100..3600 if seconds.is_multiple_of(60) => format!("{minutes} min"),
        100..3600 => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{} h {} min", grouped(hours), minutes % 60),
    }
}

/// Writes to standard error without leaving half of a line of progress there.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    SCREEN.suspend(write)
}

/// A phase under way; ends when dropped.
#[derive(Debug)]
pub struct Phase {
    words: Words,
    total: AtomicU64,
    done: Arc<AtomicU64>,
    bar: ProgressBar,
    begun: Instant,
    /// Seconds since `begun` at the last line.
    told: Option<Arc<AtomicU64>>,
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
        let Some(told) = &self.told else { return };
        let elapsed = self.elapsed();
        let last = told.load(Ordering::Relaxed);
        if elapsed.as_secs() >= last.saturating_add(LINE_INTERVAL.as_secs()) {
            told.store(elapsed.as_secs(), Ordering::Relaxed);
            info!("{}", self.words.going(done, self.total.load(Ordering::Relaxed), elapsed));
        }
    }

    fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.begun)
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        let line = self.words.finished(self.done.load(Ordering::Relaxed), self.elapsed());
        if self.told.is_some() {
            info!("{line}");
        } else if !self.bar.is_hidden() {
            self.bar.finish_and_clear();
            let _only_a_screen = aside(|| writeln!(std::io::stderr(), "{line}"));
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

    /// How long the present step has taken so far.
    pub fn elapsed(&self) -> Duration {
        now().saturating_duration_since(self.begun)
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
fn style(words: Words) -> ProgressStyle {
    let line = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let text = words.going(state.pos(), state.len().unwrap_or(0), state.elapsed());
        let _only_a_screen = out.write_str(&text);
    };
    ProgressStyle::with_template("{line}").expect("template parses").with_key("line", line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_bar_counts_what_is_done() {
        let phase = Progress::Bars(Step::default()).phase("account", 3);
        phase.advance(2);
        assert_eq!(phase.bar.position(), 2);
        phase.correct(2, 7);
        assert_eq!(phase.bar.length(), Some(8));
    }

    #[test]
    fn lines_say_the_step_the_phase_and_the_time_that_is_left() {
        let step = Step { number: 2, of: 4, name: "import" };
        let words = |unit| Words { step, unit };
        let rooms = words(Unit::Item("room"));
        assert_eq!(
            rooms.going(212, 500, seconds(18)),
            "step 2 of 4, import: rooms 212 of 500, 18 s, about 25 s left"
        );
        // Nothing can be said of what has just begun, or of how many there are.
        assert_eq!(rooms.going(2, 500, seconds(1)), "step 2 of 4, import: rooms 2 of 500, 1 s");
        assert_eq!(rooms.going(0, 500, seconds(9)), "step 2 of 4, import: rooms 0 of 500, 9 s");
        assert_eq!(rooms.going(0, 0, seconds(9)), "step 2 of 4, import: rooms, 9 s");
        // A long line loses what matters least.
        assert_eq!(
            rooms.going(11_212, 15_000, seconds(700)),
            "step 2 of 4, import: rooms 11,212 of 15,000, 4 min left"
        );
        assert_eq!(
            rooms.going(1212, 5000, seconds(70)),
            "step 2 of 4, import: rooms 1,212 of 5,000, about 4 min left"
        );
        assert_eq!(
            rooms.finished(12_345, seconds(58)),
            "step 2 of 4, import: 12,345 rooms in 58 s"
        );
        assert_eq!(rooms.finished(1, seconds(58)), "step 2 of 4, import: 1 room in 58 s");
        let bytes = Words { step: Step::default(), unit: Unit::Bytes("files of the dump") };
        assert_eq!(
            bytes.going(1_500_000, 3_000_000, seconds(4)),
            "files of the dump 1.5 MB of 3.0 MB, 4 s, about 4 s left"
        );
        // Of files that take long, it matters how fast they are copied.
        let files = Words { step: Step::default(), unit: Unit::Bytes("files") };
        assert_eq!(
            files.going(12_300_000_000, 100_000_000_000, seconds(150)),
            "files 12.3 GB of 100.0 GB, 82.0 MB/s, about 18 min left"
        );
        assert_eq!(
            bytes.finished(3_000_000, Duration::from_millis(312)),
            "files of the dump, 3.0 MB, in 0.3 s"
        );
    }

    #[test]
    fn times_are_as_exact_as_people_need_them() {
        for (milliseconds, expected) in [
            (0, "0 s"),
            (20, "< 0.1 s"),
            (312, "0.3 s"),
            (9_400, "9.4 s"),
            (18_200, "18 s"),
            (99_000, "99 s"),
            (120_000, "2 min"),
            (125_000, "2 min 5 s"),
            (3_599_900, "1 h 0 min"),
            (11_400_000, "3 h 10 min"),
        ] {
            assert_eq!(time(Duration::from_millis(milliseconds)), expected, "{milliseconds}");
        }
    }
}
