//! Prefetch of rooms: while one is imported, the next ones are read, and small ones parsed as a whole.

use std::{
    iter,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use super::{
    lazy_event::Parser,
    parse_ahead,
    source::{Item, RoomSource, Sections, Visit},
};
use crate::{
    dump::{DumpReader, ReadError, RoomReader, format::DumpRoom},
    import::ImportError,
};

/// Bytes of the files of a room that is held in memory, parsed.
const SMALL: u64 = 2 << 20;
/// How many threads read rooms. A single reader could not keep up: it idles while every core parses.
const READERS: usize = 2;
/// Rooms of each reader that wait for the import.
const WAITING: usize = 1;

/// A room that was read from the disk once. The import reads it several times.
#[derive(Debug)]
struct PrefetchedRoom {
    reader: RoomReader,
    items: Vec<Item>,
}

impl RoomSource for PrefetchedRoom {
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
pub(super) fn each(
    dump: &DumpReader,
    mut import: impl FnMut(&dyn RoomSource) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    std::thread::scope(|scope| {
        let readers: Vec<Receiver<Next>> = (0..READERS)
            .map(|reader| {
                let (sender, rooms) = sync_channel(WAITING);
                scope.spawn(move || send(dump.every_room(reader, READERS), &sender));
                rooms
            })
            .collect();
        // They take turns, so the first that has no room left is where the dump ends. When the import ends early, they
        // notice that nobody takes their rooms.
        let mut turns = readers.iter().cycle();
        iter::from_fn(|| turns.next()?.recv().ok()).try_for_each(|room| import(&*room?))
    })
}

fn send(rooms: impl Iterator<Item = Result<RoomReader, ReadError>>, sender: &SyncSender<Next>) {
    for room in rooms {
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
    if let Some(parser) = Parser::of(reader.head()) {
        parse_ahead::prepare_all(&items, &|event| {
            event.peeked();
            event.parse(&parser);
        });
    }
    Ok(Box::new(PrefetchedRoom { reader, items }))
}
