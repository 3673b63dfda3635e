//! Where an event stands in the timelines: `docs/on-disk-format.md`, `pduid_pdu`.

use std::cmp::Ordering;

use super::{
    layout::Part,
    trees::{PDUID_PDU, TOKENIDS},
};

/// The place of an event in the timeline of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PduCount {
    /// Handed out by the counter.
    Normal(u64),
    /// Of the past: before all normal ones, and the larger the older.
    Backfilled(u64),
}

impl PduCount {
    /// The normal count, which alone relations and threads can have.
    pub fn normal(self) -> Option<u64> {
        match self {
            Self::Normal(count) => Some(count),
            Self::Backfilled(_) => None,
        }
    }

    /// The key in `pduid_pdu`.
    pub fn key(self, short_room: u64) -> Vec<u8> {
        self.finish(PDUID_PDU.key(&[Part::U64(short_room), self.part()]))
    }

    /// The key of a word in `tokenids`.
    pub fn token(self, short_room: u64, word: &str) -> Vec<u8> {
        let room = Part::U64(short_room);
        self.finish(TOKENIDS.key(&[room, Part::Text(word), room, self.part()]))
    }

    /// Reads a key of `pduid_pdu`: the short room id and the count. `None` if it is none.
    pub fn read(key: &[u8]) -> Option<(u64, Self)> {
        let fields = PDUID_PDU.decode_key(key).ok()?;
        let count = match fields.get("count") {
            Some(_) => Self::Normal(fields.u64("count")),
            None => Self::Backfilled(u64::MAX.saturating_sub(fields.u64("backfilled"))),
        };
        Some((fields.u64("short_room"), count))
    }

    /// What stands where a normal count does.
    fn part(self) -> Part<'static> {
        Part::U64(self.normal().unwrap_or(0))
    }

    fn finish(self, mut key: Vec<u8>) -> Vec<u8> {
        if let Self::Backfilled(count) = self {
            key.extend_from_slice(&u64::MAX.saturating_sub(count).to_be_bytes());
        }
        key
    }
}

impl PartialOrd for PduCount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// In the order of the timeline.
impl Ord for PduCount {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Normal(a), Self::Normal(b)) => a.cmp(b),
            (Self::Backfilled(a), Self::Backfilled(b)) => b.cmp(a),
            (Self::Backfilled(_), Self::Normal(_)) => Ordering::Less,
            (Self::Normal(_), Self::Backfilled(_)) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        PduCount::{self, Backfilled, Normal},
        TOKENIDS,
    };

    #[test]
    fn counts_of_both_kinds_are_keys_in_the_order_of_the_timeline() {
        let ordered = [Backfilled(8), Backfilled(7), Normal(1), Normal(u64::MAX)];
        let keys = ordered.map(|count| count.key(1));
        assert!(keys.is_sorted() && ordered.is_sorted(), "{keys:x?}");
        assert_eq!(hex::encode(&keys[1]), "00000000000000010000000000000000fffffffffffffff8");
        for (key, count) in keys.iter().zip(ordered) {
            assert_eq!(PduCount::read(key), Some((1, count)));
        }
        assert_eq!(PduCount::read(b"short"), None);
    }

    #[test]
    fn a_word_ends_with_the_whole_id() {
        for count in [Backfilled(7), Normal(7)] {
            let key = count.token(1, "word");
            assert!(key.ends_with(&count.key(1)));
            assert_eq!(TOKENIDS.decode_key(&key).unwrap().text("word"), "word");
        }
    }
}
