//! Paging through a room's timeline.
//!
//! Only forwards: backwards, Synapse would ask other servers for more. The order is by depth, then arrival; a paging
//! token `t<depth>-0` stands before the events of that depth.

use ruma::{OwnedEventId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{ApiError, connection::Connection};

/// Events in memory at a time; each can have 64 KiB, and as much again of what is bundled with it.
const PAGE: &str = "200";

/// A page of a timeline.
#[derive(Debug, Deserialize)]
pub(super) struct TimelinePage {
    pub(super) chunk: Vec<Box<RawValue>>,
    end: Option<String>,
}

/// A forward extremity.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Extremity {
    pub(super) event_id: OwnedEventId,
    pub(super) depth: u64,
}

/// A room's timeline, read page by page.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    room_id: &'a RoomId,
    filter: Option<&'static str>,
    /// Where the next page begins; `None` after the last one.
    next: Option<String>,
}

impl<'a> Timeline<'a> {
    /// From the events of a depth on.
    pub(super) fn from_depth(room_id: &'a RoomId, depth: u64) -> Self {
        Self { room_id, filter: None, next: Some(format!("t{depth}-0")) }
    }

    /// All redactions.
    pub(super) fn redactions(room_id: &'a RoomId) -> Self {
        let filter = Some(r#"{"types":["m.room.redaction"]}"#);
        Self { filter, ..Self::from_depth(room_id, 0) }
    }

    /// The next page. `None`: there are no more.
    pub(super) async fn page(
        &mut self,
        api: &Connection,
    ) -> Result<Option<TimelinePage>, ApiError> {
        let Some(from) = self.next.take() else { return Ok(None) };
        let path = ["v1", "rooms", self.room_id.as_str(), "messages"];
        let mut query = vec![("raw", "1"), ("dir", "f"), ("from", &from), ("limit", PAGE)];
        query.extend(self.filter.map(|filter| ("filter", filter)));
        let page: TimelinePage = api.admin(&path, &query).await?;
        // Pages that lead nowhere would never end.
        self.next = page.end.clone().filter(|end| *end != from && !page.chunk.is_empty());
        Ok(Some(page))
    }
}

/// The forward extremities, sorted.
pub(super) async fn extremities(
    api: &Connection,
    room_id: &RoomId,
) -> Result<Vec<Extremity>, ApiError> {
    #[derive(Deserialize)]
    struct ExtremitiesAnswer {
        results: Vec<Extremity>,
    }

    let path = ["v1", "rooms", room_id.as_str(), "forward_extremities"];
    let mut extremities = api.admin::<ExtremitiesAnswer>(&path, &[]).await?.results;
    extremities.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    Ok(extremities)
}
