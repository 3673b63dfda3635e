//! Synapse's database as a source: SQLite and PostgreSQL, in one read-only snapshot.
//!
//! Nothing is asked of Synapse itself. It may run meanwhile, but what it writes after the snapshot was taken is not read;
//! `database/connection.rs` says what the snapshot costs each engine.
//!
//! | module | reads |
//! |---|---|
//! | `server` | what belongs to the server as a whole |
//! | `users` | accounts and all they own |
//! | `rooms` | rooms: heads, states, timelines, outliers, receipts |
//! | `memberships` | who is in a room by its state and its member events, where Synapse's table of memberships is silent |
//! | `outbox` | what Synapse had not delivered yet |
//! | `media` | the rows of media, and the files |
//! | `census` | how many rows every table has, and what became of them |
//! | `survey` | what a check wants to know before a dump |
//!
//! Each takes the connection and the `Facts` that it needs, and returns what a later one needs: `users::list` and
//! `rooms::list` find owners whose rows can't move, which the census counts.

mod census;
mod connection;
mod counter;
mod error;
mod media;
mod memberships;
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

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use ruma::{OwnedRoomId, OwnedUserId};
use tokio::sync::OnceCell;

use self::{
    census::Counting,
    connection::{Connection, Databases},
    rooms::{AllEvents, ListedRooms},
    schema::Schema,
    users::ListedUsers,
};
pub use self::{error::DatabaseError, schema::SUPPORTED};
use super::erased::Erased;
use crate::{
    dump::{
        DumpWriter, Extent, History,
        census::Census,
        format::{DumpServer, DumpUser, SourceInfo},
    },
    progress::Progress,
    source::{ReferredFiles, Source, SourceError, survey::Survey},
    synapse::config::{DatabaseConfig, SynapseConfig},
    tally::Tally,
};

/// Synapse's database.
#[derive(Debug)]
pub struct DatabaseSource {
    databases: Databases,
    /// Connections to the same snapshots for a second reader, until there is one.
    second: Option<Databases>,
    facts: Facts,
    users: ListedUsers,
    rooms: ListedRooms,
    /// The rooms, when one reader has listed them for both.
    listed: Arc<OnceLock<ListedRooms>>,
    /// The events of all rooms, which both readers read.
    events: Arc<OnceCell<Arc<AllEvents>>>,
    /// The tables, which both readers count.
    counting: Arc<OnceCell<Counting>>,
}

/// What is settled when the source is opened. No reader changes it.
#[derive(Clone, Debug)]
struct Facts {
    schema: Schema,
    config: SynapseConfig,
    extent: Extent,
    erased: Erased,
    /// Application services' users that own something and have no row in `users`, with their services.
    senders: BTreeMap<OwnedUserId, String>,
    /// The present time in milliseconds since the epoch: what ended before is expired.
    now_ts: u64,
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
        extent: Extent,
        now_ts: u64,
    ) -> Result<Self, DatabaseError> {
        let (mut main, second_main) = Connection::open_two(&config.database).await?;
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
        let senders = census::active_senders(&mut main, &schema, config).await?;
        let is_complete = state.is_some() == second_state.is_some();
        let second = second_main.filter(|_| is_complete);
        Ok(Self {
            databases: Databases { main, state },
            second: second.map(|main| Databases { main, state: second_state }),
            facts: Facts { schema, config: config.clone(), extent, erased, senders, now_ts },
            users: ListedUsers::default(),
            rooms: ListedRooms::default(),
            listed: Arc::default(),
            events: Arc::default(),
            counting: Arc::default(),
        })
    }

    /// Takes the rooms over from the reader that has listed them.
    fn know_rooms(&mut self) {
        if self.rooms.groups().is_empty() {
            self.rooms = self.listed.get().cloned().unwrap_or_default();
        }
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
            kind: self.databases.main.kind(),
            synapse_version: None,
            schema_version: u32::try_from(self.facts.schema.version).ok(),
            extent: Some(self.facts.extent),
            pending_updates: self.facts.schema.pending_updates.clone(),
        }
    }

    fn second(&mut self) -> Option<Box<dyn Source>> {
        let databases = self.second.take()?;
        Some(Box::new(Self {
            databases,
            second: None,
            facts: self.facts.clone(),
            users: ListedUsers::default(),
            rooms: ListedRooms::default(),
            listed: Arc::clone(&self.listed),
            events: Arc::clone(&self.events),
            counting: Arc::clone(&self.counting),
        }))
    }

    async fn survey(&mut self) -> Result<Survey, SourceError> {
        Ok(survey::read(&mut self.databases, &mut self.second, &self.facts).await?)
    }

    async fn server(&mut self, tally: &mut Tally) -> Result<DumpServer, SourceError> {
        let Facts { config, now_ts, .. } = &self.facts;
        Ok(server::read(&mut self.databases.main, config, *now_ts, tally).await?)
    }

    async fn users(&mut self, tally: &mut Tally) -> Result<Vec<OwnedUserId>, SourceError> {
        self.users = users::list(&mut self.databases.main, &self.facts, tally).await?;
        Ok(self.users.ids().to_vec())
    }

    async fn user(
        &mut self,
        user_id: &OwnedUserId,
        tally: &mut Tally,
    ) -> Result<Option<DumpUser>, SourceError> {
        let db = &mut self.databases.main;
        Ok(users::read(db, &mut self.users, &self.facts, user_id, tally).await?)
    }

    async fn messages(
        &mut self,
        user: &DumpUser,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        users::write_messages(&mut self.databases.main, &mut self.users, user, writer, tally).await
    }

    async fn rooms(&mut self, tally: &mut Tally) -> Result<Vec<Vec<OwnedRoomId>>, SourceError> {
        let listed = rooms::list(&mut self.databases.main, &self.facts, tally).await?;
        self.rooms = self.listed.get_or_init(|| listed).clone();
        Ok(self.rooms.groups().to_vec())
    }

    async fn prepare_rooms(
        &mut self,
        writer: &DumpWriter,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        // With an earlier dump, the events of few rooms are read.
        if writer.is_since() || self.facts.extent.history == History::Recent {
            return Ok(());
        }
        self.know_rooms();
        let (db, rooms) = (&mut self.databases.main, &mut self.rooms);
        let events = self.events.get_or_try_init(async || {
            let events = AllEvents::of(db, rooms, writer.directory(), progress).await?;
            Ok::<_, SourceError>(Arc::new(events))
        });
        let events = Arc::clone(events.await?);
        events.read(&mut self.databases.main).await?;
        self.rooms.take(events);
        Ok(())
    }

    async fn room(
        &mut self,
        room_id: &OwnedRoomId,
        writer: &DumpWriter,
        tally: &mut Tally,
    ) -> Result<(), SourceError> {
        self.know_rooms();
        let Self { databases, facts, rooms, .. } = self;
        rooms::write(databases, facts, rooms, room_id, writer, tally).await
    }

    async fn outbox(&mut self, writer: &DumpWriter, tally: &mut Tally) -> Result<(), SourceError> {
        outbox::write(&mut self.databases.main, writer, tally).await
    }

    async fn media(
        &mut self,
        writer: &DumpWriter,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        media::write(&mut self.databases.main, &self.facts, writer, tally, progress).await
    }

    async fn media_files(&mut self) -> Result<Option<ReferredFiles>, SourceError> {
        Ok(media::files(&mut self.databases.main, &self.facts).await?)
    }

    async fn count(&mut self) -> Result<(), SourceError> {
        // No room is left to be read.
        self.events = Arc::default();
        self.rooms.leave_events();
        let Self { databases, facts, rooms, listed, counting, .. } = self;
        let counting = counting.get_or_try_init(|| Counting::of(databases, true)).await?;
        let who = census::Owners::of(facts, listed.get().unwrap_or(rooms));
        Ok(counting.count(databases, who).await?)
    }

    async fn census(&mut self, tally: &mut Tally) -> Result<Option<Census>, SourceError> {
        let Self { databases, facts, users, rooms, listed, counting, .. } = self;
        let counting = counting.get_or_try_init(|| Counting::of(databases, true)).await?;
        let who = census::Owners::of(facts, listed.get().unwrap_or(rooms));
        let left_out = &users.left_out;
        Ok(Some(census::read(databases, who, left_out, counting, Some(tally)).await?))
    }

    async fn close(&mut self) -> Result<(), SourceError> {
        Ok(self.databases.end().await?)
    }
}
