//! One room. It is read several times: to number its events (`first_pass`), for its states (`states`), for what events know of
//! later ones (`unsigned`), and to write outliers and timeline (`writer`). Small rooms are read from the disk once (`prefetch`);
//! of a large one, memory holds numbers and difference sets, never the events.
//!
//! Room for the past: if events before the first one are missing, a range of numbers is left unused for them. It is
//! remembered nowhere but in itself: for imported rooms, all numbers between the short room id and the short event id or the count
//! of the first event of the timeline, whichever is less, are free to be counts of that room's events. Imported rooms are those whose short room id
//! is smaller than the admin room's, which is made last.

mod admin_room;
mod first_pass;
pub(super) mod hidden;
pub(super) mod lazy_event;
mod membership;
mod not_joined;
mod numbering;
mod parse_ahead;
pub(super) mod prefetch;
mod remote_receipts;
mod states;
pub(super) mod unsigned;
mod writer;

use std::{collections::BTreeMap, sync::Arc};

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

use self::{
    first_pass::Survey,
    lazy_event::{Known, Parser},
};
use super::{Import, ImportError};
use crate::{
    conduit::{
        room_versions::is_supported,
        schema::{layout::Part, trees},
    },
    dump::{
        RoomReader,
        format::{DumpRemoteReceipt, DumpRoom, DumpState},
    },
    findings::{Finding, Severity},
    tally::Kind,
};

/// Numbers left free beyond those of the missing events: forks have more events than depth says.
pub(crate) const MARGIN: u64 = 1000;
/// Most numbers left free for one room. Depths are other servers' words and may be anything.
const MOST_RESERVED: u64 = 1 << 32;

/// Why a room of a version that Conduit can't hold is left out.
const UNSUPPORTED: &str = "room-version-unsupported";

/// Why a room is left out whose states turn out not to be good enough while they are written.
const NOT_SHOWN: &str = "no event has a state before it that can be kept";

/// An item of a room.
#[derive(Clone, Debug)]
pub(super) enum Item {
    State(Arc<DumpState>),
    Outlier(Arc<Known>),
    Timeline(Arc<Known>),
    Receipt(DumpRemoteReceipt),
}

/// What to read of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sections {
    /// States, outliers, timeline, other servers' receipts.
    All,
    /// States alone.
    States,
    /// The rest.
    Events,
}

impl Sections {
    fn have(self, item: &Item) -> bool {
        match self {
            Self::All => true,
            Self::States => matches!(item, Item::State(_)),
            Self::Events => !matches!(item, Item::State(_)),
        }
    }
}

/// Where a room comes from: a file of the dump, or the importer itself.
pub(super) trait RoomSource: Sync {
    fn head(&self) -> &DumpRoom;

    /// Reads items in order.
    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError>;

    /// Whether reading costs nothing, and all events are parsed.
    fn is_in_memory(&self) -> bool {
        false
    }
}

/// What is done with each item; false if no more are wanted.
pub(super) type Visit<'a> = dyn FnMut(Item) -> Result<bool, ImportError> + 'a;

impl RoomSource for RoomReader {
    fn head(&self) -> &DumpRoom {
        self.head()
    }

    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError> {
        let mut reader = self.reopen()?;
        if sections != Sections::Events {
            for state in reader.states()? {
                if !visit(Item::State(Arc::new(state?)))? {
                    return Ok(());
                }
            }
        }
        if sections == Sections::States {
            return Ok(());
        }
        for event in reader.outliers()? {
            if !visit(Item::Outlier(Arc::new(Known::new(event?))))? {
                return Ok(());
            }
        }
        for event in reader.timeline()? {
            if !visit(Item::Timeline(Arc::new(Known::new(event?))))? {
                return Ok(());
            }
        }
        for receipt in reader.receipts()? {
            if !visit(Item::Receipt(receipt?))? {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Import<'_> {
    /// Imports a room, or says why not.
    pub(super) fn room(&mut self, source: &dyn RoomSource) -> Result<(), ImportError> {
        let head = source.head();
        self.tally.read(Kind::Room, 1);
        self.tally.read(Kind::Alias, len(&head.aliases));
        self.tally.read(Kind::PublishedRoom, u64::from(head.published));
        self.tally.read(Kind::Membership, len(&head.local_members));
        let parser = Parser::of(head);
        let is_known = parser.rules.is_some();
        if head.current_state.is_none() && (is_known || head.room_version.is_none()) {
            return self.outside(source);
        }
        if !is_known {
            let version = head.room_version.as_deref().unwrap_or("unknown");
            let detail =
                format!("Conduit can't hold version {version}; upgrade the room on Synapse first");
            self.left_out(head, UNSUPPORTED, &detail);
            return self.content_left_out(source, Sections::All, UNSUPPORTED, &detail);
        }
        let survey = Survey::of(source, &parser, &mut self.rows)?;
        if let Some((reason, detail)) = survey.obstacle(head) {
            self.left_out(head, reason, detail);
            return self.content_left_out(source, Sections::All, reason, detail);
        }
        let Some(room) = writer::write(self, source, &parser, survey)? else {
            self.left_out(head, "state-incomplete", NOT_SHOWN);
            return self.content_left_out(source, Sections::Events, "state-incomplete", NOT_SHOWN);
        };
        self.aliases(head)?;
        if head.published {
            self.rows.mark(&trees::PUBLICROOMIDS, &[Part::Text(room.as_str())])?;
            self.tally.written(Kind::PublishedRoom, 1);
        }
        self.tally.written(Kind::Room, 1);
        self.rooms.insert(room);
        Ok(())
    }

    fn aliases(&mut self, head: &DumpRoom) -> Result<(), ImportError> {
        let room = head.room_id.as_str();
        for alias in &head.aliases {
            if alias.alias.server_name() != self.server_name.as_str() {
                let detail = "it is another server's alias";
                self.tally.skip(Kind::Alias, alias.alias.as_str(), "alias-not-local", detail);
                continue;
            }
            let localpart = Part::Text(alias.alias.alias());
            self.rows.put(&trees::ALIAS_ROOMID, &[localpart], &[Part::Text(room)])?;
            if let Some(creator) = &alias.creator {
                self.rows.put(
                    &trees::ALIAS_USERID,
                    &[localpart],
                    &[Part::Text(creator.as_str())],
                )?;
            }
            let count = self.rows.next();
            let key = [Part::Text(room), Part::U64(count)];
            self.rows.put(&trees::ALIASID_ALIAS, &key, &[Part::Text(alias.alias.as_str())])?;
            self.tally.written(Kind::Alias, 1);
        }
        Ok(())
    }

    /// Counts what is in these sections of a room that is left out, before they were read.
    fn content_left_out(
        &mut self,
        source: &dyn RoomSource,
        sections: Sections,
        reason: &str,
        detail: &str,
    ) -> Result<(), ImportError> {
        let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
        source.read(sections, &mut |item| {
            let kind = match item {
                Item::State(_) => Kind::State,
                Item::Outlier(_) => Kind::Outlier,
                Item::Timeline(_) => Kind::TimelineEvent,
                Item::Receipt(_) => Kind::Receipt,
            };
            let count = counts.entry(kind).or_default();
            *count = count.saturating_add(1);
            Ok(true)
        })?;
        let room = source.head().room_id.as_str();
        for (kind, number) in counts {
            self.tally.leave_out(kind, number, room, reason, detail);
        }
        Ok(())
    }

    /// Counts a room as left out, with all that hangs on it but its content.
    fn left_out(&mut self, head: &DumpRoom, reason: &str, detail: &str) {
        self.attachments_left_out(head, reason, detail);
        let room = head.room_id.as_str();
        self.tally.skip(Kind::Room, room, reason, detail);
        let joined = head.local_members.iter().filter(|member| member.membership == "join").count();
        // Versions have a code of their own.
        if joined > 0 && reason != UNSUPPORTED {
            self.findings.push(Finding::import(
                Severity::Warning,
                "I013",
                room,
                format!("stays behind, with local users in it ({joined}): {detail}"),
                "keep Synapse's database; these users need a new room",
            ));
        }
        for member in &head.local_members {
            let item = format!("{} in {room}", member.user_id);
            self.tally.skip(Kind::Membership, item, reason, detail);
        }
    }

    /// The same for aliases and the place in the directory alone.
    fn attachments_left_out(&mut self, head: &DumpRoom, reason: &str, detail: &str) {
        let room = head.room_id.as_str();
        for alias in &head.aliases {
            self.tally.skip(Kind::Alias, alias.alias.as_str(), reason, format!("alias of {room}"));
        }
        if head.published {
            self.tally.skip(Kind::PublishedRoom, room, reason, detail);
        }
    }
}

/// The rules of the room's version, if Conduit can hold it.
fn rules(head: &DumpRoom) -> Option<RoomVersionRules> {
    let version =
        head.room_version.as_deref().filter(|_| is_supported(head.room_version.as_deref()))?;
    RoomVersionId::try_from(version).ok()?.rules()
}

fn len<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}
