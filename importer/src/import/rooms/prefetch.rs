//! Prefetch of rooms: while one is imported, the next ones are read, and small ones parsed as a whole.

use std::{
    iter,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
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
/// Bytes of the files of rooms that a reader has read and the import has not done with.
const AHEAD: u64 = 4 << 20;
/// What a room counts for at least, small or so large that it is not held.
const LEAST: u64 = 64 << 10;

/// A room that was read from the disk once. The import reads it several times.
#[derive(Debug)]
struct PrefetchedRoom {
    reader: RoomReader,
    items: Vec<Item>,
    _space: Space,
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

/// A room that is too large to be held.
#[derive(Debug)]
struct LargeRoom {
    reader: RoomReader,
    _space: Space,
}

impl RoomSource for LargeRoom {
    fn head(&self) -> &DumpRoom {
        self.reader.head()
    }

    fn read(&self, sections: Sections, visit: &mut Visit<'_>) -> Result<(), ImportError> {
        self.reader.read(sections, visit)
    }
}

/// What a reader may still read ahead.
#[derive(Debug)]
struct Budget {
    bytes: Mutex<u64>,
    more: Condvar,
}

impl Budget {
    fn new() -> Arc<Self> {
        Arc::new(Self { bytes: Mutex::new(AHEAD), more: Condvar::new() })
    }

    /// Waits for so much space.
    fn take(self: &Arc<Self>, bytes: u64) -> Space {
        let free = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.more.wait_while(free, |free| *free < bytes);
        let mut free = free.unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_sub(bytes);
        Space { budget: Arc::clone(self), bytes }
    }
}

/// Space that a room takes as long as this lives.
#[derive(Debug)]
struct Space {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Space {
    fn drop(&mut self) {
        let mut free = self.budget.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_add(self.bytes);
        self.budget.more.notify_one();
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
                let (sender, rooms) = channel();
                scope.spawn(move || send(dump.every_room(reader, READERS), &sender));
                rooms
            })
            .collect();
        // They take turns, so the first that has no room left is where the dump ends. When the import ends early, rooms that
        // wait give their space back, and the readers notice that nobody takes their rooms.
        let mut turns = readers.iter().cycle();
        iter::from_fn(|| turns.next()?.recv().ok()).try_for_each(|room| import(&*room?))
    })
}

fn send(rooms: impl Iterator<Item = Result<RoomReader, ReadError>>, sender: &Sender<Next>) {
    let budget = Budget::new();
    for room in rooms {
        let room = open(room, &budget);
        let failed = room.is_err();
        if sender.send(room).is_err() || failed {
            break;
        }
    }
}

fn open(room: Result<RoomReader, ReadError>, budget: &Arc<Budget>) -> Next {
    let reader = room?;
    let size = reader.size()?;
    if size > SMALL {
        return Ok(Box::new(LargeRoom { reader, _space: budget.take(LEAST) }));
    }
    let space = budget.take(size.max(LEAST));
    let mut items = Vec::new();
    reader.read(Sections::All, &mut |item| {
        items.push(item);
        Ok(true)
    })?;
    if let Some(parser) = Parser::of(reader.head()) {
        parse_ahead::prepare_all(&items, &|event| {
            event.parse(&parser);
            event.peeked();
        });
    }
    Ok(Box::new(PrefetchedRoom { reader, items, _space: space }))
}
