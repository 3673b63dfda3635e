//! Requests to Conduit, each in the name of a user.

use conduit_backfill::http::{Answer, Http, HttpError, HttpOptions, Repeat, endpoint};
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue},
};
use ruma::{OwnedEventId, RoomId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

/// Events of a page; Conduit gives no more.
const PAGE: &str = "100";

/// A running Conduit.
#[derive(Clone, Debug)]
pub struct Conduit {
    http: Http,
    base: Url,
}

/// Why Conduit gave no answer of use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConduitError {
    /// The URL is not `http://…` or `https://…`.
    #[error(
        "`--conduit` begins with neither http:// nor https://; give one such as http://127.0.0.1:6167"
    )]
    BadUrl,
    /// Nobody answers.
    #[error("Conduit does not answer at {url}; start it, or correct `--conduit`")]
    Unreachable {
        /// The URL, without user and password.
        url: String,
        /// What happened.
        #[source]
        source: HttpError,
    },
    /// 401: it doesn't know the token.
    #[error("Conduit does not know the access token; the user has logged out since the dump")]
    Token,
    /// 403: the user is not in the room.
    #[error("Conduit says that the user is not in the room")]
    Forbidden,
    /// Any other status.
    #[error("Conduit answered {status} to {path}; its log says more")]
    Status {
        /// The status.
        status: StatusCode,
        /// The path asked for.
        path: String,
    },
    /// The answer is no JSON, or not what the endpoint gives.
    #[error(
        "the answer to {path} is not the JSON expected; check that `--conduit` leads to Conduit"
    )]
    NotJson {
        /// The path asked for.
        path: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl ConduitError {
    /// Whether another room may have more luck.
    pub(super) fn is_of_room(&self) -> bool {
        matches!(self, Self::Status { .. })
    }

    /// Whether another user may have more luck.
    pub(super) fn is_of_user(&self) -> bool {
        matches!(self, Self::Token | Self::Forbidden)
    }
}

/// A page of a timeline.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Events, the newest first.
    pub(super) chunk: Vec<Event>,
    /// Where the next page begins.
    pub(super) end: Option<String>,
}

/// What is needed of an event.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "event_id")]
    pub(super) id: OwnedEventId,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    state_key: Option<String>,
}

impl Event {
    pub(super) fn is_create(&self) -> bool {
        self.kind == "m.room.create" && self.state_key.as_deref() == Some("")
    }
}

impl Conduit {
    /// Asks nothing yet.
    ///
    /// # Errors
    ///
    /// [`ConduitError::BadUrl`], [`ConduitError::Unreachable`].
    pub fn new(base: Url, options: HttpOptions) -> Result<Self, ConduitError> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(ConduitError::BadUrl);
        }
        let url = base.origin().ascii_serialization();
        let http =
            Http::new(options).map_err(|source| ConduitError::Unreachable { url, source })?;
        Ok(Self { http, base })
    }

    /// `GET /_matrix/client/v3/rooms/{room}/messages`, backwards.
    pub(super) async fn messages(
        &self,
        token: &SecretString,
        room: &RoomId,
        from: Option<&str>,
    ) -> Result<Page, ConduitError> {
        let mut query = vec![("dir", "b"), ("limit", PAGE)];
        query.extend(from.map(|from| ("from", from)));
        self.get(token, &["rooms", room.as_str(), "messages"], &query).await
    }

    /// Whether members don't see all that was said in the room, by its present history visibility.
    pub(super) async fn hides_history(
        &self,
        token: &SecretString,
        room: &RoomId,
    ) -> Result<bool, ConduitError> {
        #[derive(Deserialize)]
        struct Content {
            history_visibility: String,
        }
        let path = ["rooms", room.as_str(), "state", "m.room.history_visibility"];
        match self.get::<Content>(token, &path, &[]).await {
            Ok(content) => Ok(["joined", "invited"].contains(&content.history_visibility.as_str())),
            Err(error @ ConduitError::Unreachable { .. }) => Err(error),
            Err(_none) => Ok(false),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        token: &SecretString,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ConduitError> {
        // `new` refused URLs that have no path.
        let url = endpoint(&self.base, &["_matrix", "client", "v3"], path, query);
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()))
            .map_err(|_no_header| ConduitError::Token)?;
        bearer.set_sensitive(true);
        let request = |client: &reqwest::Client| {
            client.get(url.clone()).header(AUTHORIZATION, bearer.clone())
        };
        let answer = self.http.send(Repeat::Safe, request).await;
        let Answer { status, body, .. } = answer.map_err(|source| ConduitError::Unreachable {
            url: self.base.origin().ascii_serialization(),
            source,
        })?;
        let path = || url.path().to_owned();
        match status {
            status if status.is_success() => serde_json::from_slice(&body)
                .map_err(|source| ConduitError::NotJson { path: path(), source }),
            StatusCode::UNAUTHORIZED => Err(ConduitError::Token),
            StatusCode::FORBIDDEN => Err(ConduitError::Forbidden),
            status => Err(ConduitError::Status { status, path: path() }),
        }
    }
}
