//! Where an event stands in the timelines: `docs/on-disk-format.md`, `pduid_pdu`.

use std::cmp::Ordering;

use super::{
    shapes::{BackfilledPdu, BackfilledWord, PduId, TimelinePdu, TimelineWord, TokenId},
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
        PDUID_PDU.key_of(&match self {
            Self::Normal(count) => PduId::Timeline(TimelinePdu { short_room, count }),
            Self::Backfilled(count) => {
                PduId::Backfilled(BackfilledPdu { short_room, backfilled: mirrored(count) })
            }
        })
    }

    /// The key of a word in `tokenids`.
    pub fn token(self, short_room: u64, word: &str) -> Vec<u8> {
        let token_short_room = short_room;
        TOKENIDS.key_of(&match self {
            Self::Normal(count) => {
                TokenId::Timeline(TimelineWord { token_short_room, word, short_room, count })
            }
            Self::Backfilled(count) => {
                let backfilled = mirrored(count);
                TokenId::Backfilled(BackfilledWord {
                    token_short_room,
                    word,
                    short_room,
                    backfilled,
                })
            }
        })
    }

    /// Reads a key of `pduid_pdu`: the short room id and the count. `None` if it is none.
    pub fn read(key: &[u8]) -> Option<(u64, Self)> {
        Some(match PDUID_PDU.read_key(key).ok()? {
            PduId::Timeline(id) => (id.short_room, Self::Normal(id.count)),
            PduId::Backfilled(id) => (id.short_room, Self::Backfilled(mirrored(id.backfilled))),
        })
    }
}

/// A count of the past in the form in which keys have it, and back: the larger, the older, so the smaller in keys.
fn mirrored(count: u64) -> u64 {
    u64::MAX.saturating_sub(count)
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
        TOKENIDS, TokenId,
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
            let word = match TOKENIDS.read_key(&key).unwrap() {
                TokenId::Timeline(token) => token.word,
                TokenId::Backfilled(token) => token.word,
            };
            assert_eq!(word, "word");
        }
    }
}
