//! Tags, receipts, unread counts and the rooms that a user sees, by `/sync`.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::own::{EventList, Owner};
use crate::{
    dump::format::{DumpReceipt, DumpRemoteReceipt, DumpUnread, DumpUser},
    synapse::api::{
        ApiError,
        error::optional,
        seen_by_users::{Seen, SeenByUsers},
    },
    tally::Kind,
};

#[derive(Default, Deserialize)]
struct Sync {
    #[serde(default)]
    rooms: SyncedRooms,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SyncedRooms {
    join: BTreeMap<OwnedRoomId, Joined>,
    invite: BTreeMap<OwnedRoomId, Invited>,
    knock: BTreeMap<OwnedRoomId, Knocked>,
    leave: BTreeMap<OwnedRoomId, Left>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Joined {
    account_data: EventList<AccountData>,
    ephemeral: EventList<Ephemeral>,
    unread_notifications: Unread,
}

/// Threads are counted in, as the filter does not ask for them apart.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Unread {
    notification_count: u64,
    highlight_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Invited {
    invite_state: EventList<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Knocked {
    knock_state: EventList<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Left {
    account_data: EventList<AccountData>,
    timeline: EventList<Member>,
}

#[derive(Deserialize)]
struct AccountData {
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
}

#[derive(Deserialize)]
struct Ephemeral {
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
}

#[derive(Deserialize)]
struct Member {
    event_id: Option<OwnedEventId>,
    state_key: Option<String>,
    content: MemberContent,
}

#[derive(Deserialize)]
struct MemberContent {
    membership: Option<String>,
}

/// Receipts of an event: type to user to the receipt.
type Receipts = BTreeMap<OwnedEventId, BTreeMap<String, BTreeMap<String, Receipt>>>;

#[derive(Deserialize)]
struct Receipt {
    ts: u64,
    thread_id: Option<String>,
}

impl Owner<'_> {
    /// An initial sync that leaves the user's presence and to-device messages as they are.
    pub(super) async fn sync(
        &mut self,
        user: &mut DumpUser,
        seen_by_users: &mut SeenByUsers,
    ) -> Result<(), ApiError> {
        let filter = json!({
            "presence": {"types": []},
            "account_data": {"types": []},
            "room": {
                "include_leave": true,
                "account_data": {"types": ["m.tag"]},
                "ephemeral": {"types": ["m.receipt"]},
                "state": {"types": []},
                "timeline": {"types": ["m.room.member"], "limit": 1},
            },
        })
        .to_string();
        let query = [("filter", filter.as_str()), ("set_presence", "offline"), ("timeout", "0")];
        let result = self.get::<Sync>(&["sync"], &query).await;
        let Some(sync) = self.counter.or_lost(Kind::Receipt, "", result.map(Some))? else {
            return Ok(());
        };
        let SyncedRooms { join, invite, knock, leave } = sync.rooms;
        seen_by_users.synced(&user.user_id);
        for (room_id, joined) in join {
            // Everybody sees the same of other servers.
            let seen = seen_by_users.has_receipts(&room_id);
            for event in joined.ephemeral.events {
                if event.kind == "m.receipt" {
                    let remote = self.receipts(user, &room_id, &event.content);
                    for receipt in remote.into_iter().filter(|_| !seen) {
                        seen_by_users.receipt(&room_id, receipt);
                    }
                }
            }
            self.tags(user, &room_id, joined.account_data);
            let unread = joined.unread_notifications;
            if (unread.notification_count, unread.highlight_count) != (0, 0) {
                user.unread.push(DumpUnread {
                    room_id,
                    notifications: unread.notification_count,
                    highlights: unread.highlight_count,
                });
            }
        }
        self.counter.kept(Kind::UnreadCount, user.unread.len());
        user.receipts.sort();
        self.counter.kept(Kind::Receipt, user.receipts.len());
        let foreign = invite.keys().any(|room_id| !self.listed.contains_key(room_id));
        let mut invites = if foreign { self.invites().await? } else { BTreeMap::new() };
        for (room_id, invited) in invite {
            let event_id = invites.remove(&room_id);
            let stripped = invited.invite_state.events;
            seen_by_users.note(room_id, &user.user_id, Seen::Invite(stripped, event_id));
        }
        for (room_id, knocked) in knock {
            seen_by_users.note(room_id, &user.user_id, Seen::Knock(knocked.knock_state.events));
        }
        for (room_id, left) in leave {
            let own = left
                .timeline
                .events
                .into_iter()
                .rev()
                .find(|event| event.state_key.as_deref() == Some(user.user_id.as_str()));
            let event = own.and_then(|own| Some((own.event_id?, own.content.membership?)));
            self.tags(user, &room_id, left.account_data);
            seen_by_users.note(room_id, &user.user_id, Seen::Left(event));
        }
        Ok(())
    }

    /// Ids of pending invites' events, which `/sync` does not show.
    async fn invites(&mut self) -> Result<BTreeMap<OwnedRoomId, OwnedEventId>, ApiError> {
        #[derive(Default, Deserialize)]
        struct InitialSync {
            rooms: Vec<InitialRoom>,
        }
        #[derive(Deserialize)]
        struct InitialRoom {
            room_id: OwnedRoomId,
            invite: Option<Invite>,
        }
        #[derive(Deserialize)]
        struct Invite {
            event_id: OwnedEventId,
        }

        let result = optional(self.get(&["initialSync"], &[("limit", "1")]).await);
        let sync: Option<InitialSync> = self.counter.or_lost(Kind::Membership, "", result)?;
        let rooms = sync.unwrap_or_default().rooms.into_iter();
        Ok(rooms.filter_map(|room| Some((room.room_id, room.invite?.event_id))).collect())
    }

    fn tags(&mut self, user: &mut DumpUser, room_id: &OwnedRoomId, data: EventList<AccountData>) {
        #[derive(Default, Deserialize)]
        struct Tags {
            #[serde(default)]
            tags: BTreeMap<String, Box<RawValue>>,
        }

        for event in data.events.into_iter().filter(|event| event.kind == "m.tag") {
            let Tags { tags } = serde_json::from_str(event.content.get()).unwrap_or_default();
            self.counter.kept(Kind::RoomAccountData, usize::from(!tags.is_empty()));
            if !tags.is_empty() {
                let room = user.account_data.rooms.entry(room_id.clone()).or_default();
                room.insert(event.kind, event.content);
            }
        }
    }

    /// Takes the user's own receipts; returns the public ones of other servers' users.
    fn receipts(
        &mut self,
        user: &mut DumpUser,
        room_id: &OwnedRoomId,
        content: &RawValue,
    ) -> Vec<DumpRemoteReceipt> {
        let mut remote = Vec::new();
        let Ok(receipts) = serde_json::from_str::<Receipts>(content.get()) else {
            self.counter.lost(
                Kind::Receipt,
                room_id.as_str(),
                "receipts-unparsable",
                "Synapse's list of receipts has not the form of the specification",
            );
            return remote;
        };
        for (event_id, by_type) in receipts {
            for (receipt_type, by_user) in by_type {
                if !matches!(receipt_type.as_str(), "m.read" | "m.read.private") {
                    continue;
                }
                for (user_id, Receipt { ts, thread_id }) in by_user {
                    let event_id = event_id.clone();
                    if user_id == user.user_id.as_str() {
                        user.receipts.push(DumpReceipt {
                            room_id: room_id.clone(),
                            thread_id,
                            receipt_type: receipt_type.clone(),
                            event_id,
                            ts,
                        });
                        continue;
                    }
                    let Ok(user_id) = OwnedUserId::try_from(user_id) else { continue };
                    let is_remote = user_id.server_name() != user.user_id.server_name();
                    if is_remote && receipt_type == "m.read" {
                        remote.push(DumpRemoteReceipt { user_id, thread_id, event_id, ts });
                    }
                }
            }
        }
        remote
    }
}
