//! Counting: what is read is written or skipped.

use std::borrow::Cow;

use crate::{
    synapse::api::ApiError,
    tally::{Kind, Tally},
};

/// Items of one user or room.
#[derive(Debug)]
pub(super) struct Counter<'a> {
    tally: &'a mut Tally,
    owner: &'a str,
}

impl<'a> Counter<'a> {
    pub(super) fn new(tally: &'a mut Tally, owner: &'a str) -> Self {
        Self { tally, owner }
    }

    /// Counts items as read and written. A kind of which there is nothing has no count.
    pub(super) fn kept(&mut self, kind: Kind, number: usize) {
        if number > 0 {
            let number = u64::try_from(number).unwrap_or(u64::MAX);
            self.tally.read(kind, number);
            self.tally.written(kind, number);
        }
    }

    /// Counts an item as read and skipped.
    pub(super) fn lost(
        &mut self,
        kind: Kind,
        item: &str,
        reason: &str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        self.tally.read(kind, 1);
        self.skip(kind, item, reason, detail);
    }

    /// Skips an item that has been counted as read.
    pub(super) fn skip(
        &mut self,
        kind: Kind,
        item: &str,
        reason: &str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        let item =
            if item.is_empty() { self.owner.to_owned() } else { format!("{} {item}", self.owner) };
        self.tally.skip(kind, item, reason, detail);
    }

    /// The value, or what stands for nothing if this one thing could not be read.
    pub(super) fn or_lost<T: Default>(
        &mut self,
        kind: Kind,
        item: &str,
        result: Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) if error.ends_run() => Err(error),
            Err(error) => {
                self.lost(kind, item, "not-given", error.to_string());
                Ok(T::default())
            }
        }
    }
}
