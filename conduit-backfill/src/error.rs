//! Why a room's past can't be had, and what to do.

use std::{error::Error, sync::Arc};

use ruma::{OwnedEventId, OwnedRoomId, RoomVersionId};

use crate::{client::ClientError, host::HostError};

/// Why a walk ended early. What it stored until then is right, and the next walk goes on from there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackfillError {
    /// The old server gives no answer of use.
    #[error("the history of {room} can't be fetched from the old server; see the cause below")]
    Upstream {
        /// The room.
        room: OwnedRoomId,
        /// What is the matter, and what to do.
        #[source]
        source: Arc<ClientError>,
    },
    /// The homeserver can't do what it was asked.
    #[error("the history of {room} can't be stored; see below, then scroll again")]
    Host {
        /// The room.
        room: OwnedRoomId,
        /// What it said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The homeserver isn't in the room.
    #[error("this homeserver is not in {room}; import the room first")]
    UnknownRoom {
        /// The room.
        room: OwnedRoomId,
    },
    /// Versions 1 and 2, or one that is unknown.
    #[error(
        "{room} has version {version}; only versions 3 to 12 can be fetched, so upgrade the room on the old server"
    )]
    RoomVersion {
        /// The room.
        room: OwnedRoomId,
        /// Its version.
        version: RoomVersionId,
    },
    /// The state before an event could not be established, so that nobody knows who may see it.
    #[error(
        "the state of {room} before {event} can't be established: {reason}; look for the event in the old server's log, then scroll again"
    )]
    State {
        /// The room.
        room: OwnedRoomId,
        /// The event.
        event: OwnedEventId,
        /// What is wrong with the old server's answer.
        reason: String,
    },
    /// The old server's answers lead nowhere, or the homeserver forgets what it is given.
    #[error(
        "the walk through {room} is stuck at {event}; check that the old server's URL leads to the homeserver that this one replaced"
    )]
    NoProgress {
        /// The room.
        room: OwnedRoomId,
        /// One of the events that are missing.
        event: OwnedEventId,
    },
    /// The walk was ended from outside.
    #[error("the walk through {room} was stopped; scroll again")]
    Stopped {
        /// The room.
        room: OwnedRoomId,
    },
}

impl BackfillError {
    /// Whether the old server has been asked and has nothing more to give of the room, so that there is no use in asking it
    /// again: what is there is all that will be. Otherwise it does not answer, or is not set up, or the homeserver itself
    /// is in trouble.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::UnknownRoom { .. } | Self::RoomVersion { .. } => true,
            Self::Upstream { source, .. } => source.is_of_room(),
            // What it answered is of no use, and may be another service's.
            Self::State { .. }
            | Self::NoProgress { .. }
            | Self::Host { .. }
            | Self::Stopped { .. } => false,
        }
    }

    /// Whether the old server does not answer at all, so that there is no use in asking it for anything else now.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Upstream { source, .. } if source.ends_run())
    }

    pub(crate) fn upstream(room: &OwnedRoomId) -> impl Fn(ClientError) -> Self + '_ {
        |source| Self::Upstream { room: room.clone(), source: Arc::new(source) }
    }

    pub(crate) fn host(room: &OwnedRoomId) -> impl Fn(HostError) -> Self + '_ {
        |source| Self::Host { room: room.clone(), source: Arc::from(source) }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use ruma::{event_id, room_id};

    use super::*;

    #[test]
    fn what_the_old_server_says_of_a_room_lasts_and_its_silence_does_not() {
        let room = room_id!("!r:x").to_owned();
        let event = event_id!("$e").to_owned();
        let upstream = |error| BackfillError::upstream(&room)(error);
        let lasting = [
            BackfillError::UnknownRoom { room: room.clone() },
            BackfillError::RoomVersion { room: room.clone(), version: RoomVersionId::V1 },
            upstream(ClientError::NotInRoom { room: room.clone() }),
            upstream(ClientError::RoomNotFound { room: room.clone() }),
            upstream(ClientError::EventNotFound { event: event.clone() }),
        ];
        assert!(lasting.iter().all(BackfillError::is_lasting), "{lasting:?}");
        let passing = [
            BackfillError::NoProgress { room: room.clone(), event: event.clone() },
            BackfillError::State { room: room.clone(), event, reason: "lost".into() },
            upstream(ClientError::NotSaid { status: StatusCode::NOT_FOUND }),
            BackfillError::Stopped { room: room.clone() },
            BackfillError::host(&room)("no space".into()),
            upstream(ClientError::WrongKey),
            upstream(ClientError::RateLimited),
            upstream(ClientError::NoFederation),
            upstream(ClientError::Status { status: StatusCode::BAD_GATEWAY }),
        ];
        assert!(!passing.iter().any(BackfillError::is_lasting), "{passing:?}");
    }
}
