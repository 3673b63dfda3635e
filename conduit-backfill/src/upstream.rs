//! The old homeserver, as far as a walk asks it.

use async_trait::async_trait;
use ruma::{EventId, OwnedEventId, RoomId};
use serde_json::value::RawValue;

use crate::client::{Client, ClientError, RoomState, RoomStateIds};

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

    /// See [`Client::get_missing_events`].
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
}
