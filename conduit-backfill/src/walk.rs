//! One step of a walk through a room.

use ruma::{EventId, OwnedRoomId, RoomId};

use crate::{
    error::BackfillError,
    host::Host,
    upstream::{Limited, Upstream},
};

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Events that were put before the timeline.
    pub(crate) added: usize,
    /// Whether nothing is left.
    pub(crate) complete: bool,
    /// The greatest depth among the events that the upstream gave.
    pub(crate) depth: Option<u64>,
}

/// A walk through a room, from its timeline's beginning towards its create event.
pub(crate) struct Walk<'a> {
    host: &'a dyn Host,
    upstream: &'a Limited,
    page: u32,
    room: OwnedRoomId,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        host: &'a dyn Host,
        upstream: &'a Limited,
        page: u32,
        room: OwnedRoomId,
    ) -> Self {
        Self { host, upstream, page, room }
    }

    pub(crate) async fn step(&mut self) -> Result<Step, BackfillError> {
        let missing =
            self.host.missing(&self.room).await.map_err(BackfillError::host(&self.room))?;
        let Some(event) = missing.into_iter().next() else {
            return Ok(Step { complete: true, ..Step::default() });
        };
        self.upstream
            .backfill(&self.room, &[event.clone()], self.page)
            .await
            .map_err(BackfillError::upstream(&self.room))?;
        Err(BackfillError::NoProgress { room: self.room.clone(), event })
    }
}

/// The depth of an event of the room, if the upstream has it.
pub(crate) async fn depth_upstream(
    upstream: &Limited,
    room: &RoomId,
    event: &EventId,
) -> Result<Option<u64>, BackfillError> {
    let _ = (upstream, room, event);
    Ok(None)
}
