//! The state that a user who left a room still sees.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId};

use super::{
    events::RoomEvents,
    members::{StateEvent, entries},
    state_tree::Entries,
};
use crate::synapse::api::{
    ApiError,
    connection::{As, Connection},
    counter::Counter,
    error::optional,
    logins::Logins,
};

/// The state that the user sees who left a room last. It is asked for once.
pub(super) struct LeftState<'a> {
    pub(super) api: &'a Connection,
    pub(super) logins: &'a mut Logins,
    /// Whose token the requests have.
    pub(super) admin: &'a UserId,
    pub(super) room_id: &'a RoomId,
    /// Who left, with the event.
    pub(super) leaves: BTreeMap<OwnedUserId, OwnedEventId>,
    pub(super) entries: Option<Entries>,
}

impl LeftState<'_> {
    /// The state; empty if nobody sees one.
    pub(super) async fn read(
        &mut self,
        events: &mut RoomEvents<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Entries, ApiError> {
        if let Some(entries) = &self.entries {
            return Ok(entries.clone());
        }
        let entries = self.of_last_user(events, counter).await?;
        self.entries = Some(entries.clone());
        Ok(entries)
    }

    /// The state, as far as it is older than a depth.
    pub(super) async fn before(
        &mut self,
        depth: u64,
        events: &mut RoomEvents<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Entries, ApiError> {
        let mut older = Entries::new();
        for (key, id) in self.read(events, counter).await? {
            if events.look_up(&id, counter).await?.is_some_and(|known| known.depth < depth) {
                older.insert(key, id);
            }
        }
        Ok(older)
    }

    async fn of_last_user(
        &mut self,
        events: &mut RoomEvents<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Entries, ApiError> {
        let mut left = Vec::new();
        for (user, event_id) in &self.leaves {
            if let Some(known) = events.look_up(event_id, counter).await? {
                left.push((known.depth, user.clone()));
            }
        }
        left.sort();
        for (_, user) in left.into_iter().rev() {
            if let Some(entries) = self.of_user(&user).await? {
                return Ok(entries);
            }
        }
        Ok(Entries::new())
    }

    /// The state that a user sees.
    async fn of_user(&mut self, user: &UserId) -> Result<Option<Entries>, ApiError> {
        let path = ["rooms", self.room_id.as_str(), "state"];
        if user == self.admin {
            let state: Result<Vec<StateEvent>, _> = self.api.client(As::Admin, &path, &[]).await;
            return Ok(optional(state)?.map(entries));
        }
        let token = match self.logins.login(user).await {
            Ok(token) => token,
            Err(error) if error.ends_run() => return Err(error),
            Err(_) => return Ok(None),
        };
        let state = self.api.client(As::User(&token), &path, &[]).await;
        self.logins.close().await?;
        match state {
            Ok(state) => Ok(Some(entries(state))),
            Err(error) if error.ends_run() => Err(error),
            Err(_) => Ok(None),
        }
    }
}
