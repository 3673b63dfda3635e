//! The signed federation client.

mod error;
mod keys;
mod media;
mod signing_key;
#[cfg(test)]
mod tests;
mod x_matrix;

use error::Subject;
use reqwest::{
    Method, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use ruma::{
    CanonicalJsonValue, EventId, OwnedEventId, OwnedServerName, RoomId, ServerName, UserId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

pub use self::{
    error::ClientError,
    media::Media,
    signing_key::{SigningKey, SigningKeyError},
};
use crate::http::{Answer, Http, HttpOptions, Repeat, endpoint};

/// A federation client to one upstream that has the same server name as we.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    base: Url,
    server_name: OwnedServerName,
    key: SigningKey,
}

/// The state of a room: the answer to [`Client::state`].
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RoomState {
    /// The state events.
    pub pdus: Vec<Box<RawValue>>,
    /// The auth chains of the state events.
    pub auth_chain: Vec<Box<RawValue>>,
}

/// The state of a room as ids: the answer to [`Client::state_ids`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RoomStateIds {
    /// The state events.
    pub pdu_ids: Vec<OwnedEventId>,
    /// The auth chains of the state events.
    pub auth_chain_ids: Vec<OwnedEventId>,
}

/// The devices of a user: the answer to [`Client::user_devices`].
#[derive(Clone, Debug, Deserialize)]
pub struct UserDevices {
    /// The position of the server's device lists, as other servers see it.
    pub stream_id: u64,
    /// The devices.
    pub devices: Vec<UserDevice>,
    /// The master key.
    pub master_key: Option<Box<RawValue>>,
    /// The self-signing key.
    pub self_signing_key: Option<Box<RawValue>>,
}

/// A device, as other servers see it.
#[derive(Clone, Debug, Deserialize)]
pub struct UserDevice {
    /// Its id.
    pub device_id: String,
    /// Its public keys with signatures by the user's own keys.
    pub keys: Option<Box<RawValue>>,
}

impl Client {
    /// Makes a client to the server at `base`, such as `http://127.0.0.1:8008`, whose name is `server_name`.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadUrl`], [`ClientError::Http`].
    pub fn new(
        base: Url,
        server_name: OwnedServerName,
        key: SigningKey,
        options: HttpOptions,
    ) -> Result<Self, ClientError> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(ClientError::BadUrl);
        }
        let http = Http::new(options).map_err(|error| ClientError::http(&base, error))?;
        Ok(Self { http, base, server_name, key })
    }

    /// The name of both servers.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// One event: `GET /v1/event/{event}`.
    ///
    /// # Errors
    ///
    /// [`ClientError::EventNotFound`] and any other [`ClientError`].
    pub async fn event(&self, event: &EventId) -> Result<Box<RawValue>, ClientError> {
        let path = ["v1", "event", event.as_str()];
        let answer: Pdus = self.get(&path, &[], Subject::Event(event)).await?;
        let status = StatusCode::OK;
        answer.pdus.into_iter().next().ok_or(ClientError::NotSaid { status })
    }

    /// The state before an event with its auth chain: `GET /v1/state/{room}`.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn state(&self, room: &RoomId, event: &EventId) -> Result<RoomState, ClientError> {
        let path = ["v1", "state", room.as_str()];
        self.get(&path, &[("event_id", event.as_str())], Subject::Room(room)).await
    }

    /// The ids of the state before an event and of its auth chain: `GET /v1/state_ids/{room}`.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn state_ids(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<RoomStateIds, ClientError> {
        let path = ["v1", "state_ids", room.as_str()];
        self.get(&path, &[("event_id", event.as_str())], Subject::Room(room)).await
    }

    /// The auth chain of an event: `GET /v1/event_auth/{room}/{event}`.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn event_auth(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        #[derive(Deserialize)]
        struct AuthChain {
            auth_chain: Vec<Box<RawValue>>,
        }

        let path = ["v1", "event_auth", room.as_str(), event.as_str()];
        let answer: AuthChain = self.get(&path, &[], Subject::Room(room)).await?;
        Ok(answer.auth_chain)
    }

    /// Up to `limit` events, the named ones and those before them, newest first: `GET /v1/backfill/{room}`. Synapse
    /// gives 100 at most, and answers an empty `from` with an error, so that nothing is asked then.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn backfill(
        &self,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        if from.is_empty() {
            return Ok(Vec::new());
        }
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(from.iter().map(|event| ("v", event.as_str())));
        let path = ["v1", "backfill", room.as_str()];
        let answer: Pdus = self.get(&path, &query, Subject::Room(room)).await?;
        Ok(answer.pdus)
    }

    /// Up to `limit` events between `earliest` and `latest`, neither included:
    /// `POST /v1/get_missing_events/{room}`. Synapse gives 20 at most.
    ///
    /// The walk does not call this. A gap between an event that another server sends and the events that are here is
    /// closed by [`Self::backfill`], which takes the ids of all missing events at once, gives up to 100 events in one
    /// answer, and leaves out those that Synapse showed to nobody. `get_missing_events` needs both ends of a gap; the walk
    /// knows the newer end only, as it goes on to the create event. Its 20 events come in the order of a search through
    /// `prev_events`, which is not the order in which clients saw them. So the walk would need five requests in the place
    /// of one, and would learn less. The method is here for a homeserver that knows both ends of a gap and wants nothing
    /// beyond them.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn get_missing_events(
        &self,
        room: &RoomId,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: u32,
        min_depth: u64,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        #[derive(Serialize)]
        struct Missing<'a> {
            earliest_events: &'a [OwnedEventId],
            latest_events: &'a [OwnedEventId],
            limit: u32,
            min_depth: u64,
        }
        #[derive(Deserialize)]
        struct Events {
            events: Vec<Box<RawValue>>,
        }

        let content =
            Missing { earliest_events: earliest, latest_events: latest, limit, min_depth };
        let content =
            ruma::canonical_json::to_canonical_value(content).map_err(ClientError::Signing)?;
        let url = self.url(&["v1", "get_missing_events", room.as_str()], &[]);
        let answer: Events =
            self.send(Method::POST, url, Some(content), Subject::Room(room)).await?;
        Ok(answer.events)
    }

    /// The devices of a user: `GET /v1/user/devices/{user}`.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub async fn user_devices(&self, user: &UserId) -> Result<UserDevices, ClientError> {
        let path = ["v1", "user", "devices", user.as_str()];
        self.get(&path, &[], Subject::User(user)).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        subject: Subject<'_>,
    ) -> Result<T, ClientError> {
        self.send(Method::GET, self.url(path, query), None, subject).await
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        self.url_of("federation", path, query)
    }

    /// A URL of one of the APIs between servers, below the path that the base may have.
    fn url_of(&self, api: &str, path: &[&str], query: &[(&str, &str)]) -> Url {
        // `new` refused URLs that have no path.
        endpoint(&self.base, &["_matrix", api], path, query)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        content: Option<CanonicalJsonValue>,
        subject: Subject<'_>,
    ) -> Result<T, ClientError> {
        let answer = self.ask(method, url, content, subject).await?;
        serde_json::from_slice(&answer.body).map_err(ClientError::NotJson)
    }

    /// Signs, sends, and gives the answer if it is a success.
    async fn ask(
        &self,
        method: Method,
        url: Url,
        content: Option<CanonicalJsonValue>,
        subject: Subject<'_>,
    ) -> Result<Answer, ClientError> {
        let body = content.as_ref().map(ToString::to_string);
        let authorization =
            x_matrix::authorization(&self.key, &self.server_name, &method, &url, content)?;
        let request = |client: &reqwest::Client| {
            let request = client
                .request(method.clone(), url.clone())
                .header(AUTHORIZATION, authorization.clone());
            match &body {
                Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.clone()),
                None => request,
            }
        };
        let answer = self
            .http
            .send(Repeat::Safe, request)
            .await
            .map_err(|error| ClientError::http(&self.base, error))?;
        if !answer.status.is_success() {
            return Err(ClientError::refused(&answer, subject));
        }
        Ok(answer)
    }
}

/// The envelope of `/event` and `/backfill`.
#[derive(Deserialize)]
struct Pdus {
    pdus: Vec<Box<RawValue>>,
}
