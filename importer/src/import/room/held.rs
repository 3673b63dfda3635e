//! Rooms on their way to the import: while one is imported, the next ones are read, small ones as a whole.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::{Item, RoomSource, Sections, Visit};
use crate::{
    dump::{DumpReader, ReadError, RoomReader, format::DumpRoom},
    import::ImportError,
};

/// Bytes of the files of a room that is held in memory.
const SMALL: u64 = 4 << 20;
/// Rooms that wait for the import.
const WAITING: usize = 2;

/// A room that is read once. The import reads it several times.
#[derive(Debug)]
struct Held {
    reader: RoomReader,
    items: Vec<Item>,
}

impl RoomSource for Held {
    fn head(&self) -> &DumpRoom {
        self.reader.head()
    }

    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError> {
        for item in self.items.iter().filter(|item| sections.have(item)) {
            if !visit(item.clone())? {
                break;
            }
        }
        Ok(())
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

type Next = Result<Box<dyn RoomSource + Send>, ImportError>;

/// Gives all rooms of a dump to `import`, in order.
pub(in crate::import) fn each(
    dump: &DumpReader,
    mut import: impl FnMut(&dyn RoomSource) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let (sender, rooms) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || send(dump, &sender));
        // When the import ends early, the reader notices that nobody takes its rooms.
        rooms.into_iter().try_for_each(|room| import(&*room?))
    })
}

fn send(dump: &DumpReader, sender: &SyncSender<Next>) {
    for room in dump.rooms() {
        let room = open(room);
        let failed = room.is_err();
        if sender.send(room).is_err() || failed {
            break;
        }
    }
}

fn open(room: Result<RoomReader, ReadError>) -> Next {
    let reader = room?;
    if reader.size()? > SMALL {
        return Ok(Box::new(reader));
    }
    let mut items = Vec::new();
    reader.read(Sections::All, &mut |item| {
        items.push(item);
        Ok(true)
    })?;
    Ok(Box::new(Held { reader, items }))
}
