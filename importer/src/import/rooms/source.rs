//! Where a room comes from, and what it consists of.

use std::sync::Arc;

use super::lazy_event::LazyEvent;
use crate::{
    dump::{
        RoomReader,
        format::{DumpRemoteReceipt, DumpRoom, DumpState},
    },
    import::ImportError,
};

/// An item of a room.
#[derive(Clone, Debug)]
pub(super) enum Item {
    State(Arc<DumpState>),
    Outlier(Arc<LazyEvent>),
    Timeline(Arc<LazyEvent>),
    Receipt(DumpRemoteReceipt),
}

/// What to read of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sections {
    /// States, outliers, timeline, other servers' receipts.
    All,
    /// States alone.
    States,
    /// The rest.
    Events,
}

impl Sections {
    pub(super) fn have(self, item: &Item) -> bool {
        match self {
            Self::All => true,
            Self::States => matches!(item, Item::State(_)),
            Self::Events => !matches!(item, Item::State(_)),
        }
    }
}

/// Where a room comes from: a file of the dump, or the importer itself.
pub(super) trait RoomSource: Sync {
    fn head(&self) -> &DumpRoom;

    /// Reads items in order.
    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError>;

    /// Whether the items are in memory, with all events parsed.
    fn is_in_memory(&self) -> bool {
        false
    }
}

/// What is done with each item; false if no more are wanted.
pub(super) type Visit<'a> = dyn FnMut(Item) -> Result<bool, ImportError> + 'a;

impl RoomSource for RoomReader {
    fn head(&self) -> &DumpRoom {
        self.head()
    }

    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError> {
        let mut reader = self.reopen()?;
        if sections != Sections::Events {
            for state in reader.states()? {
                if !visit(Item::State(Arc::new(state?)))? {
                    return Ok(());
                }
            }
        }
        if sections == Sections::States {
            return Ok(());
        }
        for event in reader.outliers()? {
            if !visit(Item::Outlier(Arc::new(LazyEvent::new(event?))))? {
                return Ok(());
            }
        }
        for event in reader.timeline()? {
            if !visit(Item::Timeline(Arc::new(LazyEvent::new(event?))))? {
                return Ok(());
            }
        }
        for receipt in reader.receipts()? {
            if !visit(Item::Receipt(receipt?))? {
                return Ok(());
            }
        }
        Ok(())
    }
}
