//! The search index: the words of messages.

use std::borrow::Cow;

use crate::{
    conduit::{
        schema::{pdu_id::PduCount, trees},
        store::KvRead,
    },
    counted::count,
    findings::{codes, collector::Findings},
    verify::{VerifyError, structure::events::row::Links},
};

/// Longest word of the search index, in bytes (src/database/key_value/rooms/search.rs:9-14).
const LONGEST_WORD: usize = 50;

/// The words of a message that can be searched for, each once.
pub(super) fn words<'a>(links: &'a Links<'_>) -> Vec<Cow<'a, str>> {
    let is_small = |letter: u8| letter.is_ascii() && !letter.is_ascii_uppercase();
    let body = links.body.as_deref().unwrap_or_default();
    let mut words: Vec<_> = body
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= LONGEST_WORD)
        .map(
            |word| {
                if word.bytes().all(is_small) { word.into() } else { word.to_lowercase().into() }
            },
        )
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Makes the key of a word in the search index.
pub(super) fn set_token(token: &mut Vec<u8>, short_room: u64, word: &str, pdu_id: &[u8]) {
    token.clear();
    for part in [&short_room.to_be_bytes(), word.as_bytes(), &[0xff], pdu_id] {
        token.extend_from_slice(part);
    }
}

/// Names the messages whose words are not in the search index, and counts the rows that belong to no message.
pub(super) fn one_by_one(store: &dyn KvRead, found: &mut Findings) -> Result<(), VerifyError> {
    let mut words: u64 = 0;
    for row in store.scan(&trees::PDUID_PDU, &[])? {
        let (key, value) = row?;
        let (Some((short_room, _)), Some(links)) = (PduCount::read(&key), Links::parse(&value))
        else {
            continue;
        };
        words += in_index(store, short_room, &key, &links, found)?;
    }
    let mut rows: u64 = 0;
    for row in store.scan(&trees::TOKENIDS, &[])? {
        row?;
        rows += 1;
    }
    if rows > words {
        let text =
            format!("has {}, the messages have {}", count(rows, "row"), count(words, "word"));
        found.add(&codes::SEARCH_INDEX_WRONG, trees::TOKENIDS.name, text);
    }
    Ok(())
}

/// How many words of a message are in the search index; all should be.
fn in_index(
    store: &dyn KvRead,
    short_room: u64,
    pdu_id: &[u8],
    links: &Links<'_>,
    found: &mut Findings,
) -> Result<u64, VerifyError> {
    let mut number: u64 = 0;
    let mut token = Vec::new();
    for word in words(links) {
        set_token(&mut token, short_room, &word, pdu_id);
        if store.get(&trees::TOKENIDS, &token)?.is_some() {
            number += 1;
        } else {
            found.add(&codes::SEARCH_INDEX_WRONG, &*links.id, "a word of it can't be searched for");
        }
    }
    Ok(number)
}
