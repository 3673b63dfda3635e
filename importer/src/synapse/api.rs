//! Synapse's admin, client and federation APIs as a source: for a Synapse whose database is out of reach.
//!
//! * The admin API gives accounts, rooms and complete events of every room.
//! * The client API, with login tokens that the admin API makes, gives what only a user sees of itself.
//! * Federation of the server with itself gives the state before an event.
//!
//! It can't give passwords, access tokens, one-time keys and pending to-device messages. The order of a timeline is by
//! depth, then arrival, as the admin API pages; only the database knows the order of arrival alone.
//!
//! [`ApiSource::users`] lists the accounts, [`ApiSource::user`] notes which rooms each of them sees and whether it was
//! erased, [`ApiSource::rooms`] and [`ApiSource::room`] build on these notes.

mod connection;
mod counter;
mod error;
mod logins;
mod media;
mod room;
mod server;
mod spool;
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
    connection::Connection,
    logins::Logins,
    room::{ListedRoom, Sightings},
    server::Keys,
};
use super::erased::Erased;
use crate::{
    dump::{
        DumpWriter, Extent, History, MediaFiles,
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
    /// How much of each timeline is read.
    pub history: History,
    /// With [`History::Recent`]: how many events more than the newest ones are read, to begin with what these relate to.
    pub reach_back: u32,
    /// Now, in milliseconds since the Unix epoch: login tokens end a week later.
    pub now_ts: u64,
    /// Timeouts, limits, tries.
    pub http: HttpOptions,
}

/// A Synapse behind its APIs.
#[derive(Debug)]
pub struct ApiSource {
    api: Connection,
    federation: Client,
    server_name: OwnedServerName,
    admin: OwnedUserId,
    keys: Keys,
    synapse_version: Option<String>,
    history: History,
    reach_back: u32,
    media: MediaFiles,
    now_ts: u64,
    logins: Logins,
    listed: BTreeMap<OwnedRoomId, ListedRoom>,
    sightings: Sightings,
    /// The users that were read and are erased.
    erased: Erased,
    /// The accounts, once listed.
    users: Vec<OwnedUserId>,
    /// The position of the server's device lists, once asked for.
    device_list_stream_id: Option<u64>,
    /// Synapse has `fetch_event`, since 1.140.
    has_fetch_event: bool,
}

#[async_trait]
impl Source for ApiSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            kind: SourceKind::Api,
            synapse_version: self.synapse_version.clone(),
            schema_version: None,
            extent: Some(Extent {
                history: self.history,
                reach_back: self.reach_back,
                media: self.media,
                remote_media: false,
                keep_expiring_tokens: false,
            }),
        }
    }

    async fn survey(&mut self) -> Result<Survey, SourceError> {
        Ok(self.look().await?)
    }

    async fn server(&mut self, tally: &mut Tally) -> Result<DumpServer, SourceError> {
        Ok(self.read_server(tally).await?)
    }

    async fn users(&mut self, tally: &mut Tally) -> Result<Vec<OwnedUserId>, SourceError> {
        Ok(self.read_users(tally).await?)
    }

    async fn user(
        &mut self,
        user_id: &OwnedUserId,
        tally: &mut Tally,
    ) -> Result<Option<DumpUser>, SourceError> {
        Ok(self.read_user(user_id, tally).await?)
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

    async fn rooms(&mut self, tally: &mut Tally) -> Result<Vec<OwnedRoomId>, SourceError> {
        Ok(self.read_rooms(tally).await?)
    }

    async fn room(
        &mut self,
        room_id: &OwnedRoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        self.read_room(room_id, writer, tally).await
    }

    async fn media(
        &mut self,
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        self.read_media(writer, tally, progress).await
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(self.logins.close(&self.api).await?)
    }
}
