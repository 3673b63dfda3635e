//! Why an item of the dump is left out, and counting what is kept and what not.

use std::borrow::Cow;

use crate::tally::{Kind, Tally};

/// Why an item is left out: a stable code and a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SkipReason {
    pub(super) code: &'static str,
    pub(super) detail: Cow<'static, str>,
}

impl SkipReason {
    pub(super) const fn new(code: &'static str, detail: &'static str) -> Self {
        Self { code, detail: Cow::Borrowed(detail) }
    }

    /// With a sentence that is made for the item.
    pub(super) fn with(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: Cow::Owned(detail.into()) }
    }
}

impl Tally {
    /// Records an item as left out.
    pub(super) fn leave(&mut self, kind: Kind, item: impl Into<String>, reason: SkipReason) {
        self.skip(kind, item, reason.code, reason.detail);
    }

    /// Counts an item as read, and as written unless there is a reason to leave it out. Whether it is to be written.
    pub(super) fn keeps(
        &mut self,
        kind: Kind,
        item: impl FnOnce() -> String,
        reason: Option<SkipReason>,
    ) -> bool {
        self.read(kind, 1);
        let is_kept = reason.is_none();
        match reason {
            Some(reason) => self.leave(kind, item(), reason),
            None => self.written(kind, 1),
        }
        is_kept
    }
}
