//! Who of this server is in a room, its aliases, its present state.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId, OwnedRoomAliasId, OwnedUserId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{events::RoomEvents, fetch::Fetcher, state_tree::Entries};
use crate::{
    dump::format::{DumpAlias, DumpMember},
    synapse::api::{
        ApiError,
        connection::{As, Connection},
        counter::Counter,
        error::optional,
        seen_by_users::{Seen, SeenByUsers},
    },
    tally::Kind,
};

/// A state event in the form for clients.
#[derive(Deserialize)]
pub(super) struct StateEvent {
    event_id: OwnedEventId,
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
}

/// The aliases of a room on this server.
pub(super) async fn aliases(
    api: &Connection,
    server_name: &ServerName,
    room_id: &RoomId,
    counter: &mut Counter<'_>,
) -> Result<Vec<DumpAlias>, ApiError> {
    #[derive(Default, Deserialize)]
    struct AliasesAnswer {
        aliases: Vec<OwnedRoomAliasId>,
    }

    let path = ["rooms", room_id.as_str(), "aliases"];
    let answer = api.client::<AliasesAnswer>(As::Admin, &path, &[]).await;
    let AliasesAnswer { mut aliases } = counter.or_lost(Kind::Alias, "", answer)?;
    aliases.retain(|alias| alias.server_name() == server_name);
    aliases.sort();
    counter.kept(Kind::Alias, aliases.len());
    Ok(aliases.into_iter().map(|alias| DumpAlias { alias, creator: None }).collect())
}

/// The present state. `None`: no local user is in the room any more, and Synapse gives none.
pub(super) async fn present_state(
    api: &Connection,
    room_id: &RoomId,
) -> Result<Option<Entries>, ApiError> {
    #[derive(Deserialize)]
    struct StateAnswer {
        state: Vec<StateEvent>,
    }

    let path = ["v1", "rooms", room_id.as_str(), "state"];
    let answer: Option<StateAnswer> = optional(api.admin(&path, &[]).await)?;
    let entries = entries(answer.map(|answer| answer.state).unwrap_or_default());
    Ok(Some(entries).filter(|entries| !entries.is_empty()))
}

/// A state from its events.
pub(super) fn entries(state: Vec<StateEvent>) -> Entries {
    state.into_iter().map(|event| ((event.kind, event.state_key), event.event_id)).collect()
}

/// The present memberships of local users in a room.
pub(super) struct Members<'a> {
    pub(super) server_name: &'a ServerName,
    /// What users saw of this room without being in it.
    pub(super) seen: &'a BTreeMap<OwnedUserId, Seen>,
    /// What users saw of all rooms.
    pub(super) seen_by_users: &'a SeenByUsers,
}

impl Members<'_> {
    /// Memberships by the present state, and by what the users see.
    pub(super) async fn read(
        &self,
        current_state: Option<&Entries>,
        events: &mut RoomEvents<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Vec<DumpMember>, ApiError> {
        let member_events = self.member_events(current_state, events.fetcher.joined);
        for user in self.seen.keys().filter(|user| !member_events.contains_key(*user)) {
            counter.lost(
                Kind::Membership,
                user.as_str(),
                "event-unknown",
                "Synapse's APIs do not provide the id of the member event; its database does",
            );
        }
        let mut members = Vec::with_capacity(member_events.len());
        for (user_id, event_id) in member_events {
            members.extend(self.member(user_id, event_id, events, counter).await?);
        }
        counter.kept(Kind::Membership, members.len());
        Ok(members)
    }

    /// The member event of each user.
    fn member_events(
        &self,
        current_state: Option<&Entries>,
        joined: bool,
    ) -> BTreeMap<OwnedUserId, OwnedEventId> {
        let of_state =
            current_state.into_iter().flatten().filter(|((kind, _), _)| kind == "m.room.member");
        let mut events: BTreeMap<_, _> = of_state
            .filter_map(|((_, user), event_id)| {
                let user = OwnedUserId::try_from(user.as_str()).ok()?;
                (user.server_name() == self.server_name).then(|| (user, event_id.clone()))
            })
            .collect();
        for (user, seen) in self.seen {
            match seen {
                // A newer invite to a room that everybody of this server had left.
                Seen::Invite(_, Some(event_id)) if !joined => {
                    events.insert(user.clone(), event_id.clone());
                }
                Seen::Left(Some((event_id, _))) => {
                    events.entry(user.clone()).or_insert_with(|| event_id.clone());
                }
                Seen::Invite(..) | Seen::Knock(_) | Seen::Left(None) => {}
            }
        }
        events
    }

    async fn member(
        &self,
        user_id: OwnedUserId,
        event_id: OwnedEventId,
        events: &mut RoomEvents<'_>,
        counter: &mut Counter<'_>,
    ) -> Result<Option<DumpMember>, ApiError> {
        let known = events.look_up(&event_id, counter).await?.cloned();
        let seen = self.seen.get(&user_id);
        let of_sync = match seen {
            Some(Seen::Invite(..)) => Some("invite".to_owned()),
            Some(Seen::Knock(_)) => Some("knock".to_owned()),
            Some(Seen::Left(Some((_, membership)))) => Some(membership.clone()),
            Some(Seen::Left(None)) | None => None,
        };
        let Some(membership) = known.and_then(|known| known.membership).or(of_sync) else {
            counter.lost(
                Kind::Membership,
                user_id.as_str(),
                "event-missing",
                "Synapse does not provide the member event",
            );
            return Ok(None);
        };
        let is_gone = matches!(membership.as_str(), "leave" | "ban");
        let forgotten = is_gone
            && self.seen_by_users.is_synced(&user_id)
            && !matches!(seen, Some(Seen::Left(_)));
        let shown = match (membership.as_str(), seen) {
            ("invite", Some(Seen::Invite(stripped, _)))
            | ("knock", Some(Seen::Knock(stripped))) => Some(without_member(stripped, &user_id)),
            _ => None,
        };
        let stripped_state = match membership.as_str() {
            "invite" | "knock" => stripped_state(&event_id, &mut events.fetcher).await?.or(shown),
            _ => None,
        };
        Ok(Some(DumpMember { user_id, membership, event_id, forgotten, stripped_state }))
    }
}

/// What came with an invite or knock. The timeline does not show it.
async fn stripped_state(
    event_id: &EventId,
    fetcher: &mut Fetcher<'_>,
) -> Result<Option<Vec<Box<RawValue>>>, ApiError> {
    let event = fetcher.fetch(event_id).await?;
    Ok(event.and_then(|event| event.ok()?.stripped_state))
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
