//! Who of this server is in a room, its aliases, its present state.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId, OwnedRoomAliasId, OwnedUserId};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Room, Seen, state_tree::Entries};
use crate::{
    dump::format::{DumpAlias, DumpMember},
    synapse::api::{ApiError, connection::As, error::optional},
    tally::Kind,
};

/// A state event in the form for clients.
#[derive(Deserialize)]
struct StateEvent {
    event_id: OwnedEventId,
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
}

impl Room<'_> {
    pub(super) async fn aliases(&mut self) -> Result<Vec<DumpAlias>, ApiError> {
        #[derive(Default, Deserialize)]
        struct Answer {
            aliases: Vec<OwnedRoomAliasId>,
        }

        let path = ["rooms", self.id.as_str(), "aliases"];
        let answer = self.source.api.client::<Answer>(As::Admin, &path, &[]).await;
        let Answer { mut aliases } = self.counter.or_lost(Kind::Alias, "", answer)?;
        aliases.retain(|alias| alias.server_name() == self.source.server_name);
        aliases.sort();
        self.counter.kept(Kind::Alias, aliases.len());
        Ok(aliases.into_iter().map(|alias| DumpAlias { alias, creator: None }).collect())
    }

    /// The present state. `None`: no local user is in the room any more, and Synapse gives none.
    pub(super) async fn present_state(&mut self) -> Result<Option<Entries>, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            state: Vec<StateEvent>,
        }

        let path = ["v1", "rooms", self.id.as_str(), "state"];
        let answer: Option<Answer> = optional(self.source.api.admin(&path, &[]).await)?;
        let entries = entries(answer.map(|answer| answer.state).unwrap_or_default());
        Ok(Some(entries).filter(|entries| !entries.is_empty()))
    }

    /// The state that a user who left last still sees.
    pub(super) async fn left_state(&mut self) -> Result<Option<Entries>, ApiError> {
        if self.left_state.is_none() {
            self.left_state = Some(self.read_left_state().await?);
        }
        Ok(self.left_state.clone().filter(|entries| !entries.is_empty()))
    }

    async fn read_left_state(&mut self) -> Result<Entries, ApiError> {
        let mut left = Vec::new();
        let seen: Vec<_> =
            self.seen.iter().map(|(user, seen)| (user.clone(), seen.clone())).collect();
        for (user, seen) in seen {
            if let Seen::Left(Some((event_id, _))) = seen
                && let Some(depth) = self.look_up(&event_id).await?.map(|known| known.depth)
            {
                left.push((depth, user));
            }
        }
        left.sort();
        for (_, user) in left.into_iter().rev() {
            if let Some(entries) = self.state_of(&user).await? {
                return Ok(entries);
            }
        }
        Ok(Entries::new())
    }

    /// The state that a user sees.
    async fn state_of(&mut self, user: &OwnedUserId) -> Result<Option<Entries>, ApiError> {
        let path = ["rooms", self.id.as_str(), "state"];
        if *user == self.source.admin {
            let state = self.source.api.client(As::Admin, &path, &[]).await;
            return Ok(optional(state)?.map(entries));
        }
        let token: SecretString = match self.source.login(user).await {
            Ok(token) => token,
            Err(error) if error.ends_run() => return Err(error),
            Err(_) => return Ok(None),
        };
        let state = self.source.api.client(As::User(&token), &path, &[]).await;
        self.source.logins.close(&self.source.api).await?;
        match state {
            Ok(state) => Ok(Some(entries(state))),
            Err(error) if error.ends_run() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Present memberships of local users, by the state and by what the users see.
    pub(super) async fn members(
        &mut self,
        current_state: Option<u64>,
    ) -> Result<Vec<DumpMember>, ApiError> {
        let mut events: BTreeMap<OwnedUserId, OwnedEventId> = BTreeMap::new();
        if let Some(state) = current_state {
            let server_name = &self.source.server_name;
            let of_members =
                self.states.get(state).iter().filter(|((kind, _), _)| kind == "m.room.member");
            for ((_, user), event_id) in of_members {
                if let Ok(user) = OwnedUserId::try_from(user.as_str())
                    && user.server_name() == *server_name
                {
                    events.insert(user, event_id.clone());
                }
            }
        }
        for (user, seen) in &self.seen {
            match seen {
                // A newer invite to a room that everybody of this server had left.
                Seen::Invite(_, Some(event_id)) if !self.joined => {
                    events.insert(user.clone(), event_id.clone());
                }
                Seen::Left(Some((event_id, _))) => {
                    events.entry(user.clone()).or_insert_with(|| event_id.clone());
                }
                Seen::Invite(..) | Seen::Knock(_) | Seen::Left(None) => {}
            }
        }
        self.lose_unknown_members(&events);
        let mut members = Vec::with_capacity(events.len());
        for (user_id, event_id) in events {
            if let Some(member) = self.member(user_id, event_id).await? {
                members.push(member);
            }
        }
        self.counter.kept(Kind::Membership, members.len());
        Ok(members)
    }

    fn lose_unknown_members(&mut self, events: &BTreeMap<OwnedUserId, OwnedEventId>) {
        for user in self.seen.keys().filter(|user| !events.contains_key(*user)) {
            self.counter.lost(
                Kind::Membership,
                user.as_str(),
                "event-unknown",
                "Synapse's APIs do not tell the id of the member event; its database does",
            );
        }
    }

    async fn member(
        &mut self,
        user_id: OwnedUserId,
        event_id: OwnedEventId,
    ) -> Result<Option<DumpMember>, ApiError> {
        let known = self.look_up(&event_id).await?.cloned();
        let seen = self.seen.get(&user_id);
        let told = match seen {
            Some(Seen::Invite(..)) => Some("invite".to_owned()),
            Some(Seen::Knock(_)) => Some("knock".to_owned()),
            Some(Seen::Left(Some((_, membership)))) => Some(membership.clone()),
            Some(Seen::Left(None)) | None => None,
        };
        let by_event = known.as_ref().and_then(|known| known.membership.clone());
        let Some(membership) = by_event.or(told) else {
            self.counter.lost(
                Kind::Membership,
                user_id.as_str(),
                "event-missing",
                "Synapse does not give the member event",
            );
            return Ok(None);
        };
        let is_gone = matches!(membership.as_str(), "leave" | "ban");
        let forgotten = is_gone
            && self.source.sightings.is_synced(&user_id)
            && !matches!(seen, Some(Seen::Left(_)));
        let shown = match (membership.as_str(), seen) {
            ("invite", Some(Seen::Invite(stripped, _)))
            | ("knock", Some(Seen::Knock(stripped))) => Some(without_member(stripped, &user_id)),
            _ => None,
        };
        let stripped_state = match membership.as_str() {
            "invite" | "knock" => self.stripped_state(&event_id).await?.or(shown),
            _ => None,
        };
        Ok(Some(DumpMember { user_id, membership, event_id, forgotten, stripped_state }))
    }
}

impl Room<'_> {
    /// What came with an invite or knock. The timeline does not show it.
    async fn stripped_state(
        &mut self,
        event_id: &EventId,
    ) -> Result<Option<Vec<Box<RawValue>>>, ApiError> {
        let event = self.fetch(event_id).await?;
        Ok(event.and_then(|event| event.ok()?.stripped_state))
    }
}

fn entries(state: Vec<StateEvent>) -> Entries {
    state.into_iter().map(|event| ((event.kind, event.state_key), event.event_id)).collect()
}

/// Synapse adds the member event itself to what `/sync` shows.
fn without_member(stripped: &[Box<RawValue>], user_id: &OwnedUserId) -> Vec<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Stripped {
        #[serde(rename = "type")]
        kind: String,
        state_key: Option<String>,
    }

    let is_own = |event: &RawValue| {
        serde_json::from_str::<Stripped>(event.get()).is_ok_and(|event| {
            event.kind == "m.room.member" && event.state_key.as_deref() == Some(user_id.as_str())
        })
    };
    stripped.iter().filter(|event| !is_own(event)).cloned().collect()
}
