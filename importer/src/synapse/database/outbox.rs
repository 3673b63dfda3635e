//! What Synapse had not yet delivered to other servers and application services.
//!
//! Of each destination, the newest [`MOST`] items of a table are dumped; older ones are counted as left out.

use std::collections::{BTreeSet, VecDeque};

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, ServerName};
use serde_json::value::RawValue;

use super::{
    connection::Connection,
    counter::{Items, count},
    row::{BrokenRow, Row},
};
use crate::{
    dump::{DumpWriter, OutboxWriter, WriteError, format::DumpOutgoing},
    source::SourceError,
    tally::{Kind, Tally},
};

/// Items of one table that are dumped for one destination.
const MOST: usize = 1000;

/// Rooms in which a destination lacks the newest event. As Synapse does, nothing is sent to a server that has never received
/// anything (`last_successful_stream_ordering` is NULL).
const EVENTS: &str = "SELECT d.destination, e.room_id, e.event_id FROM destinations d \
    JOIN destination_rooms r ON r.destination = d.destination \
    JOIN events e ON e.stream_ordering = r.stream_ordering \
    WHERE r.stream_ordering > d.last_successful_stream_ordering \
    ORDER BY d.destination, r.stream_ordering";

/// Synapse deletes a row when the destination has accepted it.
const DEVICE_LISTS: &str = "SELECT DISTINCT destination, user_id FROM device_lists_outbound_pokes \
    ORDER BY destination, user_id";

const TRANSACTIONS: &str =
    "SELECT as_id, event_ids FROM application_services_txns ORDER BY as_id, txn_id";

/// Writes `outbox.jsonl`.
pub(super) async fn write(
    db: &mut Connection,
    writer: &DumpWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let mut outbox = writer.outbox();
    messages_to_servers(db, &mut outbox, tally).await?;
    let tables: [(_, _, _, Decode); 3] = [
        ("destination_rooms", EVENTS, Kind::QueuedEvent, event),
        ("device_lists_outbound_pokes", DEVICE_LISTS, Kind::QueuedDeviceList, device_list),
        ("application_services_txns", TRANSACTIONS, Kind::QueuedEvent, transaction),
    ];
    for (table, sql, kind, decode) in tables {
        let mut newest = Newest::new(&mut outbox, tally, kind);
        db.each(table, sql, &[], |row| newest.row(row, decode)).await?;
        newest.finish()?;
    }
    Ok(writer.finish_outbox(outbox)?)
}

/// To-device messages. One is in memory at a time.
async fn messages_to_servers(
    db: &mut Connection,
    outbox: &mut OutboxWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let table = "device_federation_outbox";
    let sql = "SELECT destination, count(*) FROM device_federation_outbox \
               GROUP BY destination ORDER BY destination";
    for row in db.rows(table, sql, &[]).await? {
        let (destination, number) = (row.label(), row.integer(1).unwrap_or(1));
        let number = u64::try_from(number).unwrap_or(1);
        let Ok(server) = ServerName::parse(&*destination) else {
            let detail = "their destination is no server name";
            tally.rows.met(table, "", number);
            tally.rows.left_out(table, "id-invalid", number);
            tally.leave_out(Kind::QueuedMessage, number, destination, "id-invalid", detail);
            continue;
        };
        let older = number.saturating_sub(count(MOST));
        leave_out_older(tally, Kind::QueuedMessage, older, &destination);
        if older > 0 {
            tally.rows.met(table, "", older);
            tally.rows.left_out(table, "too-many-waiting", older);
        }
        messages_to(db, server, older, outbox, tally).await?;
    }
    Ok(())
}

/// Those for one server, without the oldest.
async fn messages_to(
    db: &mut Connection,
    server: OwnedServerName,
    older: u64,
    outbox: &mut OutboxWriter,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let mut items =
        Items::new(tally, Kind::QueuedMessage, server.as_str()).of("device_federation_outbox");
    let mut written = Ok(());
    let sql = "SELECT messages_json FROM device_federation_outbox WHERE destination = $1 \
               ORDER BY stream_id LIMIT $2 OFFSET $3";
    let [limit, older] = [count(MOST), older].map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let params = [server.as_str().into(), limit.into(), older.into()];
    db.each("device_federation_outbox", sql, &params, |row| {
        let Some((content,)) = items.one::<(Box<RawValue>,)>(row) else { return };
        if written.is_ok() {
            written = outbox.item(&DumpOutgoing::ToDevice { server: server.clone(), content });
            items.written(1);
        }
    })
    .await?;
    Ok(written?)
}

/// A row as the items that it stands for, all of one destination.
type Decode = fn(Row<'_>) -> Result<(String, Vec<DumpOutgoing>), BrokenRow>;

fn event(row: Row<'_>) -> Result<(String, Vec<DumpOutgoing>), BrokenRow> {
    let (server, room_id, event_id) =
        row.decode::<(OwnedServerName, OwnedRoomId, OwnedEventId)>()?;
    Ok((server.to_string(), vec![DumpOutgoing::Event { server, room_id, event_id }]))
}

fn device_list(row: Row<'_>) -> Result<(String, Vec<DumpOutgoing>), BrokenRow> {
    let (server, user_id) = row.decode::<(OwnedServerName, OwnedUserId)>()?;
    Ok((server.to_string(), vec![DumpOutgoing::DeviceList { server, user_id }]))
}

fn transaction(row: Row<'_>) -> Result<(String, Vec<DumpOutgoing>), BrokenRow> {
    let (appservice, events) = row.decode::<(String, String)>()?;
    let events: Vec<OwnedEventId> = serde_json::from_str(&events)
        .map_err(|_| BrokenRow::new("event_ids", "json-invalid", "a list of event ids"))?;
    let item = |event_id| DumpOutgoing::Appservice { appservice: appservice.clone(), event_id };
    let items = events.into_iter().map(item).collect();
    Ok((appservice, items))
}

fn event_of(item: &DumpOutgoing) -> Option<&OwnedEventId> {
    match item {
        DumpOutgoing::Event { event_id, .. } | DumpOutgoing::Appservice { event_id, .. } => {
            Some(event_id)
        }
        _ => None,
    }
}

/// Writes the newest items of each destination. Rows must come by destination, oldest first.
struct Newest<'a> {
    outbox: &'a mut OutboxWriter,
    tally: &'a mut Tally,
    kind: Kind,
    destination: String,
    items: VecDeque<DumpOutgoing>,
    /// Events that wait for the destination: a table whose index is broken has some twice.
    events: BTreeSet<OwnedEventId>,
    older: u64,
    written: Result<(), WriteError>,
}

impl<'a> Newest<'a> {
    fn new(outbox: &'a mut OutboxWriter, tally: &'a mut Tally, kind: Kind) -> Self {
        let (destination, items, events) = (String::new(), VecDeque::new(), BTreeSet::new());
        Self { outbox, tally, kind, destination, items, events, older: 0, written: Ok(()) }
    }

    fn row(&mut self, row: Row<'_>, decode: Decode) {
        match decode(row) {
            Err(broken) => Items::new(self.tally, self.kind, "").broken(row, &broken),
            Ok((destination, items)) => {
                if destination != self.destination {
                    self.end_destination();
                    self.destination = destination;
                }
                for item in items {
                    if event_of(&item).is_none_or(|event| self.events.insert(event.to_owned())) {
                        self.items.push_back(item);
                    } else {
                        let name = format!("an event for {}", self.destination);
                        let mut items = Items::new(self.tally, self.kind, "");
                        items.read(1);
                        items.twice(&name);
                    }
                }
                let older = self.items.len().saturating_sub(MOST);
                self.items.drain(..older);
                self.older = self.older.saturating_add(count(older));
            }
        }
    }

    fn end_destination(&mut self) {
        self.events.clear();
        let older = std::mem::take(&mut self.older);
        leave_out_older(self.tally, self.kind, older, &self.destination);
        for item in self.items.drain(..) {
            if self.written.is_ok() {
                self.tally.read(self.kind, 1);
                self.tally.written(self.kind, 1);
                self.written = self.outbox.item(&item);
            }
        }
    }

    fn finish(mut self) -> Result<(), WriteError> {
        self.end_destination();
        self.written
    }
}

fn leave_out_older(tally: &mut Tally, kind: Kind, number: u64, destination: &str) {
    let detail = format!("only the newest {MOST} that wait for one destination are moved");
    tally.leave_out(kind, number, format!("for {destination}"), "too-many-waiting", detail);
}

#[cfg(test)]
mod tests;
