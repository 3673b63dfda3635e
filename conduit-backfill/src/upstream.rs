//! The old homeserver, as far as a walk asks it.

use std::sync::Arc;

use async_trait::async_trait;
use ruma::{EventId, OwnedEventId, RoomId, ServerName};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    client::{Client, ClientError, RoomState, RoomStateIds},
    host::VerifyKey,
};

/// What a walk asks of the old homeserver. Nothing that it answers is believed.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// See [`Client::event`].
    async fn event(&self, event: &EventId) -> Result<Box<RawValue>, ClientError>;

    /// See [`Client::backfill`].
    async fn backfill(
        &self,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Box<RawValue>>, ClientError>;

    /// See [`Client::get_missing_events`], which says why a walk does not ask for it.
    async fn get_missing_events(
        &self,
        room: &RoomId,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: u32,
        min_depth: u64,
    ) -> Result<Vec<Box<RawValue>>, ClientError>;

    /// See [`Client::state_ids`].
    async fn state_ids(&self, room: &RoomId, event: &EventId) -> Result<RoomStateIds, ClientError>;

    /// See [`Client::state`].
    async fn state(&self, room: &RoomId, event: &EventId) -> Result<RoomState, ClientError>;

    /// See [`Client::event_auth`].
    async fn event_auth(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<Box<RawValue>>, ClientError>;

    /// See [`Client::server_keys`]. By default none.
    async fn server_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, ClientError> {
        let _ = server;
        Ok(Vec::new())
    }
}

#[async_trait]
impl Upstream for Client {
    async fn event(&self, event: &EventId) -> Result<Box<RawValue>, ClientError> {
        Self::event(self, event).await
    }

    async fn backfill(
        &self,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        Self::backfill(self, room, from, limit).await
    }

    async fn get_missing_events(
        &self,
        room: &RoomId,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: u32,
        min_depth: u64,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        Self::get_missing_events(self, room, earliest, latest, limit, min_depth).await
    }

    async fn state_ids(&self, room: &RoomId, event: &EventId) -> Result<RoomStateIds, ClientError> {
        Self::state_ids(self, room, event).await
    }

    async fn state(&self, room: &RoomId, event: &EventId) -> Result<RoomState, ClientError> {
        Self::state(self, room, event).await
    }

    async fn event_auth(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        Self::event_auth(self, room, event).await
    }

    async fn server_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, ClientError> {
        Self::server_keys(self, server).await
    }
}

/// An upstream of which only so much is asked at the same time.
pub(crate) struct Limited {
    upstream: Arc<dyn Upstream>,
    permits: Semaphore,
}

impl Limited {
    pub(crate) fn new(upstream: Arc<dyn Upstream>, requests: usize) -> Self {
        Self { upstream, permits: Semaphore::new(requests.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    /// `None` never comes: nobody closes the semaphore.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }
}

#[async_trait]
impl Upstream for Limited {
    async fn event(&self, event: &EventId) -> Result<Box<RawValue>, ClientError> {
        let _turn = self.turn().await;
        self.upstream.event(event).await
    }

    async fn backfill(
        &self,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        let _turn = self.turn().await;
        self.upstream.backfill(room, from, limit).await
    }

    async fn get_missing_events(
        &self,
        room: &RoomId,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: u32,
        min_depth: u64,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        let _turn = self.turn().await;
        self.upstream.get_missing_events(room, earliest, latest, limit, min_depth).await
    }

    async fn state_ids(&self, room: &RoomId, event: &EventId) -> Result<RoomStateIds, ClientError> {
        let _turn = self.turn().await;
        self.upstream.state_ids(room, event).await
    }

    async fn state(&self, room: &RoomId, event: &EventId) -> Result<RoomState, ClientError> {
        let _turn = self.turn().await;
        self.upstream.state(room, event).await
    }

    async fn event_auth(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        let _turn = self.turn().await;
        self.upstream.event_auth(room, event).await
    }

    async fn server_keys(&self, server: &ServerName) -> Result<Vec<VerifyKey>, ClientError> {
        let _turn = self.turn().await;
        self.upstream.server_keys(server).await
    }
}
