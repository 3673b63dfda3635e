//! Synapse's admin, client and federation APIs as a source: for a Synapse whose database is out of reach.
//!
//! * The admin API gives accounts, rooms and complete events of every room.
//! * The client API, with login tokens that the admin API makes, gives what only a user sees of itself.
//! * Federation of the server with itself gives the state before an event.
//!
//! They can't give passwords, access tokens, one-time keys and pending to-device messages. The order of a timeline is by
//! depth, then arrival, as the admin API pages; only the database knows the order of arrival alone.
//!
//! | module | reads |
//! |---|---|
//! | `server` | keys and blocked rooms |
//! | `users` | which accounts there are |
//! | `user` | an account with all it owns, and which rooms it sees |
//! | `rooms` | which rooms there are |
//! | `room` | a room: head, timeline, states, outliers |
//! | `media` | uploads, and what is quarantined |
//! | `survey` | what a check wants to know before a dump |
//!
//! All go through the `connection`. What `user` notes of rooms and erased users (`Noted`) is what `rooms` and
//! `room` build on.

mod connection;
mod counter;
mod error;
mod logins;
mod media;
mod room;
mod rooms;
mod seen_by_users;
mod server;
mod survey;
mod user;
mod users;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use conduit_backfill::{Client, http::HttpOptions};
use reqwest::Url;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId};
use secrecy::SecretString;

pub use self::error::ApiError;
use self::{
    connection::Connection, logins::Logins, rooms::ListedRoom, seen_by_users::SeenByUsers,
    server::Keys,
};
use super::erased::Erased;
use crate::{
    dump::{
        DumpWriter, Extent,
        format::{DumpServer, DumpUser, SourceInfo, SourceKind},
    },
    progress::Progress,
    source::{Source, SourceError, survey::Survey},
    tally::Tally,
};

/// What is needed to read a Synapse through its APIs.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The URL of a listener with the resources `client` and `federation`, such as `http://127.0.0.1:8008`.
    pub homeserver: Url,
    /// An administrator's access token.
    pub admin_token: SecretString,
    /// The content of the signing key file.
    pub signing_key: SecretString,
    /// The server name, if it shall be checked.
    pub server_name: Option<OwnedServerName>,
    /// How much is read. The APIs know nothing of other servers' media, and no access tokens.
    pub extent: Extent,
    /// Now, in milliseconds since the Unix epoch: login tokens end a week later.
    pub now_ts: u64,
    /// Timeouts, limits, tries.
    pub http: HttpOptions,
}

/// A Synapse behind its APIs.
#[derive(Debug)]
pub struct ApiSource {
    synapse: Synapse,
    keys: Keys,
    extent: Extent,
    noted: Noted,
    /// The accounts, once listed.
    users: Vec<OwnedUserId>,
    /// The position of the server's device lists, once Synapse has answered.
    device_list_stream_id: Option<u64>,
}

/// A Synapse, and how it is reached.
#[derive(Debug)]
struct Synapse {
    api: Connection,
    federation: Client,
    server_name: OwnedServerName,
    /// Whose token the requests have.
    admin: OwnedUserId,
    logins: Logins,
    version: Option<String>,
    /// Synapse has `fetch_event`, since 1.140.
    has_fetch_event: bool,
}

/// What is known of rooms before they are read.
#[derive(Debug, Default)]
struct Noted {
    /// The rooms that the admin API lists, once listed.
    listed: BTreeMap<OwnedRoomId, ListedRoom>,
    seen: SeenByUsers,
    /// The users that were read and are erased.
    erased: Erased,
}

impl ApiSource {
    /// Connects, and checks token, signing key and server name.
    ///
    /// # Errors
    ///
    /// Any [`ApiError`].
    pub async fn connect(options: ApiOptions) -> Result<Self, ApiError> {
        let extent = options.extent;
        let (synapse, keys) = server::connect(options).await?;
        let noted = Noted::default();
        Ok(Self { synapse, keys, extent, noted, users: Vec::new(), device_list_stream_id: None })
    }
}

#[async_trait]
impl Source for ApiSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            kind: SourceKind::Api,
            synapse_version: self.synapse.version.clone(),
            schema_version: None,
            extent: Some(self.extent),
            pending_updates: Vec::new(),
        }
    }

    async fn survey(&mut self) -> Result<Survey, SourceError> {
        Ok(survey::read(&self.synapse.api, &self.synapse.server_name).await?)
    }

    async fn server(&mut self, tally: &mut Tally) -> Result<DumpServer, SourceError> {
        let Synapse { api, server_name, .. } = &self.synapse;
        self.noted.listed = rooms::listed(api).await?;
        let rooms = self.noted.listed.keys();
        Ok(server::read(api, server_name, &self.keys, rooms, tally).await?)
    }

    async fn users(&mut self, tally: &mut Tally) -> Result<Vec<OwnedUserId>, SourceError> {
        let Synapse { api, server_name, .. } = &self.synapse;
        self.users = users::list(api, server_name, tally).await?;
        Ok(self.users.clone())
    }

    async fn user(
        &mut self,
        user_id: &OwnedUserId,
        tally: &mut Tally,
    ) -> Result<Option<DumpUser>, SourceError> {
        let Self { synapse, noted, users, device_list_stream_id, .. } = self;
        let mut reader = user::UserReader { synapse, noted, users, device_list_stream_id };
        Ok(reader.read(user_id, tally).await?)
    }

    /// The APIs don't show them.
    async fn messages(
        &mut self,
        _user: &DumpUser,
        _writer: &DumpWriter,
        _tally: &mut Tally,
    ) -> Result<(), SourceError> {
        Ok(())
    }

    async fn rooms(&mut self, tally: &mut Tally) -> Result<Vec<Vec<OwnedRoomId>>, SourceError> {
        let rooms = rooms::list(&self.synapse.api, &mut self.noted, tally).await?;
        Ok(rooms.into_iter().map(|room| vec![room]).collect())
    }

    async fn room(
        &mut self,
        room_id: &OwnedRoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        let Self { synapse, noted, extent, .. } = self;
        room::write(synapse, noted, extent, room_id, writer, tally).await
    }

    async fn media(
        &mut self,
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        let Synapse { api, server_name, .. } = &self.synapse;
        let media = media::MediaReader { api, server_name, files: self.extent.media };
        media.write(&self.users, writer, tally, progress).await
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(self.synapse.logins.close().await?)
    }
}
