//! File names for Matrix ids.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The list of media below the dump's directory.
pub const MEDIA: &str = "media.jsonl";
/// What had not been delivered, below the dump's directory.
pub const OUTBOX: &str = "outbox.jsonl";
/// The folder for media files below the dump's directory.
pub const MEDIA_FILES: &str = "media";

/// Longest readable part of a name, in bytes.
const READABLE: usize = 40;
/// Bytes of the hash that a name carries: 80 bits, collisions are out of reach.
const HASHED: usize = 10;

/// A file name (without extension) for a user or room id: a readable beginning of lower-case letters, digits and `_`,
/// a `-`, and 20 hexadecimal digits of the id's SHA-256.
///
/// Ids may hold slashes, dots, control characters, letters that differ only in case, and 255 bytes; the names differ
/// whenever the ids do, on case-insensitive file systems too, and are at most 61 bytes long.
pub fn file_stem(id: &str) -> String {
    let localpart = id.get(1..).unwrap_or_default().split(':').next().unwrap_or_default();
    let mut name: String = localpart
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(READABLE)
        .collect();
    name.push('-');
    for byte in Sha256::digest(id).iter().take(HASHED) {
        let _infallible = write!(name, "{byte:02x}");
    }
    name
}

/// The path of a user's file below the dump's directory.
pub fn user(user_id: &str) -> String {
    format!("users/{}.json", file_stem(user_id))
}

/// The path of the messages that wait for a user's devices, below the dump's directory.
pub fn messages(user_id: &str) -> String {
    format!("users/{}.messages.jsonl", file_stem(user_id))
}

/// The path of a room's file below the dump's directory.
pub fn room(room_id: &str) -> String {
    format!("rooms/{}.json", file_stem(room_id))
}

/// The path of the room's timeline, by the path of its file. `None`: that is no room's file.
pub fn timeline(room: &str) -> Option<String> {
    Some(format!("{}.timeline.jsonl", room.strip_suffix(".json")?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::file_stem;

    #[test]
    fn names_are_readable_and_safe() {
        assert_eq!(file_stem("@alice:example.org"), "alice-86f01aef21b1acd3f772");
    }

    #[test]
    fn ids_that_differ_only_in_case_or_separators_get_names_that_differ_in_lower_case() {
        let ids = ["!a/b:x", "!a.b:x", "!A.b:x", "!a_b:x", "!a.b:y", "!a.b", "!..:x", "!:x", "!"];
        let names: BTreeSet<_> = ids.iter().map(|id| file_stem(id).to_lowercase()).collect();
        assert_eq!(names.len(), ids.len());
    }

    proptest! {
        #[test]
        fn any_id_gives_a_portable_name(id in "[@!]\\PC{0,250}") {
            let name = file_stem(&id);
            prop_assert!(name.len() <= 61);
            prop_assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')));
        }
    }
}
