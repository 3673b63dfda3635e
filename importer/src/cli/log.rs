//! What is said while a command runs: lines on standard error, for people. What is good to know stands alone, what is wrong
//! begins with `warning:` or `error:`.

use std::{
    fmt,
    io::{self, Write},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::{Global, paint::Paint};
use crate::{findings::Severity, progress};

/// Begins it.
pub(super) fn start(global: Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        // A query that is read while its rows are written is not slow.
        (false, 0) => "importer=info,conduit_backfill=warn,sqlx::query=error,warn",
        (false, 1) => "importer=debug,conduit_backfill=debug,info",
        (false, _) => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(|| Aside)
        .event_format(Lines(Paint::stderr()))
        .init();
}

/// Standard error, beside lines of progress.
struct Aside;

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

struct Lines(Paint);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        match *metadata.level() {
            Level::ERROR => write!(line, "{}: ", self.0.severity(Severity::Blocking))?,
            Level::WARN => write!(line, "{}: ", self.0.severity(Severity::Warning))?,
            Level::INFO => {}
            level => write!(line, "{level} {}: ", metadata.target())?,
        }
        context.field_format().format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}
