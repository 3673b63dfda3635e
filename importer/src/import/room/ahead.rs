//! Reading a room ahead of what is done with it: one thread reads, all cores parse, the caller gets the items in order.
//! What is in memory already is parsed at once.

use std::sync::mpsc::{SyncSender, sync_channel};

use rayon::prelude::*;

use super::{Item, RoomSource, Sections};
use crate::{dump::format::DumpEvent, import::ImportError};

/// Bytes of events that make a batch.
const BATCH_BYTES: usize = 512 << 10;
/// Batches that wait for the caller.
const WAITING: usize = 2;

/// Reads all items of a room and gives them to `visit`, events with what `parse` makes of them.
pub(super) fn read<T: Send>(
    source: &dyn RoomSource,
    sections: Sections,
    parse: impl Fn(&DumpEvent) -> T + Sync,
    mut visit: impl FnMut(Item<T>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let parse = &parse;
    if source.is_in_memory() {
        let mut items = Vec::new();
        source.read(sections, &mut |item| {
            items.push(item);
            Ok(true)
        })?;
        return parsed(items, parse).into_iter().try_for_each(visit);
    }
    let (sender, batches) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || fill(source, sections, parse, &sender));
        let mut visited = Ok(());
        'batches: for batch in batches {
            for item in batch {
                visited = visit(item);
                if visited.is_err() {
                    // The reader notices that nobody takes its batches.
                    break 'batches;
                }
            }
        }
        match reader.join() {
            Ok(read) => visited.and(read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Sends parsed batches until the room ends or nobody listens.
fn fill<T: Send>(
    source: &dyn RoomSource,
    sections: Sections,
    parse: &(impl Fn(&DumpEvent) -> T + Sync),
    sender: &SyncSender<Vec<Item<T>>>,
) -> Result<(), ImportError> {
    let mut batch = Vec::new();
    let mut bytes: usize = 0;
    let read = source.read(sections, &mut |item| {
        bytes = bytes.saturating_add(item.bytes());
        batch.push(item);
        if bytes < BATCH_BYTES {
            return Ok(true);
        }
        bytes = 0;
        Ok(sender.send(parsed(std::mem::take(&mut batch), parse)).is_ok())
    });
    let rest = parsed(batch, parse);
    drop(sender.send(rest));
    read
}

fn parsed<T: Send>(
    items: Vec<Item<()>>,
    parse: &(impl Fn(&DumpEvent) -> T + Sync),
) -> Vec<Item<T>> {
    items
        .into_par_iter()
        .with_min_len(16)
        .map(|item| match item {
            Item::State(state) => Item::State(state),
            Item::Outlier(event, ()) => {
                let parsed = parse(&event);
                Item::Outlier(event, parsed)
            }
            Item::Timeline(event, ()) => {
                let parsed = parse(&event);
                Item::Timeline(event, parsed)
            }
            Item::Receipt(receipt) => Item::Receipt(receipt),
        })
        .collect()
}

impl Item<()> {
    fn bytes(&self) -> usize {
        match self {
            Self::Outlier(event, ()) | Self::Timeline(event, ()) => event.pdu.get().len(),
            Self::State(state) => state.set.len().saturating_mul(100),
            Self::Receipt(_) => 100,
        }
    }
}
