//! Memberships of a room: the rows against its current state, and the counts of rows.
//!
//! Rows must not join whom the state does not. A local user whom the state joins may have lesser rows: the import follows
//! Synapse's table of memberships there, which is a warning.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Context,
    events::{Known, value_of},
    states,
};
use crate::{
    conduit::{
        schema::{
            layout::Part as Field,
            trees::{self, Tree},
        },
        store::KvRead,
    },
    counted::counted,
    findings::{codes, collector::Found},
    verify::{
        VerifyError,
        tools::{
            parts::{self, Part},
            since_import::SinceImport,
            state_layers::State,
        },
    },
};

/// Rows that say a membership, by room. Those by user are their other direction, which `indexes` checks.
const ROWS: [(&str, &Tree); 4] = [
    ("join", trees::ROOMUSERID_JOINED.tree()),
    ("invite", trees::ROOMUSERID_INVITECOUNT.tree()),
    ("knock", trees::ROOMUSERID_KNOCKCOUNT.tree()),
    ("leave", trees::ROOMUSERID_LEFTCOUNT.tree()),
];

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
    found: &mut Found,
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
        if value_of(store, &trees::USERID_PASSWORD, &[Field::Text(user)])?.is_none() {
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
    found: &mut Found,
) -> Result<(), VerifyError> {
    let of_row = |store: &dyn KvRead, key: &[u8], found: &mut Found| {
        let Ok(fields) = trees::ROOMUSERID_JOINED.decode_key(key) else { return Ok(()) };
        let (room, user) = (fields.text("room"), fields.text("user"));
        if value_of(store, &trees::ROOMID_SHORTROOMID, &[Field::Text(room)])?.is_none() {
            let text = "has joined a room that does not exist";
            found.add(&codes::MEMBERSHIP_ROWS_WRONG, format!("{user} in {room}"), text);
        }
        let key = [Field::Text(user), Field::Text(room)];
        if value_of(store, &trees::ROOMUSERONCEJOINEDIDS, &key)?.is_none() {
            let text = "is joined and has no row in `roomuseroncejoinedids`";
            found.add(&codes::MEMBERSHIP_ROWS_WRONG, format!("{user} in {room}"), text);
        }
        Ok(())
    };
    let of_part = |store: &dyn KvRead, part: Part| {
        let mut found = Found::default();
        part.each(store, |key, _| of_row(store, key, &mut found))?;
        Ok(found)
    };
    parts::work(store, Part::of(store, &trees::ROOMUSERID_JOINED)?, of_part, |of_part| {
        found.merge(of_part);
        Ok(())
    })
}

impl Room<'_> {
    /// What the rows say of each user.
    fn rows(&self) -> Result<BTreeMap<String, Vec<&'static str>>, VerifyError> {
        let mut rows: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (membership, tree) in ROWS {
            let prefix = tree.key(&[Field::Text(self.id), Field::Text("")]);
            for row in self.store.scan(tree, &prefix)? {
                let (key, _) = row?;
                if let Ok(fields) = tree.decode_key(&key) {
                    rows.entry(fields.text("user").to_owned()).or_default().push(membership);
                }
            }
        }
        Ok(rows)
    }

    fn compare(&self, rows: &BTreeMap<String, Vec<&'static str>>, found: &mut Found) {
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
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        for (user, short) in joins {
            let key = [Field::Text(self.id), Field::Text(user)];
            let Some(row) = value_of(self.store, &trees::ROOMUSERID_JOINED, &key)? else {
                continue;
            };
            // Conduit writes nothing there.
            if row.is_empty() && since.has_run() {
                continue;
            }
            let id = self.store.get(&trees::SHORTEVENTID_EVENTID, &short.to_be_bytes())?;
            let place = self.store.get(&trees::EVENTID_PDUID, &id.unwrap_or_default())?;
            let count = place
                .and_then(|place| Some(trees::PDUID_PDU.decode_key(&place).ok()?.u64("count")));
            // A join that was outside of the timeline when it was imported has its short id there, fetched or not.
            let is_count = |number: u64| number > 0 && row == number.to_be_bytes();
            if !count.is_some_and(is_count) && !is_count(*short) {
                let text = "its row has not the count of the user's join";
                found.add(&codes::JOIN_COUNT_WRONG, format!("{user} in {}", self.id), text);
            }
        }
        Ok(())
    }

    fn counts(
        &self,
        rows: &BTreeMap<String, Vec<&'static str>>,
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        for (membership, tree) in
            [("join", &trees::ROOMID_JOINEDCOUNT), ("invite", &trees::ROOMID_INVITEDCOUNT)]
        {
            let users = rows.values().filter(|shown| shown.contains(&membership)).count();
            let count = value_of(self.store, tree, &[Field::Text(self.id)])?;
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
    fn servers(
        &self,
        rows: &BTreeMap<String, Vec<&'static str>>,
        found: &mut Found,
    ) -> Result<(), VerifyError> {
        let joined = rows.iter().filter(|(_, shown)| shown.contains(&"join"));
        let expected: BTreeSet<_> = joined.map(|(user, _)| server_of(user).to_owned()).collect();
        let mut stored = BTreeSet::new();
        let prefix = trees::ROOMSERVERIDS.key(&[Field::Text(self.id), Field::Text("")]);
        for row in self.store.scan(&trees::ROOMSERVERIDS, &prefix)? {
            let (key, _) = row?;
            if let Ok(fields) = trees::ROOMSERVERIDS.decode_key(&key) {
                stored.insert(fields.text("server").to_owned());
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
