//! The head of a room's file.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomId};
use serde_json::value::RawValue;

use super::{
    super::{
        DatabaseError, DatabaseSource,
        counter::Items,
        row::{Known, Row},
    },
    Timeline,
    event_json::Pdu,
    state_groups::{self, Entries},
    stored_event::{COLUMNS, Record, TABLES},
};
use crate::{
    dump::format::{DumpAlias, DumpMember, DumpRoom},
    tally::{Kind, Tally},
};

/// A room's head, with what is needed to go on.
pub(super) struct Head {
    pub(super) room: DumpRoom,
    /// The state that becomes the first one.
    pub(super) current: Option<Entries>,
    pub(super) timeline: Timeline,
}

/// The state after the newest events.
struct Current {
    entries: Option<Entries>,
    /// Whether it is what Synapse takes for the present state; else the server has left.
    is_present: bool,
}

/// What somebody who is invited or knocks was shown of the room.
pub(in crate::synapse::database) fn stripped_state(
    membership: &str,
    json: &str,
) -> Option<Vec<Box<RawValue>>> {
    matches!(membership, "invite" | "knock")
        .then(|| Pdu::unsigned_list(json, &format!("{membership}_room_state")))?
}

impl DatabaseSource {
    pub(super) async fn head(
        &mut self,
        room_id: &RoomId,
        tally: &mut Tally,
    ) -> Result<Head, DatabaseError> {
        let (room_version, published) = self.room_row(room_id).await?;
        if published {
            tally.read(Kind::PublishedRoom, 1);
            tally.written(Kind::PublishedRoom, 1);
        }
        let extremities = self.extremities(room_id).await?;
        let current = self.current_state(room_id, &extremities, tally).await?;
        let positions: Vec<_> = extremities.iter().map(|event| event.position).collect();
        let timeline = self.timeline(room_id, &positions).await?;
        let mut forward_extremities: Vec<OwnedEventId> =
            extremities.into_iter().map(|event| event.event_id).collect();
        forward_extremities.sort();
        forward_extremities.dedup();
        Ok(Head {
            room: DumpRoom {
                room_id: room_id.to_owned(),
                room_version,
                published,
                aliases: self.aliases(room_id, tally).await?,
                current_state: current.entries.is_some().then_some(1),
                forward_extremities,
                earlier_events: Some(timeline.earlier),
                local_members: self.local_members(room_id, &current, tally).await?,
            },
            current: current.entries,
            timeline,
        })
    }

    /// Version, and whether the room is in the directory.
    async fn room_row(
        &mut self,
        room_id: &RoomId,
    ) -> Result<(Option<String>, bool), DatabaseError> {
        let sql = "SELECT room_version, is_public FROM rooms WHERE room_id = $1";
        let rows = self.main.rows("rooms", sql, &[room_id.as_str().into()]).await?;
        let (version, published) = rows
            .first()
            .and_then(|row| row.decode::<(Known<String>, bool)>().ok())
            .map(|(Known(version), published)| (version, published))
            .unwrap_or_default();
        match version.filter(|version| !version.is_empty()) {
            Some(version) => Ok((Some(version), published)),
            None => Ok((self.version_by_create_event(room_id).await?, published)),
        }
    }

    /// Databases from before 2020 may not have the version in `rooms`.
    pub(in super::super) async fn version_by_create_event(
        &mut self,
        room_id: &RoomId,
    ) -> Result<Option<String>, DatabaseError> {
        #[derive(serde::Deserialize)]
        struct Create {
            content: Content,
        }
        #[derive(serde::Deserialize)]
        struct Content {
            room_version: Option<String>,
        }
        let sql = "SELECT e.event_id, ej.json FROM events e JOIN event_json ej ON ej.event_id = e.event_id \
                   LEFT JOIN rejections r ON r.event_id = e.event_id \
                   WHERE r.event_id IS NULL AND e.room_id = $1 AND e.type = 'm.room.create'";
        let rows = self.main.rows("events", sql, &[room_id.as_str().into()]).await?;
        let create = rows
            .first()
            .and_then(|row| row.decode::<(OwnedEventId, Box<RawValue>)>().ok())
            .and_then(|(_, json)| serde_json::from_str::<Create>(json.get()).ok());
        Ok(create.map(|create| create.content.room_version.unwrap_or_else(|| "1".into())))
    }

    /// Forward extremities that a timeline can have, newest last.
    async fn extremities(&mut self, room_id: &RoomId) -> Result<Vec<Record>, DatabaseError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {TABLES} WHERE e.event_id IN \
             (SELECT event_id FROM event_forward_extremities WHERE room_id = $1) ORDER BY e.stream_ordering"
        );
        let rows =
            self.main.rows("event_forward_extremities", &sql, &[room_id.as_str().into()]).await?;
        let events = rows.iter().filter_map(|row| Record::decode(Row::Kept(row)).ok());
        Ok(events
            .filter(|event| event.is_accepted() && event.room_id == room_id.as_str())
            .filter(|event| event.read().is_ok())
            .collect())
    }

    /// The state after the newest events. Synapse forgets which it is when the last local user leaves: then it is that
    /// after the newest extremity, or the newest event, which is that leave.
    async fn current_state(
        &mut self,
        room_id: &RoomId,
        extremities: &[Record],
        tally: &mut Tally,
    ) -> Result<Current, DatabaseError> {
        let mut entries = Entries::new();
        let table = "current_state_events";
        let mut items = Items::new(tally, Kind::State, room_id.as_str());
        let mut number = 0;
        let sql = "SELECT type, state_key, event_id FROM current_state_events WHERE room_id = $1";
        self.main
            .each(table, sql, &[room_id.as_str().into()], |row| {
                type Columns = (String, String, OwnedEventId);
                number = u64::saturating_add(number, 1);
                match row.decode::<Columns>() {
                    Ok((kind, state_key, event_id)) => {
                        entries.insert((kind, state_key), event_id);
                    }
                    Err(broken) => {
                        items.broken(row, &broken);
                        items.row_left_out(table, broken.reason);
                    }
                }
            })
            .await?;
        tally.rows.met(table, room_id.as_str(), number);
        let is_present = !entries.is_empty();
        if entries.is_empty() {
            let group = match extremities.iter().rev().find_map(|event| event.group) {
                Some(group) => Some(group),
                None => self.newest_group(room_id).await?,
            };
            if let Some(group) = group {
                entries = state_groups::whole(self.states_db(), group).await?;
            }
        }
        let entries = Some(entries).filter(|entries| !entries.is_empty());
        Ok(Current { entries, is_present })
    }

    /// Local users whom only the present state knows; in a room without one, those whom only their events know.
    async fn other_members(
        &mut self,
        room_id: &RoomId,
        members: &BTreeMap<OwnedUserId, DumpMember>,
        current: &Current,
    ) -> Result<Vec<DumpMember>, DatabaseError> {
        let first = ("m.room.member".to_owned(), String::new());
        let found: BTreeMap<OwnedUserId, OwnedEventId> = match &current.entries {
            Some(entries) if current.is_present => entries
                .range(first..)
                .take_while(|((kind, _), _)| kind == "m.room.member")
                .filter_map(|((_, user), event)| {
                    Some((OwnedUserId::try_from(user.as_str()).ok()?, event.clone()))
                })
                .collect(),
            _ => self.members_of_events(room_id).await?,
        };
        let missing: Vec<_> = found
            .into_iter()
            .filter(|(user, _)| {
                user.server_name() == self.config.server_name && !members.contains_key(user)
            })
            .collect();
        self.memberships(&missing).await
    }

    async fn newest_group(&mut self, room_id: &RoomId) -> Result<Option<i64>, DatabaseError> {
        let sql = format!(
            "SELECT sg.state_group FROM {TABLES} WHERE e.room_id = $1 AND NOT e.outlier AND r.event_id IS NULL \
             AND sg.state_group IS NOT NULL ORDER BY e.stream_ordering DESC LIMIT 1"
        );
        let rows = self.main.rows("events", &sql, &[room_id.as_str().into()]).await?;
        Ok(rows.first().and_then(|row| row.decode().ok()).map(|(group,)| group))
    }

    /// Aliases that are there twice, for several rooms: one of those that move has each.
    pub(super) async fn aliases_of_several(
        &mut self,
        rooms: &[OwnedRoomId],
    ) -> Result<BTreeMap<String, String>, DatabaseError> {
        // As an expression, so that PostgreSQL does not read it from the index that may be broken.
        let sql = "SELECT room_alias, room_id FROM room_aliases WHERE (room_alias || '') IN \
                   (SELECT (room_alias || '') FROM room_aliases GROUP BY (room_alias || '') HAVING COUNT(*) > 1) \
                   ORDER BY room_id";
        let mut all = self.main.rows("room_aliases", sql, &[]).await?;
        all.retain(|row| {
            row.decode::<(String, OwnedRoomId)>()
                .is_ok_and(|(_, room)| rooms.binary_search(&room).is_ok())
        });
        Ok(all.iter().filter_map(|row| row.decode().ok()).collect())
    }

    async fn aliases(
        &mut self,
        room_id: &RoomId,
        tally: &mut Tally,
    ) -> Result<Vec<DumpAlias>, DatabaseError> {
        let sql = "SELECT room_alias, creator FROM room_aliases WHERE room_id = $1";
        let rows = self.main.rows("room_aliases", sql, &[room_id.as_str().into()]).await?;
        let mut items = Items::new(tally, Kind::Alias, room_id.as_str()).of("room_aliases");
        let mut aliases = Vec::new();
        for (alias, creator) in items.decode::<(OwnedRoomAliasId, Known<String>)>(&rows) {
            if alias.server_name() == self.config.server_name {
                let creator = creator.0.and_then(|creator| OwnedUserId::try_from(creator).ok());
                let other = self.owners.aliases.get(alias.as_str());
                if other.is_some_and(|room| room != room_id.as_str())
                    || aliases.iter().any(|known: &DumpAlias| known.alias == alias)
                {
                    items.twice(alias.as_str());
                } else {
                    aliases.push(DumpAlias { alias, creator });
                }
            } else {
                items.skip(
                    alias.as_str(),
                    "foreign-alias",
                    "the alias belongs to another server name",
                );
            }
        }
        items.written(aliases.len());
        aliases.sort();
        Ok(aliases)
    }

    async fn local_members(
        &mut self,
        room_id: &RoomId,
        current: &Current,
        tally: &mut Tally,
    ) -> Result<Vec<DumpMember>, DatabaseError> {
        type Member = (OwnedUserId, String, OwnedEventId, bool, Known<Box<RawValue>>);
        // Not as joins, which would give a row twice if a broken index lets the other table have two.
        let sql = "SELECT l.user_id, l.membership, l.event_id, \
                   (SELECT m.forgotten FROM room_memberships m WHERE m.event_id = l.event_id LIMIT 1), \
                   CASE WHEN l.membership IN ('invite', 'knock') THEN \
                   (SELECT ej.json FROM event_json ej WHERE ej.event_id = l.event_id LIMIT 1) END \
                   FROM local_current_membership l WHERE l.room_id = $1";
        let table = "local_current_membership";
        let rows = self.main.rows(table, sql, &[room_id.as_str().into()]).await?;
        let mut items = Items::new(tally, Kind::Membership, room_id.as_str()).of(table);
        let mut members = BTreeMap::new();
        for (user_id, membership, event_id, forgotten, Known(json)) in items.decode::<Member>(&rows)
        {
            if user_id.server_name() != self.config.server_name {
                items.skip(
                    user_id.as_str(),
                    "foreign-user",
                    "the user belongs to another server name",
                );
                continue;
            }
            let stripped_state = json.and_then(|json| stripped_state(&membership, json.get()));
            let id = user_id.clone();
            let member = DumpMember { user_id, membership, event_id, forgotten, stripped_state };
            items.put(&mut members, id, member, ToString::to_string);
        }
        let missing = self.other_members(room_id, &members, current).await?;
        let mut items = Items::new(tally, Kind::Membership, room_id.as_str());
        items.read(missing.len());
        items.written(missing.len());
        members.extend(missing.into_iter().map(|member| (member.user_id.clone(), member)));
        Ok(members.into_values().collect())
    }
}
