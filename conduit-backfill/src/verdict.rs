//! What became of the search for an event that the old homeserver did not give: one answer may be a mistake (another service on
//! the port, a database that is being restored), so that it takes the same answer a second time, later, to end the search.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::host::GivenUp;

/// How long after the first answer the second one counts, in milliseconds: an hour.
pub const AGAIN: u64 = 60 * 60 * 1000;

/// Why an event is not had, and whether that is for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: GivenUp,
    /// When it was found out for the first time, in milliseconds since the Unix epoch; `None` when the search has ended.
    pub first: Option<u64>,
}

impl Verdict {
    /// The verdict after a search that came to nothing at `now`; `earlier` is that of the search before.
    #[must_use]
    pub fn after(earlier: Option<Self>, reason: GivenUp, now: u64) -> Self {
        let first = match earlier {
            None => Some(now),
            Some(earlier) if earlier.is_due(now) => None,
            Some(earlier) => earlier.first,
        };
        Self { reason, first }
    }

    /// Whether the event is to be asked for again at `now`.
    pub fn is_due(self, now: u64) -> bool {
        self.first.is_some_and(|first| now.abs_diff(first) >= AGAIN)
    }

    /// Whether the search has ended.
    pub fn is_final(self) -> bool {
        self.first.is_none()
    }

    /// The word for the reason. One that is not known here is as good as `invalid`.
    pub fn word(self) -> &'static str {
        match self.reason {
            GivenUp::Unavailable => "unavailable",
            GivenUp::Withheld => "withheld",
            GivenUp::Invalid => "invalid",
        }
    }

    /// The verdict as hosts store it: the word for the reason, and the time of the first answer unless it is final.
    pub fn text(self) -> String {
        match self.first {
            Some(first) => format!("{} {first}", self.word()),
            None => self.word().to_owned(),
        }
    }

    /// Reads what [`Self::text`] wrote. What can't be read is asked for again.
    pub fn parse(text: &str) -> Self {
        let (word, first) = match text.split_once(' ') {
            Some((word, first)) => (word, Some(first.parse().unwrap_or_default())),
            None => (text, None),
        };
        let reason = match word {
            "unavailable" => GivenUp::Unavailable,
            "withheld" => GivenUp::Withheld,
            _ => GivenUp::Invalid,
        };
        Self { reason, first }
    }
}

/// The present time as [`Verdict`] counts it.
#[expect(
    clippy::disallowed_methods,
    reason = "the library's one call: hosts are asked by a trait that has no clock, and tests give them another"
)]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Verdict};
    use crate::host::GivenUp;

    #[test]
    fn the_same_answer_ends_a_search_only_when_it_comes_again_later() {
        let first = Verdict::after(None, GivenUp::Unavailable, 1000);
        assert!(!first.is_final() && !first.is_due(1000));
        let soon = Verdict::after(Some(first), GivenUp::Unavailable, 999 + AGAIN);
        assert_eq!(soon, first);
        assert!(soon.is_due(1000 + AGAIN));
        let later = Verdict::after(Some(soon), GivenUp::Invalid, 1000 + AGAIN);
        assert_eq!(later, Verdict { reason: GivenUp::Invalid, first: None });
        assert!(later.is_final() && !later.is_due(u64::MAX));
        assert_eq!(Verdict::after(Some(later), GivenUp::Unavailable, 5).first, None);
    }

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        for reason in [GivenUp::Unavailable, GivenUp::Invalid, GivenUp::Withheld] {
            for first in [None, Some(0), Some(u64::MAX)] {
                let verdict = Verdict { reason, first };
                assert_eq!(Verdict::parse(&verdict.text()), verdict);
            }
        }
        assert!(Verdict::parse("unavailable").is_final());
        assert!(Verdict::parse("unavailable soon").is_due(super::now()));
    }
}
