//! Events outside the timeline that the dump needs: state, auth chains, pending invites.

use std::{borrow::Cow, collections::BTreeMap};

use ruma::{OwnedEventId, RoomId};

use super::{
    event_dumper::EventDumper,
    redactions,
    stored_event::{COLUMNS, EventRow, TABLES},
    timeline::Timeline,
    timeline_writer::{Unwritten, skip_broken},
};
use crate::{
    dump::RoomWriter,
    source::SourceError,
    synapse::{
        SOFT_FAILED,
        database::{
            DatabaseError,
            census::OUTSIDE,
            connection::Connection,
            counter::Items,
            row::{BrokenRow, Row},
        },
    },
    tally::{Kind, Tally},
};

/// Events fetched at a time.
const BATCH: usize = 100;

/// What the database has for an id.
enum Fetched {
    Event(Box<EventRow>),
    Broken(BrokenRow),
}

/// A room whose timeline has been written.
pub(super) struct Outliers<'a> {
    pub(super) room_id: &'a RoomId,
    pub(super) timeline: &'a Timeline,
    pub(super) dumper: &'a EventDumper<'a>,
}

impl Outliers<'_> {
    /// Writes the events that something refers to and that are not in the timeline, and whatever their auth chains need.
    pub(super) async fn write(
        &self,
        db: &mut Connection,
        unwritten: Unwritten,
        file: &mut RoomWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let Unwritten { references, soft_failed, stateless } = unwritten;
        let mut waiting = references.missing();
        let mut seen = waiting.clone();
        let mut items = Items::new(tally, Kind::Outlier, self.room_id.as_str());
        while !waiting.is_empty() {
            let batch: Vec<OwnedEventId> =
                std::iter::from_fn(|| waiting.pop_first()).take(BATCH).collect();
            let mut rows = self.fetch(db, &batch, &mut items).await?;
            // What counts in the room's state does so without a place in the timeline, too.
            rows.retain(|row| {
                let is_written = self.timeline.contains(row) && !stateless.contains(&row.event_id);
                if !is_written {
                    items.read(1);
                }
                !is_written
            });
            let events: Vec<_> = rows.iter().filter_map(|row| row.read().ok()).collect();
            let redactions = redactions::read(db, self.room_id, &events).await?;
            for event in &events {
                match self.dumper.dump(event, None, &redactions) {
                    Ok(dump) => {
                        file.outlier(&dump)?;
                        items.written(1);
                        if event.row.outlier || event.row.rejected {
                            items.rows(OUTSIDE, 1);
                        }
                    }
                    Err((reason, detail)) => {
                        items.skip(event.row.event_id.as_str(), reason, detail);
                    }
                }
                // The auth events of an invite from elsewhere are elsewhere.
                if !event.row.metadata.out_of_band_membership.0 {
                    let auth_events = event.pdu.auth_events();
                    let new = auth_events.filter(|id| seen.insert(id.clone().into_owned()));
                    waiting.extend(new.map(Cow::into_owned));
                }
            }
        }
        // Synapse shows them to no client. A server that builds on one sends it again, and Conduit checks it again.
        for event_id in soft_failed.difference(&seen) {
            items.read(1);
            items.skip(event_id.as_str(), "soft-failed", SOFT_FAILED);
        }
        Ok(())
    }

    /// The events of the room that can be read; counts the others as left out.
    async fn fetch(
        &self,
        db: &mut Connection,
        event_ids: &[OwnedEventId],
        items: &mut Items<'_>,
    ) -> Result<Vec<EventRow>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.event_id IN ($IDS)");
        let ids: Vec<_> = event_ids.iter().map(|id| id.as_str()).collect();
        let rows = db.rows_in("events", &sql, &ids).await?;
        let mut fetched: BTreeMap<String, Fetched> = rows
            .iter()
            .map(|row| {
                let event = EventRow::decode(Row::Kept(row));
                // An event whose JSON can't be read is broken, too.
                let event = event.and_then(|event| event.read().map(drop).map(|()| event));
                let event = event.map(|event| Fetched::Event(Box::new(event)));
                (row.label(), event.unwrap_or_else(Fetched::Broken))
            })
            .collect();
        let mut events = Vec::new();
        for event_id in event_ids {
            let (reason, detail) = match fetched.remove(event_id.as_str()) {
                Some(Fetched::Event(event)) if event.room_id != *self.room_id => {
                    ("event-foreign", "the event belongs to another room")
                }
                Some(Fetched::Event(event)) if event.rejected => {
                    ("event-rejected", "Synapse rejected the event")
                }
                Some(Fetched::Event(event)) => {
                    events.push(*event);
                    continue;
                }
                Some(Fetched::Broken(broken)) => {
                    items.read(1);
                    skip_broken(items, event_id.as_str(), &broken);
                    continue;
                }
                None => (
                    "event-missing",
                    "the room's state or an auth chain refers to the event, and Synapse does not have it",
                ),
            };
            items.read(1);
            items.skip(event_id.as_str(), reason, detail);
        }
        Ok(events)
    }
}
