//! Events outside the timeline that the dump needs: state, auth chains, pending invites.

use std::collections::BTreeMap;

use ruma::OwnedEventId;

use super::{
    super::{DatabaseError, DatabaseSource, census::OUTSIDE, counter::Items, row::Row},
    Room, skip_broken,
    stored_event::{COLUMNS, Record, TABLES},
};
use crate::{
    dump::RoomWriter,
    source::SourceError,
    synapse::SOFT_FAILED,
    tally::{Kind, Tally},
};

/// Events fetched at a time.
const BATCH: usize = 100;

/// What the database says about an id.
enum Found {
    Event(Box<Record>),
    Broken(super::BrokenRow),
}

impl DatabaseSource {
    /// Writes the needed events that are not in the timeline, and whatever their auth chains need.
    pub(super) async fn write_outliers(
        &mut self,
        room: &mut Room,
        file: &mut RoomWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let mut waiting = room.needed.take();
        let mut seen = waiting.clone();
        let soft_failed = std::mem::take(&mut room.soft_failed);
        let mut items = Items::new(tally, Kind::Outlier, room.id.as_str());
        while !waiting.is_empty() {
            let batch: Vec<OwnedEventId> =
                std::iter::from_fn(|| waiting.pop_first()).take(BATCH).collect();
            let records = self.outliers(room, &batch, &mut items).await?;
            let events: Vec<_> = records.iter().filter_map(|record| record.read().ok()).collect();
            let redactions = self.redactions(&room.id, &events).await?;
            for event in &events {
                let redacted_by = redactions.of(event, &room.bans);
                match self.dumped(room, event, None, redacted_by) {
                    Ok(dump) => {
                        file.outlier(&dump)?;
                        items.written(1);
                        if event.record.outlier || event.record.rejected {
                            items.rows(OUTSIDE, 1);
                        }
                    }
                    Err((reason, detail)) => {
                        items.skip(event.record.event_id.as_str(), reason, detail);
                    }
                }
                // The auth events of an invite from elsewhere are elsewhere.
                if !event.record.metadata.out_of_band_membership.0 {
                    let auth_events = event.pdu.auth_events();
                    let new = auth_events.filter(|id| seen.insert(id.clone().into_owned()));
                    waiting.extend(new.map(std::borrow::Cow::into_owned));
                }
            }
        }
        // Synapse shows them to nobody. A server that builds on one sends it again, and Conduit judges it anew.
        for event_id in soft_failed.difference(&seen) {
            items.read(1);
            items.skip(event_id.as_str(), "soft-failed", SOFT_FAILED);
        }
        Ok(())
    }

    /// Fetches events, and leaves out those of the timeline.
    async fn outliers(
        &mut self,
        room: &Room,
        event_ids: &[OwnedEventId],
        items: &mut Items<'_>,
    ) -> Result<Vec<Record>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE e.event_id IN ($IDS)");
        let ids: Vec<_> = event_ids.iter().map(|id| id.as_str()).collect();
        let rows = self.main.rows_in("events", &sql, &ids).await?;
        let mut found: BTreeMap<String, Found> = rows
            .iter()
            .map(|row| {
                let event = Record::decode(Row::Kept(row));
                // What can't be read is broken, too.
                let event = event.and_then(|event| event.read().map(drop).map(|()| event));
                (
                    row.label(),
                    event.map_or_else(Found::Broken, |event| Found::Event(Box::new(event))),
                )
            })
            .collect();
        let mut events = Vec::new();
        for event_id in event_ids {
            match found.remove(event_id.as_str()) {
                Some(Found::Event(event)) if event.room_id != room.id => {
                    items.read(1);
                    items.skip(
                        event_id.as_str(),
                        "event-foreign",
                        "the event belongs to another room",
                    );
                }
                Some(Found::Event(event)) if event.rejected => {
                    items.read(1);
                    items.skip(event_id.as_str(), "event-rejected", "Synapse rejected the event");
                }
                // What counts in the room's state does so without a place in the timeline, too.
                Some(Found::Event(event))
                    if room.timeline.contains(&event)
                        && !room.stateless.contains(&event.event_id) => {}
                Some(Found::Event(event)) => {
                    items.read(1);
                    events.push(*event);
                }
                Some(Found::Broken(broken)) => {
                    items.read(1);
                    skip_broken(items, event_id.as_str(), &broken);
                }
                None => {
                    items.read(1);
                    items.skip(event_id.as_str(), "event-missing", "the room's state or an auth chain needs the event, and Synapse does not have it");
                }
            }
        }
        Ok(events)
    }
}
