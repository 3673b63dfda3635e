//! Where a timeline begins of which only what is recent is dumped: at the newest events, or at what these relate to.

use std::collections::BTreeSet;

use ruma::{EventId, RoomId};
use serde_json::value::RawValue;

use super::{
    super::{ApiError, connection::Connection},
    event::event_id,
    fetch::Fetcher,
    timeline::{Extremity, Timeline},
};
use crate::synapse::relations;

/// How many of the newest events are dumped at least.
const RECENT: usize = 50;
/// How deep the first look for recent events goes.
const FIRST_SPAN: u64 = 60;

/// The depth from which on the timeline is dumped; what the newest events relate to is at most `reach_back` before them.
pub(super) async fn depth(
    extremities: &[Extremity],
    reach_back: u32,
    fetcher: &mut Fetcher<'_>,
) -> Result<u64, ApiError> {
    let (depth, events) = newest(fetcher.api, fetcher.room_id, extremities).await?;
    let end = depth.saturating_sub(reach_back.into());
    if end == depth {
        return Ok(depth);
    }
    let mut targets: BTreeSet<_> =
        events.iter().flat_map(|event| relations::targets(event.get())).collect();
    for event in &events {
        if let Ok(id) = EventId::parse(event_id(event)) {
            targets.remove(&id);
        }
    }
    let mut earliest = depth;
    for target in targets {
        let place = fetcher.fetch(&target).await?.and_then(Result::ok).map(|event| event.depth);
        earliest = place.filter(|place| *place >= end).unwrap_or(earliest).min(earliest);
    }
    Ok(earliest)
}

/// A depth from which on there are [`RECENT`] events at least, all extremities among them, and the first of these events; a
/// depth of 0 if there are fewer.
async fn newest(
    api: &Connection,
    room_id: &RoomId,
    extremities: &[Extremity],
) -> Result<(u64, Vec<Box<RawValue>>), ApiError> {
    let depths = || extremities.iter().map(|extremity| extremity.depth);
    let all = Ok((0, Vec::new()));
    let (Some(newest), Some(oldest)) = (depths().max(), depths().min()) else { return all };
    let mut span = FIRST_SPAN;
    while span < newest {
        let depth = newest.saturating_sub(span).min(oldest);
        let page = Timeline::from_depth(room_id, depth).page(api).await?;
        let events = page.map(|page| page.chunk).unwrap_or_default();
        if events.iter().filter(|event| !is_soft_failed(event)).count() >= RECENT {
            return Ok((depth, events));
        }
        span = span.saturating_mul(4);
    }
    all
}

fn is_soft_failed(event: &RawValue) -> bool {
    event.get().contains(r#""io.element.synapse.soft_failed":true"#)
}
