//! Colours of severities: on terminals alone, never in a file or pipe, and not if `NO_COLOR` says so.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use crate::findings::Severity;

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// For what is written to standard output.
    pub(super) fn stdout() -> Self {
        Self::on(&io::stdout())
    }

    /// For what is written to standard error.
    pub(super) fn stderr() -> Self {
        Self::on(&io::stderr())
    }

    fn on(stream: &impl IsTerminal) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(stream.is_terminal() && !is_dumb && !super::is_set("NO_COLOR"))
    }

    /// The word for a severity.
    pub(super) fn severity(self, severity: Severity) -> impl fmt::Display {
        // Bold red, yellow, cyan: what terminals show on both a dark and a light ground.
        let [on, off] = match (self.0, severity) {
            (false, _) => ["", ""],
            (true, Severity::Blocking) => ["\u{1b}[1;31m", "\u{1b}[0m"],
            (true, Severity::Warning) => ["\u{1b}[33m", "\u{1b}[0m"],
            (true, Severity::Note) => ["\u{1b}[36m", "\u{1b}[0m"],
        };
        format!("{on}{severity}{off}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_have_colours_where_there_are_any() {
        let words = |paint: Paint| {
            [Severity::Blocking, Severity::Warning, Severity::Note]
                .map(|severity| paint.severity(severity).to_string())
        };
        assert_eq!(words(Paint(false)), ["error", "warning", "note"]);
        assert_eq!(
            words(Paint(true)),
            ["\u{1b}[1;31merror\u{1b}[0m", "\u{1b}[33mwarning\u{1b}[0m", "\u{1b}[36mnote\u{1b}[0m"]
        );
        // A file is no terminal, whatever the environment says.
        let file = tempfile::tempfile().unwrap();
        assert_eq!(words(Paint::on(&file)), ["error", "warning", "note"]);
    }
}
