//! Why the upstream gave no answer of use, and what to do.

use reqwest::{StatusCode, Url};
use ruma::{CanonicalJsonError, EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use crate::http::{Answer, HttpError};

/// Why a request failed. Texts say what to do, and tell no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is not `http://…` or `https://…`.
    #[error(
        "the old server's URL begins with neither http:// nor https://; give one such as http://127.0.0.1:8008"
    )]
    BadUrl,
    /// Nobody answers.
    #[error(
        "the old server does not answer at {url}; check that it runs and that the URL is right"
    )]
    Unreachable {
        /// The base URL, without user and password.
        url: String,
        /// What happened.
        #[source]
        source: HttpError,
    },
    /// 401: the signature is not accepted.
    #[error(
        "the old server refuses the signature; give the signing key and the server name that it uses itself"
    )]
    WrongKey,
    /// 403: no local user is in the room, or the room's server ACL denies the server itself.
    #[error(
        "the old server serves nothing of {room} over federation, as none of its users is in the room; use its database or its admin API"
    )]
    NotInRoom {
        /// The room.
        room: OwnedRoomId,
    },
    /// 403: the server denies federation with itself.
    #[error(
        "the old server denies federation with itself; add its own name to `federation_domain_whitelist`, or remove that setting"
    )]
    FederationDenied,
    /// 404 for the endpoint itself.
    #[error(
        "the old server does not know the request; add the resource `federation` to the listener of this port"
    )]
    NoFederation,
    /// 404: the event is unknown.
    #[error("the old server does not know the event {event}")]
    EventNotFound {
        /// The event.
        event: OwnedEventId,
    },
    /// 403: the event is of a room of which nothing is given.
    #[error(
        "the old server has the event {event} and does not serve it, as none of its users is in the room"
    )]
    EventNotGiven {
        /// The event.
        event: OwnedEventId,
    },
    /// 401, 403 or 404 without a Matrix error code: not a homeserver's word.
    #[error(
        "an answer with status {status} has no Matrix error code, so it may come from a proxy or another service; check that the URL leads to the old server itself, to a listener with the resource `federation`"
    )]
    NotSaid {
        /// The status.
        status: StatusCode,
    },
    /// 404: the room, or the event in it, is unknown or outside its timeline.
    #[error(
        "the old server does not know the room {room}, or not the event as part of its timeline"
    )]
    RoomNotFound {
        /// The room.
        room: OwnedRoomId,
    },
    /// 404: the user is unknown.
    #[error("the old server does not know the user {user}")]
    UserNotFound {
        /// The user.
        user: OwnedUserId,
    },
    /// 404: the file is unknown.
    #[error("the old server does not have the file {media_id}")]
    MediaNotFound {
        /// The media id.
        media_id: String,
    },
    /// The answer is no file in `multipart/mixed`.
    #[error(
        "the old server's answer is no file; check that it keeps its media itself, not behind a redirect"
    )]
    NotMedia,
    /// 429, again and again.
    #[error(
        "the old server still asks to wait after many tries; raise `rc_federation` in its configuration"
    )]
    RateLimited,
    /// The body is longer than allowed.
    #[error(
        "the old server's answer is longer than {limit} bytes; ask for less at once, or raise the limit"
    )]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body is no JSON, or not of the form that the endpoint has.
    #[error(
        "the old server's answer is not the JSON expected; check that the URL leads to a homeserver and to no other service"
    )]
    NotJson(#[source] serde_json::Error),
    /// Any other status.
    #[error("the old server answered {status}; its log says more")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The request can't be signed.
    #[error("the request can't be signed")]
    Signing(#[source] CanonicalJsonError),
    /// The server name can't stand in a header.
    #[error("the server name can't be put in a header; check it")]
    Header,
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up")]
    Http(#[source] HttpError),
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Event(&'a EventId),
    Room(&'a RoomId),
    User(&'a UserId),
    Media(&'a str),
    Keys,
}

impl Subject<'_> {
    pub(super) fn not_found(self) -> ClientError {
        match self {
            Self::Event(event) => ClientError::EventNotFound { event: event.to_owned() },
            Self::Room(room) => ClientError::RoomNotFound { room: room.to_owned() },
            Self::User(user) => ClientError::UserNotFound { user: user.to_owned() },
            Self::Media(id) => ClientError::MediaNotFound { media_id: id.to_owned() },
            Self::Keys => ClientError::NoFederation,
        }
    }
}

impl ClientError {
    /// Whether nothing else can be had either: nobody answers, or nobody believes us. Other errors concern one
    /// request, room or event.
    pub fn ends_run(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::WrongKey | Self::Http(_))
    }

    /// Whether the server said, with a Matrix error code, that it has nothing of the room, or not the event.
    pub(crate) fn is_of_room(&self) -> bool {
        matches!(
            self,
            Self::NotInRoom { .. } | Self::RoomNotFound { .. } | Self::EventNotFound { .. }
        )
    }

    /// Whether the server answered, with a Matrix error code, that it doesn't have an event, or has it in a room of which it
    /// gives us nothing. Everything else says nothing about the event.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::EventNotFound { .. } | Self::EventNotGiven { .. })
    }

    pub(super) fn http(base: &Url, error: HttpError) -> Self {
        match error {
            HttpError::BodyTooLarge { limit } => Self::BodyTooLarge { limit },
            HttpError::Request(_) => Self::Http(error),
            source => Self::Unreachable { url: base.origin().ascii_serialization(), source },
        }
    }

    /// The error of an answer that is no success.
    pub(super) fn refused(answer: &Answer, subject: Subject<'_>) -> Self {
        let error = MatrixError::of(answer);
        let code = error.errcode.as_str();
        match (answer.status, subject) {
            (StatusCode::TOO_MANY_REQUESTS, _) => Self::RateLimited,
            // Synapse answers so to a question for an event that it does not know
            // (synapse/federation/federation_server.py:720).
            (StatusCode::NOT_FOUND, Subject::Event(_)) if error.is_empty_text => {
                subject.not_found()
            }
            (
                status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND),
                _,
            ) if code.is_empty() => Self::NotSaid { status },
            (StatusCode::UNAUTHORIZED, _) => Self::WrongKey,
            (StatusCode::FORBIDDEN, _) if error.error.starts_with("Federation denied") => {
                Self::FederationDenied
            }
            (StatusCode::FORBIDDEN, Subject::Room(room)) if code == "M_FORBIDDEN" => {
                Self::NotInRoom { room: room.to_owned() }
            }
            (StatusCode::FORBIDDEN, Subject::Event(event)) if code == "M_FORBIDDEN" => {
                Self::EventNotGiven { event: event.to_owned() }
            }
            (StatusCode::NOT_FOUND, _) if code == "M_UNRECOGNIZED" => Self::NoFederation,
            (StatusCode::NOT_FOUND, subject) if code == "M_NOT_FOUND" => subject.not_found(),
            (status, _) => Self::Status { status },
        }
    }
}

/// What an answer says that is no success.
#[derive(Default, Deserialize)]
struct MatrixError {
    #[serde(default)]
    errcode: String,
    #[serde(default)]
    error: String,
    /// Whether the body is the JSON of an empty text.
    #[serde(skip)]
    is_empty_text: bool,
}

impl MatrixError {
    /// A body that is no Matrix error has no code.
    fn of(answer: &Answer) -> Self {
        let is_empty_text = answer.body.trim_ascii() == br#""""#;
        let error: Self = serde_json::from_slice(&answer.body).unwrap_or_default();
        Self { is_empty_text, ..error }
    }
}
