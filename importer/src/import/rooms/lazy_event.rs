//! An event of the dump that is parsed at most once, by the first that needs it parsed.

use std::{ops::Deref, sync::OnceLock};

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

use crate::{
    conduit::room_versions::is_supported,
    dump::format::{DumpEvent, DumpRoom},
    import::{
        events::event::{self, Event},
        skip::SkipReason,
    },
};

/// How the events of a room are parsed.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    head: &'a DumpRoom,
    pub(super) rules: RoomVersionRules,
}

impl<'a> Parser<'a> {
    /// `None` if Conduit can't hold the room's version.
    pub(super) fn of(head: &'a DumpRoom) -> Option<Self> {
        let version = head.room_version.as_deref()?;
        let rules = RoomVersionId::try_from(version).ok()?.rules()?;
        is_supported(Some(version)).then_some(Self { head, rules })
    }
}

/// An event of the dump.
#[derive(Debug)]
pub(super) struct LazyEvent {
    dumped: DumpEvent,
    peeked: OnceLock<Peeked>,
    parsed: OnceLock<Result<Event, SkipReason>>,
}

/// What can be told without parsing an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peeked {
    /// Whether it is a state event, if it is an event at all.
    pub(super) is_state: bool,
    /// Whether its text has what replies in threads have. Other events may have it, too.
    pub(super) may_be_in_thread: bool,
}

impl LazyEvent {
    pub(super) fn new(dumped: DumpEvent) -> Self {
        Self { dumped, peeked: OnceLock::new(), parsed: OnceLock::new() }
    }

    pub(super) fn peeked(&self) -> Peeked {
        *self.peeked.get_or_init(|| Peeked {
            is_state: match self.parsed.get() {
                Some(Ok(event)) => event.state_key.is_some(),
                _ => event::is_state(&self.dumped.pdu),
            },
            may_be_in_thread: self.dumped.pdu.get().contains(".thread\""),
        })
    }

    /// Parses the event, so that [`Self::parsed`] has it.
    pub(super) fn parse(&self, parser: &Parser<'_>) {
        let _kept = self.parsed(parser);
    }

    /// The event as it will be stored, or why it can't be.
    pub(super) fn parsed(&self, parser: &Parser<'_>) -> Result<&Event, &SkipReason> {
        let room_id = parser.head.room_id.as_str();
        let parse = || Event::parse(&self.dumped, room_id, &parser.rules);
        self.parsed.get_or_init(parse).as_ref()
    }
}

impl Deref for LazyEvent {
    type Target = DumpEvent;

    fn deref(&self) -> &DumpEvent {
        &self.dumped
    }
}
