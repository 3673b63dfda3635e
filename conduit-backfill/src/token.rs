//! Tokens as Synapse makes them.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// The localpart of the user whom a token of Synapse (since 1.29) was given: `syt_<localpart in unpadded base64>_…`.
///
/// A hint, not a proof: anybody can make up such a token.
pub fn localpart(token: &str) -> Option<String> {
    let (localpart, _) = token.strip_prefix("syt_")?.split_once('_')?;
    let localpart = STANDARD_NO_PAD.decode(localpart).ok()?;
    String::from_utf8(localpart).ok()
}

/// Whether a token is a position that Synapse gave a client, in one of its forms (synapse/types/__init__.py):
///
/// * in a room: `s12`, `t5-12`, or `m12~2.10~3.11` with several writers; `p12`, which clients were seen to keep;
/// * in all streams, as `next_batch` and `prev_batch` are: one of these and the positions in the other streams, `s12_3_0_…`;
/// * of sliding sync: the same after the number of the connection, `5/s12_3_0_…`;
/// * of a list of threads: `5_12`.
///
/// What Synapse fetched from other servers has negative positions. A number alone is none of these: it is Conduit's.
pub fn is_position(token: &str) -> bool {
    let streams = token
        .split_once('/')
        .map_or(token, |(connection, streams)| if is_digits(connection) { streams } else { "" });
    let mut positions = streams.split('_');
    let first = positions.next().unwrap_or_default();
    if is_in_room(first) {
        return positions.all(|position| is_number(position) || is_of_writers(position));
    }
    let thread: Vec<_> = token.split('_').collect();
    matches!(thread[..], [depth, position] if is_number(depth) && is_number(position))
}

fn is_in_room(position: &str) -> bool {
    let Some(kind) = position.get(..1) else { return false };
    let rest = position.get(1..).unwrap_or_default();
    match kind {
        "s" | "p" => is_number(rest),
        // The second number may have a sign of its own.
        "t" => rest
            .split_once('-')
            .is_some_and(|(depth, position)| is_digits(depth) && is_number(position)),
        _ => is_of_writers(position),
    }
}

/// `m12~2.10~3.11`; `m12~` was written once.
fn is_of_writers(position: &str) -> bool {
    let Some((least, writers)) = position.strip_prefix('m').and_then(|rest| rest.split_once('~'))
    else {
        return false;
    };
    let is_one = |writer: &str| {
        writer.split_once('.').is_some_and(|(id, position)| is_digits(id) && is_number(position))
    };
    is_number(least) && (writers.is_empty() || writers.split('~').all(is_one))
}

fn is_number(text: &str) -> bool {
    is_digits(text.strip_prefix('-').unwrap_or(text))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
