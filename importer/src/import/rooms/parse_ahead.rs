//! Reading a room ahead of what is done with it: one thread reads, all cores parse, the caller gets the items in order.
//! What is in memory already is given as it is.

use std::sync::mpsc::{SyncSender, sync_channel};

use rayon::prelude::*;

use super::{
    lazy_event::LazyEvent,
    source::{Item, RoomSource, Sections},
};
use crate::import::ImportError;

/// Bytes of events that make a batch.
const BATCH_BYTES: usize = 512 << 10;
/// Fewer items are prepared by one thread.
const WORTH_SHARING: usize = 100;
/// Batches that wait for the caller.
const WAITING: usize = 4;

/// Reads all items of a room and gives them to `visit` in order; `prepare` has had the events before.
pub(super) fn read(
    source: &dyn RoomSource,
    sections: Sections,
    prepare: impl Fn(&LazyEvent) + Sync,
    mut visit: impl FnMut(Item) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    if source.is_in_memory() {
        return source.read(sections, &mut |item| visit(item).map(|()| true));
    }
    let prepare = &prepare;
    let (sender, batches) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || fill(source, sections, prepare, &sender));
        // When the visitor fails, the reader notices that nobody takes its batches.
        let visited = batches.into_iter().flatten().try_for_each(visit);
        match reader.join() {
            Ok(read) => visited.and(read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Sends prepared batches until the room ends or nobody listens.
fn fill(
    source: &dyn RoomSource,
    sections: Sections,
    prepare: &(impl Fn(&LazyEvent) + Sync),
    sender: &SyncSender<Vec<Item>>,
) -> Result<(), ImportError> {
    let mut batch = Vec::new();
    let mut bytes: usize = 0;
    let read = source.read(sections, &mut |item| {
        bytes += item.bytes();
        batch.push(item);
        if bytes < BATCH_BYTES {
            return Ok(true);
        }
        bytes = 0;
        prepare_all(&batch, prepare);
        Ok(sender.send(std::mem::take(&mut batch)).is_ok())
    });
    prepare_all(&batch, prepare);
    drop(sender.send(batch));
    read
}

/// Prepares events on all cores.
pub(super) fn prepare_all(items: &[Item], prepare: &(impl Fn(&LazyEvent) + Sync)) {
    let prepare = |item: &Item| match item {
        Item::Outlier(event) | Item::Timeline(event) => prepare(event),
        Item::State(_) | Item::Receipt(_) => {}
    };
    if items.len() < WORTH_SHARING {
        items.iter().for_each(prepare);
    } else {
        items.par_iter().with_min_len(16).for_each(prepare);
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Outlier(event) | Self::Timeline(event) => event.pdu.get().len(),
            Self::State(state) => state.set.len() * 100,
            Self::Receipt(_) => 100,
        }
    }
}
