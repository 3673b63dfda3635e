//! The library's view of the database.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use conduit_backfill::host::{GivenUp, Host, HostError, Page, Pdu, Place, StateMap, VerifyKey};
use ruma::{CanonicalJsonObject, EventId, OwnedEventId, RoomId, RoomVersionId, ServerName};

use super::keys::Keys;
use crate::import::history::{History, HistoryError};

/// A Conduit database as the [`Host`] of its earlier history. Calls of the database block, so each runs on a thread for blocking
/// work, one at a time.
#[derive(Clone, Debug)]
pub struct DatabaseHost {
    history: Arc<Mutex<History>>,
    keys: Arc<Keys>,
}

impl DatabaseHost {
    /// Takes a database.
    pub fn new(history: History, keys: Keys) -> Self {
        Self { history: Arc::new(Mutex::new(history)), keys: Arc::new(keys) }
    }

    /// Does something with the database.
    ///
    /// # Errors
    ///
    /// [`HistoryError`], or that the work panicked.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut History) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HostError> {
        let history = self.history.clone();
        let work = move || {
            // A call that panicked has changed nothing on disk, and left nothing behind in memory.
            let mut history = history.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut history)
        };
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    /// The database again, if nobody else uses it.
    pub fn into_history(self) -> Option<History> {
        let history = Arc::into_inner(self.history)?;
        Some(history.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Host for DatabaseHost {
    async fn room_version(&self, room: &RoomId) -> Result<Option<RoomVersionId>, HostError> {
        let room = room.to_owned();
        self.with(move |history| history.room_version(&room)).await
    }

    async fn first(&self, room: &RoomId) -> Result<Option<OwnedEventId>, HostError> {
        let room = room.to_owned();
        self.with(move |history| history.first(&room)).await
    }

    async fn missing(&self, room: &RoomId) -> Result<BTreeSet<OwnedEventId>, HostError> {
        let room = room.to_owned();
        self.with(move |history| history.missing(&room)).await
    }

    async fn place(&self, room: &RoomId, event: &EventId) -> Result<Place, HostError> {
        let (room, event) = (room.to_owned(), event.to_owned());
        self.with(move |history| history.place(&room, &event)).await
    }

    async fn event(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<CanonicalJsonObject>, HostError> {
        let (room, event) = (room.to_owned(), event.to_owned());
        self.with(move |history| history.event(&room, &event)).await
    }

    async fn state_before(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<StateMap>, HostError> {
        let (room, event) = (room.to_owned(), event.to_owned());
        self.with(move |history| history.state_before(&room, &event)).await
    }

    async fn redactions_of(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<OwnedEventId>, HostError> {
        let (room, event) = (room.to_owned(), event.to_owned());
        self.with(move |history| history.redactions_of(&room, &event)).await
    }

    async fn verify_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, HostError> {
        let name = server.to_owned();
        let kept = self.with(move |history| history.kept_keys(&name)).await?;
        Ok(self.keys.of(server, kept.as_deref()))
    }

    async fn add_outliers(&self, room: &RoomId, events: Vec<Pdu>) -> Result<(), HostError> {
        let room = room.to_owned();
        self.with(move |history| history.add_outliers(&room, events)).await
    }

    async fn prepend(&self, room: &RoomId, page: Page) -> Result<(), HostError> {
        let room = room.to_owned();
        self.with(move |history| history.prepend(&room, page)).await
    }

    async fn give_up(
        &self,
        room: &RoomId,
        event: &EventId,
        reason: GivenUp,
    ) -> Result<(), HostError> {
        let (room, event) = (room.to_owned(), event.to_owned());
        self.with(move |history| history.give_up(&room, &event, reason)).await
    }
}
