//! Synapse's database as a source: SQLite and PostgreSQL, in one read-only snapshot.
//!
//! Nothing is asked of Synapse itself. It may run meanwhile, but what it writes after the beginning is not read; see
//! `database/connection.rs` for what the two engines do until then.

mod census;
mod connection;
mod counter;
mod error;
mod media;
mod outbox;
mod rooms;
mod row;
mod schema;
mod server;
mod survey;
mod users;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use ruma::{OwnedRoomId, OwnedUserId};

use self::{census::Owners, connection::Connection, schema::Schema};
pub use self::{error::DatabaseError, schema::SUPPORTED};
use super::erased::Erased;
use crate::{
    dump::{
        DumpWriter, Extent, History, MediaFiles, MediaOptions,
        census::Census,
        format::{DumpServer, DumpUser, SourceInfo},
    },
    progress::Progress,
    source::{Source, SourceError, survey::Survey},
    synapse::config::{DatabaseConfig, SynapseConfig},
    tally::Tally,
};

/// Synapse's database.
#[derive(Debug)]
pub struct DatabaseSource {
    main: Connection,
    /// The connection to the state tables, if they are in a database of their own. Its snapshot is younger, which does
    /// no harm: a state group never changes.
    state: Option<Connection>,
    schema: Schema,
    config: SynapseConfig,
    history: History,
    /// How many events more than the newest ones a timeline may have, to begin with what these relate to.
    reach_back: u32,
    media: MediaOptions,
    /// Whether newest access tokens that a client would refresh are kept and last.
    keep_expiring_tokens: bool,
    erased: Erased,
    /// Milliseconds since the epoch: what is over by then is expired.
    now_ts: u64,
    /// The position of the device list stream, once read; 0 if nothing has ever been sent.
    device_list_stream_id: Option<u64>,
    /// What was read of the users that come next.
    batch: users::Batch,
    /// Owners for whom the database alone does not speak.
    owners: Owners,
    /// Another reader of the same snapshot, until it is asked for.
    second: Option<Box<Self>>,
}

impl DatabaseSource {
    /// Opens the database that the configuration names, and checks that it can be read. `now_ts` is the present time in
    /// milliseconds since the epoch.
    ///
    /// # Errors
    ///
    /// Any [`DatabaseError`].
    pub async fn open(
        config: &SynapseConfig,
        history: History,
        now_ts: u64,
    ) -> Result<Self, DatabaseError> {
        let (mut main, second) = Connection::open_two(&config.database).await?;
        let schema = Schema::read(&mut main, &place(&config.database)).await?;
        check_server_name(&mut main, config.server_name.as_str()).await?;
        let mut erased = Erased::default();
        for row in main.rows("erased_users", "SELECT user_id FROM erased_users", &[]).await? {
            erased.insert(&row.label());
        }
        let (state, second_state) = match &config.state_database {
            Some(database) => {
                let (state, second) = Connection::open_two(database).await?;
                (Some(state), second)
            }
            None => (None, None),
        };
        let mut source = Self {
            main,
            state,
            schema,
            config: config.clone(),
            history,
            reach_back: 0,
            media: MediaOptions { files: MediaFiles::Refer, remote: false },
            keep_expiring_tokens: false,
            erased,
            now_ts,
            device_list_stream_id: None,
            batch: users::Batch::default(),
            owners: Owners::default(),
            second: None,
        };
        source.owners.senders = source.active_senders().await?;
        let complete = source.state.is_some() == second_state.is_some();
        source.second = second.filter(|_| complete).map(|main| source.beside(main, second_state));
        Ok(source)
    }

    /// The same by other connections.
    fn beside(&self, main: Connection, state: Option<Connection>) -> Box<Self> {
        Box::new(Self {
            main,
            state,
            schema: self.schema.clone(),
            config: self.config.clone(),
            history: self.history,
            reach_back: self.reach_back,
            media: self.media,
            keep_expiring_tokens: self.keep_expiring_tokens,
            erased: self.erased.clone(),
            now_ts: self.now_ts,
            device_list_stream_id: None,
            batch: users::Batch::default(),
            owners: self.owners.clone(),
            second: None,
        })
    }

    /// With [`History::Recent`], lets a timeline have so many events more, to begin with what the newest ones relate to.
    #[must_use]
    pub fn reaching_back(mut self, events: u32) -> Self {
        self.reach_back = events;
        if let Some(second) = &mut self.second {
            second.reach_back = events;
        }
        self
    }

    /// Dumps media as said here, rather than to refer to the files of this server's own.
    #[must_use]
    pub fn with_media(mut self, media: MediaOptions) -> Self {
        self.media = media;
        self
    }

    /// Lets the newest access token of a session that Synapse would refresh last.
    #[must_use]
    pub fn keeping_expiring_tokens(mut self) -> Self {
        self.keep_expiring_tokens = true;
        self
    }

    /// Background updates that Synapse has not finished, sorted. None of them concerns what is read.
    pub fn pending_background_updates(&self) -> &[String] {
        &self.schema.pending_updates
    }
}

/// Where the rows of a table go, or why they don't, for people.
pub fn whereabouts(table: &str) -> Option<&'static str> {
    census::find(table.strip_prefix("state:").unwrap_or(table)).map(|table| table.why)
}

/// The database's name for messages.
fn place(config: &DatabaseConfig) -> String {
    match config {
        DatabaseConfig::Sqlite { path } => format!("`{}`", path.display()),
        DatabaseConfig::Postgres(config) => {
            format!(
                "the PostgreSQL database `{}`",
                config.database.as_deref().unwrap_or("(default)")
            )
        }
    }
}

/// Refuses a database of another server. One without any user belongs to nobody yet.
async fn check_server_name(db: &mut Connection, server_name: &str) -> Result<(), DatabaseError> {
    // The length test is the exact form of "ends with": names hold `_`, which LIKE takes for any character.
    let own =
        "SELECT name FROM users WHERE substr(name, length(name) - length($1) + 1) = $1 LIMIT 1";
    if !db.rows("users", own, &[format!(":{server_name}").as_str().into()]).await?.is_empty() {
        return Ok(());
    }
    let any = db.rows("users", "SELECT name FROM users ORDER BY name LIMIT 1", &[]).await?;
    match any.first() {
        None => Ok(()),
        Some(row) => Err(DatabaseError::ServerName {
            configured: server_name.to_owned(),
            found: row.label(),
        }),
    }
}

#[async_trait]
impl Source for DatabaseSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            kind: self.main.kind(),
            synapse_version: None,
            schema_version: u32::try_from(self.schema.version).ok(),
            extent: Some(Extent {
                history: self.history,
                reach_back: self.reach_back,
                media: self.media.files,
                remote_media: self.media.remote,
                keep_expiring_tokens: self.keep_expiring_tokens,
            }),
        }
    }

    fn second(&mut self) -> Option<Box<dyn Source>> {
        let second = self.second.take()?;
        Some(second)
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

    async fn messages(
        &mut self,
        user: &DumpUser,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        self.read_messages(user, writer, tally).await
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

    async fn outbox(&mut self, writer: &DumpWriter, tally: &mut Tally) -> Result<(), SourceError> {
        self.read_outbox(writer, tally).await
    }

    async fn media(
        &mut self,
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        self.read_media(writer, tally, progress).await
    }

    async fn census(&mut self, tally: &mut Tally) -> Result<Option<Census>, SourceError> {
        Ok(Some(self.count_tables(Some(tally)).await?))
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        if let Some(state) = &mut self.state {
            state.end().await?;
        }
        Ok(self.main.end().await?)
    }
}
