//! What Conduit adds to an event because of others, which may come after it: its redaction, the summary of the thread
//! that it began, the content of the state event that it replaces. It is collected before the events are written, so
//! that each is written once.

use std::collections::BTreeMap;

use super::{
    first_pass::FirstPass,
    lazy_event::{LazyEvent, Parser},
    numbering::{Numbering, Slot, hash},
    parse_ahead,
    source::{Item, RoomSource, Sections},
    states::States,
};
use crate::{
    dump::format::DumpEvent,
    fs::spool::{Spool, SpooledText},
    import::{
        ImportError,
        events::{
            event::{Event, Unsigned},
            timeline_rows::{Replaced, Thread, latest_reply, unknown_redaction},
        },
    },
};

/// What other events of a room bring into the `unsigned` of events.
#[derive(Debug, Default)]
pub(super) struct UnsignedParts {
    spool: Spool,
    /// Redactions, as Conduit stores them, by the hash of their id.
    redactions: BTreeMap<u64, SpooledText>,
    /// Content and sender of events that are replaced by earlier ones, by short event id.
    replaced: BTreeMap<u64, SpooledText>,
    /// Threads, with their newest replies, by the short event id of the root.
    threads: BTreeMap<u64, (Thread, SpooledText)>,
}

impl UnsignedParts {
    /// Reads the room for what is wanted, if anything is.
    pub(super) fn collect(
        source: &dyn RoomSource,
        parser: &Parser<'_>,
        first_pass: &FirstPass,
        states: &States,
    ) -> Result<Self, ImportError> {
        let mut parts = Self::default();
        let late = states.replaced_later(&first_pass.numbering);
        if first_pass.redactions.is_empty() && late.is_empty() && !first_pass.has_threads {
            return Ok(parts);
        }
        let is_wanted = |event: &LazyEvent| {
            let is_late = || {
                let slot = first_pass.numbering.get(&event.event_id);
                slot.is_some_and(|slot| late.contains(&first_pass.numbering.short(slot)))
            };
            first_pass.redactions.contains(&hash(&event.event_id))
                || event.peeked().may_be_in_thread
                || (!late.is_empty() && is_late())
        };
        let prepare = |event: &LazyEvent| {
            if is_wanted(event) {
                event.parse(parser);
            }
        };
        let mut next: u64 = 0;
        parse_ahead::read(source, Sections::Events, prepare, |item| {
            let (dumped, is_timeline) = match item {
                Item::Outlier(dumped) => (dumped, false),
                Item::Timeline(dumped) => (dumped, true),
                Item::State(_) | Item::Receipt(_) => return Ok(()),
            };
            if !is_wanted(&dumped) {
                return Ok(());
            }
            let Ok(event) = dumped.parsed(parser) else { return Ok(()) };
            let Some(slot) = first_pass.numbering.get(&dumped.event_id) else { return Ok(()) };
            let has_state = dumped.state_before.is_some_and(|state| states.hash(state).is_some());
            match slot {
                Slot::Timeline(number) if is_timeline && has_state && number >= next => {
                    next = number + 1;
                    parts.reply(event, number, &first_pass.numbering)?;
                }
                Slot::Outlier(_) => {}
                Slot::Timeline(_) => return Ok(()),
            }
            let short = first_pass.numbering.short(slot);
            if first_pass.redactions.contains(&hash(&event.id)) {
                let mut unsigned = Unsigned::default();
                if let Some(redaction) = &dumped.redacted_by {
                    unsigned.add("redacted_because", unknown_redaction(redaction, &event.id));
                }
                let stored = event.stored(&unsigned);
                let place = parts.put(&String::from_utf8_lossy(&stored))?;
                parts.redactions.insert(hash(&event.id), place);
            }
            if late.contains(&short) {
                let place = parts.put(&format!("{}\n{}", event.sender, event.content()))?;
                parts.replaced.insert(short, place);
            }
            Ok(())
        })?;
        Ok(parts)
    }

    fn put(&mut self, text: &str) -> Result<SpooledText, ImportError> {
        self.spool.put(text).map_err(ImportError::Scratch)
    }

    /// Counts a reply in a thread whose root is an earlier event.
    fn reply(
        &mut self,
        event: &Event,
        number: u64,
        numbering: &Numbering,
    ) -> Result<(), ImportError> {
        let Some(root) = event.relations.thread().and_then(|root| numbering.get(root)) else {
            return Ok(());
        };
        if !matches!(root, Slot::Timeline(root) if root < number) {
            return Ok(());
        }
        let reply = self.put(&latest_reply(event))?;
        let (thread, latest) =
            self.threads.entry(numbering.short(root)).or_insert_with(|| (Thread::default(), reply));
        thread.add(&event.sender);
        *latest = reply;
        Ok(())
    }

    /// Why an event was redacted; of an unknown redaction, only its id.
    pub(super) fn redaction(&mut self, event: &DumpEvent) -> Result<Option<String>, ImportError> {
        let Some(redaction) = &event.redacted_by else { return Ok(None) };
        match self.redactions.get(&hash(redaction)) {
            Some(place) => self.spool.get(*place).map(Some).map_err(ImportError::Scratch),
            None => Ok(Some(unknown_redaction(redaction, &event.event_id))),
        }
    }

    /// Content and sender of an event that is replaced by an earlier one.
    pub(super) fn replaced(&mut self, short: u64) -> Result<Option<Replaced>, ImportError> {
        let Some(place) = self.replaced.get(&short) else { return Ok(None) };
        let text = self.spool.get(*place).map_err(ImportError::Scratch)?;
        let parts = text.split_once('\n');
        Ok(parts.map(|(sender, content)| Replaced {
            content: content.to_owned(),
            sender: sender.to_owned(),
        }))
    }

    /// The thread with this root, and its newest reply as [`latest_reply`] gives it.
    pub(super) fn thread(&mut self, root: u64) -> Result<Option<(Thread, String)>, ImportError> {
        let Some((thread, latest)) = self.threads.remove(&root) else { return Ok(None) };
        let latest = self.spool.get(latest).map_err(ImportError::Scratch)?;
        Ok(Some((thread, latest)))
    }
}
