//! How a room's events get into the dump: redacted, pruned, or as they are.

use ruma::OwnedEventId;

use super::{
    redactions::{BanRedaction, Redactions},
    stored_event::{EventForm, StoredEvent},
};
use crate::{
    dump::format::DumpEvent,
    synapse::erased::{Erased, Pruning},
};

/// What decides in which form a room's events are dumped.
pub(super) struct EventDumper<'a> {
    /// The room's version, unless it is unknown.
    pub(super) version: Option<&'a str>,
    pub(super) bans: Vec<BanRedaction>,
    pub(super) pruning: Pruning,
    pub(super) erased: &'a Erased,
}

impl EventDumper<'_> {
    /// An event for the dump, or why it may not be there: a reason and a sentence.
    pub(super) fn dump<'e>(
        &self,
        event: &'e StoredEvent<'e>,
        state_before: Option<u64>,
        redactions: &Redactions,
    ) -> Result<DumpEvent<EventForm<'e>>, (&'static str, String)> {
        let redacted_by: Option<OwnedEventId> = redactions.of(event, &self.bans);
        let dump = event
            .dump(self.version, state_before, redacted_by)
            .map_err(|unredactable| (unredactable.reason(), unredactable.to_string()))?;
        if !self.erased.contains(&event.pdu.sender) {
            return Ok(dump);
        }
        let (form, dump) = dump.exchange(());
        let whole = form.to_raw().map_err(|why| (why.reason(), why.to_string()))?;
        let ((), dump) = dump.exchange(whole);
        let pruned = self
            .erased
            .prune(dump, &self.pruning)
            .map_err(|unprunable| (unprunable.reason(), unprunable.to_string()))?;
        let (pdu, dump) = pruned.exchange(());
        Ok(dump.exchange(EventForm::Made(pdu)).1)
    }
}
