//! Rooms, and what is wrong with their states and memberships.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, RoomId, ServerName};

use super::queries;
use crate::{
    counted::count,
    dump::format::SourceKind,
    source::survey::RoomFacts,
    synapse::database::{
        DatabaseError, Facts,
        connection::Connection,
        memberships::{self, Difference},
        rooms::version_by_create_event,
        row::row,
    },
};

row! {
    /// A room that a local user has to do with.
    struct SurveyedRoomRow {
        room_id: String,
        /// Its name, or an alias.
        name: Option<String>,
        version: Option<String>,
        /// Local users who are in it.
        joined: i64,
        /// Create events in its present state that Synapse has.
        create_events: i64,
        /// 1 if it has a present state.
        has_state: i64,
        /// Whether Synapse is still fetching its state.
        partial: i64,
    }
}

/// All rooms that a local user has to do with, sorted.
pub(super) async fn read(
    db: &mut Connection,
    facts: &Facts,
) -> Result<Vec<RoomFacts>, DatabaseError> {
    let Facts { schema, config, senders, .. } = facts;
    let name = if schema.has_table("room_stats_state") {
        "(SELECT MAX(COALESCE(s.name, s.canonical_alias)) FROM room_stats_state s WHERE s.room_id = m.room_id)"
    } else {
        "NULL"
    };
    let partial = if schema.has_table("partial_state_rooms") {
        "(SELECT COUNT(*) FROM partial_state_rooms p WHERE p.room_id = m.room_id)"
    } else {
        "0"
    };
    let sql = format!(
        "SELECT m.room_id, \
         COALESCE({name}, (SELECT MIN(a.room_alias) FROM room_aliases a WHERE a.room_id = m.room_id)), \
         (SELECT MAX(r.room_version) FROM rooms r WHERE r.room_id = m.room_id), m.joined, \
         (SELECT COUNT(*) FROM current_state_events c JOIN event_json ej ON ej.event_id = c.event_id \
          WHERE c.room_id = m.room_id AND c.type = 'm.room.create' AND c.state_key = '' \
          AND NOT EXISTS (SELECT 1 FROM rejections x WHERE x.event_id = c.event_id)), \
         (SELECT COUNT(*) FROM (SELECT 1 FROM current_state_events c WHERE c.room_id = m.room_id LIMIT 1) AS any_state), \
         {partial} FROM "
    );
    let by_members = "(SELECT room_id, SUM(CASE WHEN membership = 'join' THEN 1 ELSE 0 END) AS joined \
                      FROM local_current_membership GROUP BY room_id) m";
    let table = "local_current_membership";
    let mut rows = db.rows(table, &format!("{sql}{by_members}"), &[]).await?;
    // Rooms that only their states know have somebody in them.
    let one = format!("{sql}(SELECT CAST($1 AS TEXT) AS room_id, CAST($2 AS BIGINT) AS joined) m");
    for room in memberships::rooms_of_state(db, senders).await? {
        let is_joined = match <&RoomId>::try_from(room.as_str()) {
            Ok(id) => {
                has_state(db, id).await?
                    || memberships::is_joined_by_events(db, &config.server_name, id).await?
            }
            Err(_) => true,
        };
        let params = [room.as_str().into(), i64::from(is_joined).into()];
        rows.extend(db.rows(table, &one, &params).await?);
    }
    let mut rooms = Vec::with_capacity(rows.len());
    for row in &rows {
        let Ok(row) = row.decode::<SurveyedRoomRow>() else {
            rooms.push(RoomFacts { room_id: row.label(), ..RoomFacts::default() });
            continue;
        };
        let mut version = row.version.filter(|version| !version.is_empty());
        if let (None, Ok(id)) = (&version, <&RoomId>::try_from(row.room_id.as_str())) {
            version = version_by_create_event(db, id).await?;
        }
        rooms.push(RoomFacts {
            room_id: row.room_id,
            name: row.name.filter(|name| !name.is_empty()),
            version,
            joined: u64::try_from(row.joined).unwrap_or(0),
            created: Some(row.create_events > 0),
            stateless: row.has_state == 0,
            partial: row.partial > 0,
        });
    }
    rooms.sort();
    Ok(rooms)
}

async fn has_state(db: &mut Connection, room_id: &RoomId) -> Result<bool, DatabaseError> {
    let (table, id) = ("current_state_events", room_id.as_str().into());
    let sql = "SELECT 1 FROM current_state_events WHERE room_id = $1 LIMIT 1";
    Ok(!db.rows(table, sql, &[id]).await?.is_empty())
}

/// The room of the alias `#admins:NAME`.
pub(super) async fn admins(
    db: &mut Connection,
    server_name: &ServerName,
) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT room_id FROM room_aliases WHERE room_alias = $1";
    let alias = format!("#admins:{server_name}");
    Ok(queries::names(db, "room_aliases", sql, &[alias.as_str().into()]).await?.pop())
}

/// Aliases of other servers.
pub(super) async fn foreign_aliases(
    db: &mut Connection,
    server_name: &ServerName,
) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT room_alias FROM room_aliases \
               WHERE substr(room_alias, length(room_alias) - length($1) + 1) <> $1";
    let suffix = format!(":{server_name}");
    queries::names(db, "room_aliases", sql, &[suffix.as_str().into()]).await
}

/// Rooms of which the table of memberships does not say what their present states say, and what.
pub(super) async fn membership_conflicts(
    db: &mut Connection,
    senders: &BTreeMap<OwnedUserId, String>,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let mut rooms: BTreeMap<String, ([u64; 3], String)> = BTreeMap::new();
    for one in memberships::disagreements(db, senders).await? {
        let ([of_state, of_events, other], user) = rooms.entry(one.room).or_default();
        let count = match one.difference {
            Difference::OnlyState => of_state,
            Difference::OnlyEvents => of_events,
            Difference::OtherEvent => other,
        };
        *count = count.saturating_add(1);
        *user = one.user;
    }
    let text = |([of_state, of_events, other], user): ([u64; 3], String)| {
        let all = [
            (of_state, "only in the state"),
            (of_events, "only in member events (an invite, or a room that was left)"),
            (other, "of another event than the state's"),
        ];
        let told = all.iter().filter(|(number, _)| *number > 0);
        let told: Vec<_> = told.map(|(number, what)| format!("{number} {what}")).collect();
        format!("memberships {}, for example that of {user}", told.join(", "))
    };
    Ok(rooms.into_iter().map(|(room, counts)| (room, text(counts))).collect())
}

/// Rows of present states that the dump will leave out.
pub(super) async fn broken_state(
    db: &mut Connection,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let types = match db.kind() {
        SourceKind::Sqlite => {
            " OR typeof(event_id) <> 'text' OR typeof(type) <> 'text' OR typeof(state_key) <> 'text'"
        }
        SourceKind::Postgres | SourceKind::Api => "",
    };
    let sql = format!(
        "SELECT room_id, COUNT(*) FROM current_state_events WHERE substr(event_id, 1, 1) <> '$'{types} \
         OR event_id IS NULL OR type IS NULL OR state_key IS NULL GROUP BY room_id"
    );
    let rows = queries::numbers(db, "current_state_events", &sql, &[]).await?;
    Ok(rows.into_iter().map(|(room, rows)| (room, count(rows, "row"))).collect())
}
