//! The rows that Conduit derives from the content of a timeline event: relations and the search index.

use ruma::EventId;

use crate::{
    conduit::schema::{layout::Part, pdu_id::PduCount, trees},
    import::{ImportError, events::event::Event, row_writer::Rows},
};

/// Writes the relation rows (src/service/rooms/timeline/mod.rs:525-579). `count_of` knows the counts of earlier events.
pub(in crate::import) fn relate(
    event: &Event,
    count: u64,
    count_of: impl Fn(&EventId) -> Option<u64>,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    for target in event.relations.targets().filter_map(count_of) {
        rows.mark(&trees::TOFROM_RELATION, &[Part::U64(target), Part::U64(count)])?;
    }
    Ok(())
}

/// Writes the words of a message into the search index (src/database/key_value/rooms/search.rs:9-43).
pub(in crate::import) fn index_words(
    event: &Event,
    short_room: u64,
    count: PduCount,
    rows: &mut Rows<'_>,
) -> Result<(), ImportError> {
    for word in &event.words {
        rows.put_raw(&trees::TOKENIDS, count.token(short_room, word), Vec::new())?;
    }
    Ok(())
}
