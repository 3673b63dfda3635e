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
/// Bytes of the files of rooms that a reader has read and the import has not finished.
const AHEAD: u64 = SMALL;
/// What a room counts for at least. One that is not held counts for this.
const LEAST: u64 = 32 << 10;

/// A room that was read from the disk once. The import reads it several times.
#[derive(Debug)]
struct PrefetchedRoom {
    head: DumpRoom,
    items: Vec<Item>,
    _space: Space,
}

impl RoomSource for PrefetchedRoom {
    fn head(&self) -> &DumpRoom {
        &self.head
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
    Ok(Box::new(PrefetchedRoom { head: reader.into_head(), items, _space: space }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::dump::{DumpWriter, format};

    fn from<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    /// A dump of rooms whose timelines have so many bytes, about.
    fn dump(sizes: &[u64]) -> (TempDir, DumpReader) {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("dump");
        let writer = DumpWriter::create(&directory).unwrap();
        let key = json!({"version": "a", "seed": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"});
        let server = json!({"server_name": "own.test", "signing_key": key});
        writer.server(&from(server)).unwrap();
        let event = json!({"event_id": "$e", "pdu": {"odd": "x".repeat(10_000)}});
        let event: format::DumpEvent = from(event);
        for (number, size) in sizes.iter().enumerate() {
            let room = format!("!r{number}:own.test");
            let room = json!({"room_id": room, "room_version": "10", "current_state": 1});
            let mut room = writer.room(&from(room)).unwrap();
            for _ in 0..size / 10_000 {
                room.timeline(&event).unwrap();
            }
            writer.finish_room(room).unwrap();
        }
        let manifest = json!({
            "version": format::VERSION, "server_name": "own.test", "created_ts": 1, "files": [],
            "source": {"kind": "sqlite"}, "tally": {"read": {}, "written": {}, "skipped": []},
        });
        writer.finish(from(manifest)).unwrap();
        let dump = DumpReader::open(&directory, |_| {}).unwrap();
        (scratch, dump)
    }

    fn stop() -> ImportError {
        ImportError::AdminRoom("stopped".into())
    }

    #[test]
    fn all_rooms_come_in_order_and_only_small_ones_are_in_memory() {
        let mut sizes = vec![SMALL - 20_000, SMALL + 20_000];
        sizes.extend(iter::repeat_n(300_000, 40));
        let (_scratch, dump) = dump(&sizes);
        let (mut found, mut in_memory) = (Vec::new(), 0);
        each(&dump, |room| {
            found.push(room.head().room_id.clone());
            in_memory += usize::from(room.is_in_memory());
            let mut events = 0;
            room.read(Sections::Events, &mut |_| {
                events += 1;
                Ok(true)
            })?;
            assert!(events >= 29, "{events}");
            Ok(())
        })
        .unwrap();
        let expected: Vec<_> =
            dump.rooms().map(|room| room.unwrap().head().room_id.clone()).collect();
        assert_eq!(found, expected);
        assert_eq!(in_memory, sizes.len() - 1);
    }

    /// More waits than readers may hold: whoever waits for space must notice.
    #[test]
    fn an_import_that_fails_ends_the_readers() {
        let (_scratch, dump) = dump(&[300_000; 60]);
        for fails_at in [1, 2, 30] {
            let mut seen = 0;
            let failed = each(&dump, |_| {
                seen += 1;
                if seen == fails_at { Err(stop()) } else { Ok(()) }
            });
            assert!(matches!(failed, Err(ImportError::AdminRoom(_))));
            assert_eq!(seen, fails_at);
        }
    }

    #[test]
    fn a_room_that_can_not_be_read_comes_after_those_before_it() {
        let (scratch, dump) = dump(&[100_000; 20]);
        let rooms: Vec<_> = dump.rooms().map(Result::unwrap).collect();
        let name = crate::dump::names::room(rooms[10].head().room_id.as_str());
        std::fs::write(scratch.path().join("dump").join(name), "{").unwrap();
        let mut seen = 0;
        let failed = each(&dump, |_| {
            seen += 1;
            Ok(())
        });
        assert!(matches!(failed, Err(ImportError::Read(_))), "{failed:?}");
        assert_eq!(seen, 10);
    }
}
