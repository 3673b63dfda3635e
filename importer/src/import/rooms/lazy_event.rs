//! An event of the dump, with what was found out about it: each of these once, by whoever asks first.

use std::{ops::Deref, sync::OnceLock};

use ruma::room_version_rules::RoomVersionRules;

use crate::{
    dump::format::{DumpEvent, DumpRoom},
    import::events::event::{self, Event, Refusal},
};

/// How the events of a room are parsed.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    head: &'a DumpRoom,
    pub(super) rules: Option<RoomVersionRules>,
}

impl<'a> Parser<'a> {
    pub(super) fn of(head: &'a DumpRoom) -> Self {
        Self { head, rules: super::rules(head) }
    }
}

/// An event of the dump.
#[derive(Debug)]
pub(in crate::import) struct Known {
    dumped: DumpEvent,
    peeked: OnceLock<Peeked>,
    parsed: OnceLock<Result<Event, Refusal>>,
}

/// What can be told without parsing an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peeked {
    /// Whether it is a state event, if it is an event at all.
    pub(super) is_state: bool,
    /// Whether it may be a reply in a thread, told by the letters in it.
    pub(super) may_be_in_thread: bool,
}

impl Known {
    pub(in crate::import) fn new(dumped: DumpEvent) -> Self {
        Self { dumped, peeked: OnceLock::new(), parsed: OnceLock::new() }
    }

    pub(super) fn peeked(&self) -> Peeked {
        *self.peeked.get_or_init(|| Peeked {
            is_state: event::is_state(&self.dumped.pdu),
            may_be_in_thread: self.dumped.pdu.get().contains(".thread\""),
        })
    }

    /// Parses the event, for those who ask later.
    pub(super) fn parse(&self, parser: &Parser<'_>) {
        let _kept = self.parsed(parser);
    }

    /// The event as it will be stored, or why it can't be.
    pub(super) fn parsed(&self, parser: &Parser<'_>) -> Result<&Event, &Refusal> {
        let parsed = self.parsed.get_or_init(|| match &parser.rules {
            Some(rules) => Event::parse(&self.dumped, parser.head.room_id.as_str(), rules),
            None => Err(("room-version-unknown", "nobody knows its room's version".into())),
        });
        parsed.as_ref()
    }
}

impl Deref for Known {
    type Target = DumpEvent;

    fn deref(&self) -> &DumpEvent {
        &self.dumped
    }
}
