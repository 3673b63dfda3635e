//! Events outside of the timelines.

use super::{Rules, Seen};
use crate::{
    conduit::{schema::trees, store::KvRead},
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        structure::{
            Ground,
            rows::{self, Amount},
        },
        tools::parts::Part,
    },
};

/// What is seen of the rows of `eventid_outlierpdu`.
#[derive(Debug, Default)]
pub(in crate::verify) struct Outside {
    pub(in crate::verify) seen: Seen,
    pub(in crate::verify) amount: Amount,
    /// What is wrong with the rows as such.
    pub(in crate::verify) of_rows: Findings,
    pub(in crate::verify) found: Findings,
}

impl Outside {
    /// Reads a part of the tree.
    pub(in crate::verify) fn read(
        store: &dyn KvRead,
        part: &Part,
        ground: &Ground<'_>,
        rules: &Rules,
    ) -> Result<Self, VerifyError> {
        let mut outside = Self::default();
        part.each(store, |key, row| outside.row(store, (key, row), ground, rules))?;
        outside.seen.end(rules, &ground.own, &mut outside.found);
        Ok(outside)
    }

    fn row(
        &mut self,
        store: &dyn KvRead,
        (key, row): (&[u8], &[u8]),
        ground: &Ground<'_>,
        rules: &Rules,
    ) -> Result<(), VerifyError> {
        let Self { seen, amount, of_rows, found } = self;
        let event = seen.event(row, rules, &ground.own, found);
        let largest = rows::largest(&trees::EVENTID_OUTLIERPDU, key, event.json(row));
        amount.add(&trees::EVENTID_OUTLIERPDU, (key, row), largest, ground.counter, of_rows);
        let Some(read) = event.read else { return Ok(()) };
        if read.id.as_bytes() != key {
            found.add(&codes::ROWS_DISAGREE, &*read.id, "is stored under another id");
        }
        if store.get(&trees::EVENTID_PDUID, read.id.as_bytes())?.is_some() {
            found.add(&codes::SHORT_ID_AMBIGUOUS, &*read.id, "is both in the timeline and outside");
        }
        Ok(())
    }
}
