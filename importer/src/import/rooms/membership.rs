//! Who is in a room: the membership trees, counts and servers, from the present state. For local users Synapse's own
//! table of memberships decides, except that nobody is joined whom the state does not join: the state is what Conduit
//! authorises by. Where the two contradict each other, the user thus sees the less; `verify` warns of it.
//!
//! | present membership | rows |
//! |---|---|
//! | join | joined (both directions) |
//! | invite, knock | stripped state and count; remote users have an empty stripped state |
//! | leave, ban | an empty state and a count; none if a local user has forgotten the room, or has refused the invite to a room that the server is not in |
//!
//! Like Conduit, the import leaves out invites from users whom the invited one ignores
//! (src/service/rooms/state_cache/mod.rs:156-187); Synapse doesn't show them either.
//!
//! Everybody who ever joined has a row that says so, and every remote user an account without password
//! (src/service/rooms/state_cache/mod.rs:28-202, src/database/key_value/rooms/state_cache.rs:18-180).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    EventId, OwnedEventId, OwnedUserId, RoomId, UserId,
    events::ignored_user_list::IgnoredUserListEventContent,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    conduit::schema::{
        shapes::{
            AccountDataType, AsSent, Count, Joined, KeyChange, Number, PasswordHash, Room,
            RoomServer, RoomUser, ServerRoom, User, UserRoom,
        },
        table::Table,
        trees,
    },
    dump::format::{DumpMember, DumpRoom},
    import::{
        ImportError,
        events::event::{self, Event},
        row_writer::Rows,
        skip::SkipReason,
    },
    tally::{Kind, Tally},
};

/// State that goes into an invite, in Conduit's order.
const STRIPPED: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// The members of one room.
#[derive(Debug)]
pub(super) struct Members<'a> {
    room: &'a RoomId,
    server_name: &'a str,
    /// Local users by Synapse's table.
    local: BTreeMap<&'a UserId, &'a DumpMember>,
    /// Local users who are joined by the present state, with the counts of their joins.
    joined_in_state: BTreeMap<OwnedUserId, u64>,
    /// Local users of the present state, some of whom may have accounts that nobody knows of.
    in_state: BTreeSet<OwnedUserId>,
    /// Present state that goes into invites, by type.
    stripped: BTreeMap<&'static str, Value>,
    /// Stripped member events of the table's invites and knocks.
    invites: BTreeMap<OwnedEventId, Value>,
    /// Whether the server is not in the room.
    is_outside: bool,
    servers: BTreeSet<String>,
    /// Everybody who is joined.
    joined: BTreeSet<OwnedUserId>,
    invited: u64,
}

impl<'a> Members<'a> {
    pub(super) fn new(head: &'a DumpRoom, server_name: &'a str) -> Self {
        let local = head.local_members.iter().map(|member| (&*member.user_id, member)).collect();
        Self {
            room: &head.room_id,
            server_name,
            local,
            joined_in_state: BTreeMap::new(),
            in_state: BTreeSet::new(),
            stripped: BTreeMap::new(),
            invites: BTreeMap::new(),
            is_outside: head.current_state.is_none(),
            servers: BTreeSet::new(),
            joined: BTreeSet::new(),
            invited: 0,
        }
    }

    /// Looks at an event of the room; `current` is its count if it is in the present state.
    pub(super) fn event(
        &mut self,
        event: &Event,
        current: Option<u64>,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        if current.is_some() && event.state_key.as_deref() == Some("") {
            let kind = STRIPPED.into_iter().find(|kind| *kind == event.kind);
            self.stripped.extend(kind.map(|kind| (kind, event.stripped())));
        }
        let Some((user, membership)) = event.membership() else { return Ok(()) };
        if membership == "join" {
            let key = UserRoom { user: user.as_str(), room: self.room.as_str() };
            rows.mark(&trees::ROOMUSERONCEJOINEDIDS, &key)?;
        }
        self.invite(&event.id, &user, || Some(event.stripped()));
        let Some(count) = current else { return Ok(()) };
        if user.server_name() != self.server_name {
            let id = User { user: user.as_str() };
            rows.put(&trees::USERID_PASSWORD, &id, &PasswordHash { hash: "" })?;
            return self.write(&user, membership, count, &Value::Array(Vec::new()), rows);
        }
        if membership == "join" {
            self.joined_in_state.insert(user.clone(), count);
        }
        if !self.local.contains_key(&*user) {
            self.write(&user, membership, count, &Value::Array(Vec::new()), rows)?;
        }
        self.in_state.insert(user);
        Ok(())
    }

    /// Remembers the member event of an invite or knock of the table.
    pub(super) fn invite(
        &mut self,
        id: &EventId,
        user: &UserId,
        stripped: impl FnOnce() -> Option<Value>,
    ) {
        let wanted = self.local.get(user).filter(|member| {
            member.event_id == id && ["invite", "knock"].contains(&member.membership.as_str())
        });
        let event = wanted.and_then(|_| stripped());
        self.invites.extend(event.map(|event| (id.to_owned(), event)));
    }

    /// Writes the memberships of local users, counts and servers. Gives the servers in the room, and the local users
    /// of its state.
    pub(super) fn finish(
        mut self,
        rows: &mut Rows<'_>,
        tally: &mut Tally,
    ) -> Result<(BTreeSet<String>, BTreeSet<OwnedUserId>), ImportError> {
        for member in std::mem::take(&mut self.local).into_values() {
            match self.local_member(member, rows)? {
                None => tally.written(Kind::Membership, 1),
                Some(reason) => {
                    let item = format!("{} in {}", member.user_id, self.room);
                    tally.leave(Kind::Membership, item, reason);
                }
            }
        }
        let room = self.room.as_str();
        let joined = u64::try_from(self.joined.len()).unwrap_or(u64::MAX);
        rows.put(&trees::ROOMID_JOINEDCOUNT, &Room { room }, &Number { number: joined })?;
        rows.put(&trees::ROOMID_INVITEDCOUNT, &Room { room }, &Number { number: self.invited })?;
        for server in &self.servers {
            rows.mark(&trees::ROOMSERVERIDS, &RoomServer { room, server })?;
            rows.mark(&trees::SERVERROOMIDS, &ServerRoom { server, room })?;
        }
        if self.stripped.contains_key("m.room.encryption") {
            self.key_changes(rows)?;
        }
        Ok((self.servers, self.in_state))
    }

    /// Notes in an encrypted room that the keys of everybody in it may have changed. A client comes back with a token of
    /// Synapse, which Conduit takes for its first sync; only these rows tell it to ask for keys that changed since it was
    /// last online (src/database/key_value/users.rs:582-657, src/api/client_server/sync.rs:1080-1090).
    fn key_changes(&self, rows: &mut Rows<'_>) -> Result<(), ImportError> {
        for user in &self.joined {
            let key = KeyChange { room_or_user: self.room.as_str(), count: rows.next() };
            rows.put(&trees::KEYCHANGEID_USERID, &key, &User { user: user.as_str() })?;
        }
        Ok(())
    }

    /// Writes a local user's membership, or says why not.
    fn local_member(
        &mut self,
        member: &DumpMember,
        rows: &mut Rows<'_>,
    ) -> Result<Option<SkipReason>, ImportError> {
        let leave = |code, detail| Ok(Some(SkipReason::new(code, detail)));
        let membership = member.membership.as_str();
        let joined = self.joined_in_state.get(&member.user_id).copied();
        let state = match membership {
            "join" if joined.is_none() => {
                let detail = "the room's state does not say that the user is joined; join again";
                return leave("not-joined-in-state", detail);
            }
            "leave" | "ban" if member.forgotten => {
                return leave("forgotten", "the user has forgotten the room");
            }
            "leave" | "ban" if self.is_outside => {
                let detail = "the server is not in the room; Synapse shows refused invites of such rooms to nobody";
                return leave("invite-refused", detail);
            }
            "invite" if self.is_ignored(member, rows)? => {
                let detail = "the user ignores the one who invites, and saw nothing of it";
                return leave("inviter-ignored", detail);
            }
            "invite" | "knock" => {
                let Some(state) = self.invite_state(member) else {
                    let detail = "its event is not in the dump; ask to be invited again";
                    return leave("invite-event-missing", detail);
                };
                state
            }
            "join" | "leave" | "ban" => Vec::new(),
            _ => return leave("membership-unknown", "Conduit has no such membership"),
        };
        let joined = joined.unwrap_or_default();
        self.write(&member.user_id, membership, joined, &Value::Array(state), rows)?;
        Ok(None)
    }

    /// Whether an invited user ignores the sender of the invite.
    fn is_ignored(&self, member: &DumpMember, rows: &mut Rows<'_>) -> Result<bool, ImportError> {
        #[derive(Deserialize)]
        struct AccountData {
            content: IgnoredUserListEventContent,
        }
        let sender = self.invites.get(&member.event_id).and_then(|invite| invite.get("sender"));
        let Some(sender) = sender.and_then(Value::as_str) else { return Ok(false) };
        let user = member.user_id.as_str();
        let key = AccountDataType { room: "", user, r#type: "m.ignored_user_list" };
        let key = trees::ROOMUSERTYPE_ROOMUSERDATAID.key_of(&key);
        let Some(id) = rows.get(&trees::ROOMUSERTYPE_ROOMUSERDATAID, &key)? else {
            return Ok(false);
        };
        let data = rows.get(&trees::ROOMUSERDATAID_ACCOUNTDATA, &id)?.unwrap_or_default();
        let data = serde_json::from_slice::<AccountData>(&data).ok();
        Ok(data.is_some_and(|data| data.content.ignored_users.keys().any(|user| user == sender)))
    }

    /// What an invited or knocking user sees of the room: what came with the invite, or else the present state; and the
    /// member event itself. `None` if that is unknown: without it nobody knows whom to join through.
    fn invite_state(&self, member: &DumpMember) -> Option<Vec<Value>> {
        let given = member.stripped_state.iter().flatten();
        let mut state: Vec<_> = given
            .filter_map(|item| event::stripped(&serde_json::from_str(item.get()).ok()?))
            .collect();
        if state.is_empty() {
            state.extend(STRIPPED.iter().filter_map(|kind| self.stripped.get(kind)).cloned());
        }
        let own = |item: &Value| {
            item.get("type").is_some_and(|kind| kind == "m.room.member")
                && item.get("state_key").is_some_and(|key| key == member.user_id.as_str())
        };
        if let Some(event) = self.invites.get(&member.event_id) {
            state.retain(|item| !own(item));
            state.push(event.clone());
        }
        state.iter().any(own).then_some(state)
    }

    /// Writes the rows of one membership. `joined` is the count of the join: Conduit does not read it, but Tuwunel takes it
    /// for the moment since when the room is the user's (src/service/rooms/state_cache/mod.rs:405-420 there).
    fn write(
        &mut self,
        user: &UserId,
        membership: &str,
        joined: u64,
        state: &Value,
        rows: &mut Rows<'_>,
    ) -> Result<(), ImportError> {
        let (user_id, room) = (user.as_str(), self.room.as_str());
        let user_room = UserRoom { user: user_id, room };
        let room_user = RoomUser { room, user: user_id };
        let (states, counts): (&Table<_, AsSent<'_>>, &Table<_, Count<'_>>) = match membership {
            "join" => {
                self.joined.insert(user.to_owned());
                self.servers.insert(user.server_name().to_string());
                let joined = Joined::Count(Count { count: joined });
                rows.put(&trees::USERROOMID_JOINED, &user_room, &joined)?;
                return rows.put(&trees::ROOMUSERID_JOINED, &room_user, &joined);
            }
            "invite" => {
                self.invited += 1;
                invite_sender(&user_room, state, rows)?;
                (&trees::USERROOMID_INVITESTATE, &trees::ROOMUSERID_INVITECOUNT)
            }
            "knock" => (&trees::USERROOMID_KNOCKSTATE, &trees::ROOMUSERID_KNOCKCOUNT),
            "leave" | "ban" => (&trees::USERROOMID_LEFTSTATE, &trees::ROOMUSERID_LEFTCOUNT),
            _ => return Ok(()),
        };
        let count = rows.next();
        rows.put(states, &user_room, &AsSent { json: &state.to_string() })?;
        rows.put(counts, &room_user, &Count { count })
    }
}

/// Who invites, where the server asks for that to leave out invites of ignored users.
fn invite_sender(
    invited: &UserRoom<'_>,
    state: &Value,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    if !rows.holds(&trees::USERROOMID_INVITESENDER) {
        return Ok(());
    }
    let own = |item: &&Value| {
        item.get("type").is_some_and(|kind| kind == "m.room.member")
            && item.get("state_key").is_some_and(|key| key == invited.user)
    };
    let event = state.as_array().and_then(|state| state.iter().rfind(own));
    let sender = event.and_then(|event| event.get("sender")).and_then(Value::as_str);
    match sender {
        Some(user) => rows.put(&trees::USERROOMID_INVITESENDER, invited, &User { user }),
        None => Ok(()),
    }
}
