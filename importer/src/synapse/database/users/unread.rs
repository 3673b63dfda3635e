//! What is unread, as Synapse counts it for `/sync`.
//!
//! `event_push_actions` has a row for each event that notifies or highlights. From time to time Synapse adds the older
//! ones up in `event_push_summary` and deletes them, but for highlights. What counts is what comes after the user's
//! receipt for the thread, or else for the whole room, or else after the user's join.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedRoomId;

use super::{batch::UserTables, receipts};
use crate::{
    dump::format::DumpUnread,
    synapse::database::{
        DatabaseError,
        counter::Items,
        row::{Row, row},
        schema::Schema,
    },
    tally::{Kind, Tally},
};

/// A column of numbers that is not there.
const NO_NUMBER: &str = "CAST(NULL AS BIGINT)";

/// From where on users' joined rooms (`base`) and their threads (`threaded`) are unread, in the order of the stream.
const RECEIPTS: &str = "\
    WITH receipts AS (\
    SELECT user_id, room_id, $RECEIPT_THREAD AS thread_id, event_id, $RECEIPT_POSITION AS event_stream_ordering \
    FROM receipts_linearized \
    WHERE user_id IN ($IDS) AND receipt_type IN ('m.read', 'm.read.private', '$UNSTABLE')), \
    unthreaded AS (\
    SELECT r.user_id, r.room_id, MAX(e.stream_ordering) AS position FROM receipts r \
    JOIN events e ON e.event_id = r.event_id AND e.room_id = r.room_id \
    WHERE r.thread_id IS NULL GROUP BY r.user_id, r.room_id), \
    threaded AS (\
    SELECT user_id, room_id, thread_id, MAX(event_stream_ordering) AS position FROM receipts \
    WHERE thread_id IS NOT NULL GROUP BY user_id, room_id, thread_id), \
    base AS (\
    SELECT l.user_id, l.room_id, COALESCE(u.position, e.stream_ordering) AS position \
    FROM local_current_membership l \
    LEFT JOIN unthreaded u ON u.user_id = l.user_id AND u.room_id = l.room_id \
    LEFT JOIN events e ON e.event_id = l.event_id \
    WHERE l.user_id IN ($IDS) AND l.membership = 'join') ";

/// Sums that no newer receipt has made obsolete.
const SUMMARIES: &str = "\
    SELECT s.room_id, COALESCE($THREAD, 'main'), s.notif_count, s.user_id FROM event_push_summary s \
    JOIN base b ON b.user_id = s.user_id AND b.room_id = s.room_id \
    LEFT JOIN threaded t ON t.user_id = s.user_id AND t.room_id = s.room_id AND t.thread_id = $THREAD \
    AND t.position > b.position \
    WHERE s.user_id IN ($IDS) AND (s.notif_count <> 0 OR COALESCE(s.unread_count, 0) <> 0) \
    AND ($LAST_RECEIPT = COALESCE(t.position, b.position) \
    OR ($LAST_RECEIPT IS NULL AND s.stream_ordering > COALESCE(t.position, b.position)))";

row! {
    /// A thread's events that notify or highlight.
    struct ActionsRow {
        room_id: OwnedRoomId,
        thread: String,
        /// How many notify since the receipt.
        since_receipt: u64,
        /// How many notify and are not in the summaries yet.
        since_summary: u64,
        /// How many highlight since the receipt.
        highlights: u64,
    }
}

/// [`ActionsRow`]s.
const ACTIONS: &str = "\
    SELECT a.room_id, COALESCE($THREAD, 'main'), \
    COUNT(CASE WHEN a.notif = 1 AND a.stream_ordering > COALESCE(t.position, b.position) THEN 1 END), \
    COUNT(CASE WHEN a.notif = 1 AND a.stream_ordering > \
    (SELECT COALESCE(MAX(stream_ordering), 0) FROM event_push_summary_stream_ordering) THEN 1 END), \
    COUNT(CASE WHEN a.highlight = 1 AND a.stream_ordering > COALESCE(t.position, b.position) THEN 1 END), \
    a.user_id \
    FROM event_push_actions a JOIN base b ON b.user_id = a.user_id AND b.room_id = a.room_id \
    LEFT JOIN threaded t ON t.user_id = a.user_id AND t.room_id = a.room_id AND t.thread_id = $THREAD \
    AND t.position > b.position \
    WHERE a.user_id IN ($IDS) GROUP BY a.user_id, 1, 2";

/// The receipts, where columns that came with Synapse 1.63 to 1.68 may be missing: all of that is schema 72.
fn receipts_sql(schema: &Schema) -> String {
    let table = "receipts_linearized";
    RECEIPTS
        .replace("$UNSTABLE", receipts::UNSTABLE)
        .replace("$RECEIPT_THREAD", schema.thread_id(table))
        .replace("$RECEIPT_POSITION", schema.column(table, "event_stream_ordering", NO_NUMBER))
}

fn summaries_sql(schema: &Schema) -> String {
    let table = "event_push_summary";
    let last = schema.column(table, "last_receipt_stream_ordering", NO_NUMBER);
    let rest = SUMMARIES
        .replace("$THREAD", &of("s", schema.thread_id(table)))
        .replace("$LAST_RECEIPT", last);
    format!("{}{rest}", receipts_sql(schema))
}

fn actions_sql(schema: &Schema) -> String {
    let rest = ACTIONS.replace("$THREAD", &of("a", schema.thread_id("event_push_actions")));
    format!("{}{rest}", receipts_sql(schema))
}

/// A column of one of several tables, or what stands for it.
fn of(table: &str, column: &str) -> String {
    if column == "thread_id" { format!("{table}.{column}") } else { column.to_owned() }
}

pub(super) async fn read(
    tables: &mut UserTables<'_>,
    schema: &Schema,
    tally: &mut Tally,
) -> Result<Vec<DumpUnread>, DatabaseError> {
    let sql = summaries_sql(schema);
    let summaries = tables.rows("event_push_summary", &sql).await?;
    let sql = actions_sql(schema);
    let actions = tables.rows("event_push_actions", &sql).await?;

    let mut rooms: BTreeMap<OwnedRoomId, (u64, u64)> = BTreeMap::new();
    let mut add = |room: OwnedRoomId, notifications: u64, highlights: u64| {
        let counts = rooms.entry(room).or_default();
        counts.0 = counts.0.saturating_add(notifications);
        counts.1 = counts.1.saturating_add(highlights);
    };
    let mut items = Items::new(tally, Kind::UnreadCount, tables.id.as_str());
    let mut summarised = BTreeSet::new();
    for row in &summaries {
        match row.decode::<(OwnedRoomId, String, u64)>() {
            Ok((room, thread, number)) => {
                add(room.clone(), number, 0);
                summarised.insert((room, thread));
            }
            Err(broken) => items.broken(Row::Kept(row), &broken),
        }
    }
    for row in &actions {
        match row.decode::<ActionsRow>() {
            Ok(ActionsRow { room_id, thread, since_receipt, since_summary, highlights }) => {
                let is_summarised = summarised.contains(&(room_id.clone(), thread));
                let notifications = if is_summarised { since_summary } else { since_receipt };
                add(room_id, notifications, highlights);
            }
            Err(broken) => items.broken(Row::Kept(row), &broken),
        }
    }

    let unread = rooms.into_iter().filter(|(_, counts)| *counts != (0, 0));
    let unread: Vec<_> = unread
        .map(|(room_id, (notifications, highlights))| DumpUnread {
            room_id,
            notifications,
            highlights,
        })
        .collect();
    items.read(unread.len());
    items.written(unread.len());
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{dump::History, synapse::database::testing::Fixture};

    /// The join at 10; what has happened at which position, and what `/sync` would say.
    async fn unread(statements: &[&str]) -> serde_json::Value {
        let mut fixture = Fixture::new();
        for statement in [
            "INSERT INTO events VALUES (10, 1, '$join', 'm.room.member', '!r:own.test', FALSE, 1, '@alice:own.test')",
            "INSERT INTO events VALUES (20, 2, '$read', 'm.room.message', '!r:own.test', FALSE, 1, '@bob:own.test')",
            "INSERT INTO local_current_membership VALUES ('!r:own.test', '@alice:own.test', '$join', 'join')",
            "INSERT INTO event_push_summary_stream_ordering VALUES (50)",
        ] {
            fixture.sql(statement);
        }
        for statement in statements {
            fixture.sql(statement);
        }
        let dump = fixture.dump(History::Recent).await;
        dump.users[0]["unread"].clone()
    }

    fn action(position: u64, notif: u8, highlight: u8, thread: &str) -> String {
        format!(
            "INSERT INTO event_push_actions VALUES ('!r:own.test', '${position}', '@alice:own.test', {position}, {notif}, {highlight}, '{thread}')"
        )
    }

    fn receipt(event: &str, position: &str, thread: &str) -> String {
        format!(
            "INSERT INTO receipts_linearized VALUES (1, '!r:own.test', 'm.read.private', '@alice:own.test', '{event}', '{{\"ts\":1}}', {position}, {thread})"
        )
    }

    fn counts(notifications: u64, highlights: u64) -> serde_json::Value {
        json!([{"room_id": "!r:own.test", "notifications": notifications, "highlights": highlights}])
    }

    #[tokio::test]
    async fn what_comes_after_the_join_or_the_receipt_counts_threads_included() {
        let actions =
            [action(5, 1, 1, "main"), action(15, 1, 0, "main"), action(25, 1, 1, "$root")];
        let mut statements: Vec<_> = actions.iter().map(String::as_str).collect();
        assert_eq!(unread(&statements).await, counts(2, 1));
        let read = receipt("$read", "20", "NULL");
        statements.push(&read);
        assert_eq!(unread(&statements).await, counts(1, 1));
        let thread = receipt("$25", "25", "'$root'");
        statements.push(&thread);
        assert_eq!(unread(&statements).await, json!(null));
    }

    #[tokio::test]
    async fn a_private_receipt_counts_by_its_name_of_before_too() {
        let action = action(15, 1, 0, "main");
        let read = receipt("$read", "20", "NULL");
        let unstable = read.replace("m.read.private", super::receipts::UNSTABLE);
        assert_ne!(read, unstable);
        assert_eq!(unread(&[&action]).await, counts(1, 0));
        assert_eq!(unread(&[&action, &unstable]).await, json!(null));
    }

    #[tokio::test]
    async fn a_sum_counts_until_a_receipt_is_newer() {
        let summary = "INSERT INTO event_push_summary VALUES ('@alice:own.test', '!r:own.test', 7, 50, 0, 10, 'main')";
        let old = action(40, 1, 1, "main");
        let new = action(60, 1, 0, "main");
        assert_eq!(unread(&[summary, &old, &new]).await, counts(8, 1));
        let read = receipt("$read", "20", "NULL");
        assert_eq!(unread(&[summary, &old, &new, &read]).await, counts(2, 1));
    }

    #[tokio::test]
    async fn rooms_that_the_user_has_left_do_not_count() {
        let left = "UPDATE local_current_membership SET membership = 'leave'";
        assert_eq!(unread(&[left, &action(15, 1, 0, "main")]).await, json!(null));
    }
}
