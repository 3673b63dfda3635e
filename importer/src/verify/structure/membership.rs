//! Memberships of a room: the rows against its current state, and the counts of rows.
//!
//! Rows must not join whom the state does not. A local user whom the state joins may have lesser rows: the import follows
//! Synapse's table of memberships there, which is a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, events::Known, states};
use crate::{
    conduit::{
        schema::{
            pdu_id::PduCount,
            shapes::{self, RoomServer, RoomUser, User, UserRoom},
            table::{Shape, Table},
            trees,
        },
        store::KvRead,
    },
    counted::counted,
    findings::{codes, collector::Findings},
    verify::{
        VerifyError,
        tools::{
            lookup::{beginning, get},
            parts::{self, Part},
            since_import::SinceImport,
            state_layers::State,
        },
    },
};

/// What the rows of a room say of each user.
type Rows = BTreeMap<String, Vec<&'static str>>;

/// A room and who is in it.
struct Room<'a> {
    store: &'a dyn KvRead,
    server_name: &'a str,
    id: &'a str,
    /// Memberships by the current state.
    members: BTreeMap<String, &'static str>,
    /// Whether a user of this server is joined. If not, the state is one of the past.
    inside: bool,
}

pub(in crate::verify) fn check(
    store: &dyn KvRead,
    context: &Context<'_>,
    id: &str,
    state: &State,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let Context { server_name, since, events } = *context;
    let mut joins = BTreeMap::new();
    let mut members = BTreeMap::new();
    for (key, event) in state.entries() {
        let Some((kind, user)) = states::key_name(store, key)? else { continue };
        if kind == "m.room.member" {
            let membership = events.get_short(event).map(Known::membership);
            if membership == Some("join") && since.is_imported() && !since.is_new(event) {
                joins.insert(user.clone(), event);
            }
            members.extend(membership.map(|membership| (user, membership)));
        }
    }
    let inside = members
        .iter()
        .any(|(user, membership)| *membership == "join" && server_of(user) == server_name);
    let room = Room { store, server_name, id, members, inside };
    for user in room.members.keys() {
        if get(store, &trees::USERID_PASSWORD, &User { user })?.is_none() {
            found.add(
                &codes::MEMBERSHIP_ROWS_WRONG,
                user,
                "is a member and has no row in `userid_password`",
            );
        }
    }
    let rows = room.rows()?;
    room.compare(&rows, found);
    room.counts(&rows, found)?;
    room.joined(&joins, since, found)?;
    room.servers(&rows, found)
}

/// Joined rows of rooms that Conduit has no number for: every idle sync of such a user fails
/// (src/database/key_value/globals.rs:83-91).
pub(in crate::verify) fn check_rooms_exist(
    store: &dyn KvRead,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let of_row = |store: &dyn KvRead, key: &[u8], found: &mut Findings| {
        let Ok(RoomUser { room, user }) = trees::ROOMUSERID_JOINED.read_key(key) else {
            return Ok(());
        };
        if get(store, &trees::ROOMID_SHORTROOMID, &shapes::Room { room })?.is_none() {
            let text = "has joined a room that does not exist";
            found.add(&codes::MEMBERSHIP_ROWS_WRONG, format!("{user} in {room}"), text);
        }
        if get(store, &trees::ROOMUSERONCEJOINEDIDS, &UserRoom { user, room })?.is_none() {
            let text = "is joined and has no row in `roomuseroncejoinedids`";
            found.add(&codes::MEMBERSHIP_ROWS_WRONG, format!("{user} in {room}"), text);
        }
        Ok(())
    };
    let of_part = |store: &dyn KvRead, part: Part| {
        let mut found = Findings::default();
        part.each(store, |key, _| of_row(store, key, &mut found))?;
        Ok(found)
    };
    parts::work(store, Part::of(store, &trees::ROOMUSERID_JOINED)?, of_part, |of_part| {
        found.merge(of_part);
        Ok(())
    })
}

impl Room<'_> {
    /// What the rows by room say of each user. Those by user are their other direction, which `indexes` checks.
    fn rows(&self) -> Result<Rows, VerifyError> {
        let mut rows = Rows::new();
        self.rows_of(&trees::ROOMUSERID_JOINED, "join", &mut rows)?;
        self.rows_of(&trees::ROOMUSERID_INVITECOUNT, "invite", &mut rows)?;
        self.rows_of(&trees::ROOMUSERID_KNOCKCOUNT, "knock", &mut rows)?;
        self.rows_of(&trees::ROOMUSERID_LEFTCOUNT, "leave", &mut rows)?;
        Ok(rows)
    }

    /// Adds the rows of a tree, all of which say the same membership.
    fn rows_of<V: Shape>(
        &self,
        table: &'static Table<RoomUser<'static>, V>,
        membership: &'static str,
        rows: &mut Rows,
    ) -> Result<(), VerifyError> {
        for row in beginning(self.store, table, &RoomUser { room: self.id, user: "" })? {
            let (key, _) = row?;
            if let Ok(RoomUser { user, .. }) = table.read_key(&key) {
                rows.entry(user.to_owned()).or_default().push(membership);
            }
        }
        Ok(())
    }

    fn compare(&self, rows: &Rows, found: &mut Findings) {
        let users: BTreeSet<_> =
            self.members.keys().chain(rows.keys()).map(String::as_str).collect();
        for user in users {
            let membership = self.members.get(user).copied();
            let shown = rows.get(user).map_or(&[][..], Vec::as_slice);
            let fits = match membership {
                // No row at all: forgotten. A row without event: a refused invite.
                None | Some("leave" | "ban") if shown.is_empty() || shown == ["leave"] => true,
                Some(membership) if shown == [membership] => true,
                // An invite from somebody whom the user ignores (src/service/rooms/state_cache/mod.rs:156-187).
                Some("invite") if shown.is_empty() => true,
                // What happens to users of a room that the server has left does not reach its state.
                _ => !self.inside && shown.len() == 1 && shown != ["join"],
            };
            if fits {
                continue;
            }
            let subject = format!("{user} in {}", self.id);
            let text = format!(
                "its state says {}, the rows say {}",
                membership.unwrap_or("nothing"),
                if shown.is_empty() { "nothing".to_owned() } else { shown.join(" and ") }
            );
            let lost = membership == Some("join") && server_of(user) != self.server_name;
            if shown.len() > 1 || shown.contains(&"join") || lost {
                found.add(&codes::MEMBERSHIP_ROWS_WRONG, subject, text);
            } else {
                // A join that Synapse's table contradicts, or an invite that was revoked while the server was not in the
                // room.
                found.add(&codes::MEMBERSHIP_ROWS_LAG, subject, text);
            }
        }
    }

    /// The rows of those who are joined have the count of the join that the import wrote, which other servers read.
    fn joined(
        &self,
        joins: &BTreeMap<String, u64>,
        since: SinceImport,
        found: &mut Findings,
    ) -> Result<(), VerifyError> {
        for (user, short) in joins {
            let key = RoomUser { room: self.id, user };
            let Some(row) = get(self.store, &trees::ROOMUSERID_JOINED, &key)? else { continue };
            // Conduit writes nothing there.
            if row.is_empty() && since.has_run() {
                continue;
            }
            let id = self.store.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())?;
            let place = self.store.get(&trees::EVENTID_PDUID, &id.unwrap_or_default())?;
            let count = place.and_then(|place| PduCount::read(&place)?.1.normal());
            // A join that was outside of the timeline when it was imported has its short id there, fetched or not.
            let is_count = |number: u64| number > 0 && row == number.to_be_bytes();
            if !count.is_some_and(is_count) && !is_count(*short) {
                let text = "its row has not the count of the user's join";
                found.add(&codes::JOIN_COUNT_WRONG, format!("{user} in {}", self.id), text);
            }
        }
        Ok(())
    }

    fn counts(&self, rows: &Rows, found: &mut Findings) -> Result<(), VerifyError> {
        for (membership, tree) in
            [("join", &trees::ROOMID_JOINEDCOUNT), ("invite", &trees::ROOMID_INVITEDCOUNT)]
        {
            let users = rows.values().filter(|shown| shown.contains(&membership)).count();
            let count = get(self.store, tree, &shapes::Room { room: self.id })?;
            let count = count.and_then(|count| count.try_into().ok()).map_or(0, u64::from_be_bytes);
            if u64::try_from(users).ok() != Some(count) {
                let text = format!(
                    "`{tree}` is {count}; {} a row",
                    counted(users, ["user has", "users have"])
                );
                found.add(&codes::MEMBERSHIP_ROWS_WRONG, self.id, text);
            }
        }
        Ok(())
    }

    /// Servers in a room are those of users whose rows join them.
    fn servers(&self, rows: &Rows, found: &mut Findings) -> Result<(), VerifyError> {
        let joined = rows.iter().filter(|(_, shown)| shown.contains(&"join"));
        let expected: BTreeSet<_> = joined.map(|(user, _)| server_of(user).to_owned()).collect();
        let mut stored = BTreeSet::new();
        let of_room = RoomServer { room: self.id, server: "" };
        for row in beginning(self.store, &trees::ROOMSERVERIDS, &of_room)? {
            let (key, _) = row?;
            if let Ok(RoomServer { server, .. }) = trees::ROOMSERVERIDS.read_key(&key) {
                stored.insert(server.to_owned());
            }
        }
        for server in expected.difference(&stored) {
            found.add(
                &codes::MEMBERSHIP_ROWS_WRONG,
                self.id,
                format!("its server {server} has no row"),
            );
        }
        for server in stored.difference(&expected) {
            found.add(
                &codes::MEMBERSHIP_ROWS_WRONG,
                self.id,
                format!("{server} has a row and nobody in it"),
            );
        }
        Ok(())
    }
}

fn server_of(user: &str) -> &str {
    user.split_once(':').map_or("", |(_, server)| server)
}
