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

/// The count of an event that came at stream position 0. An import gives its events counts by their stream positions, ten numbers
/// apart, so that a token tells by itself where in a timeline it points to, with no table that somebody would have to keep. No
/// other count of an import is as high.
const COUNTS: u64 = 9_500_000_000_000;
const COUNTS_APART: u64 = 10;
/// The last stream position that has a count, and with a minus the first one.
const LAST_STREAM: u64 = 10_000_000_000;

/// The count in a timeline of Conduit's of an event that came at a stream position of Synapse's; negative ones are of events
/// that it fetched from other servers. `None`: further away than any server has got.
pub fn count(stream: i64) -> Option<u64> {
    let distance = Some(stream.unsigned_abs()).filter(|distance| *distance <= LAST_STREAM)?;
    let distance = distance.checked_mul(COUNTS_APART)?;
    if stream < 0 { COUNTS.checked_sub(distance) } else { COUNTS.checked_add(distance) }
}

/// Where in a room's timeline a token of Synapse points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between the event with this count, or the last one before it, and the next one; no event has the count itself.
    Count(u64),
    /// After the last event of this depth, in what Synapse fetched from other servers. Its stream positions go up and down there.
    Depth(u64),
}

/// Where in a timeline that was imported a token of Synapse points to; `None` if it doesn't say.
pub fn place(token: &str) -> Option<Place> {
    let stream = Some(token).filter(|token| is_position(token))?.split('_').next()?;
    let stream = stream.split_once('/').map_or(stream, |(_, stream)| stream);
    let (kind, rest) = (stream.get(..1)?, stream.get(1..)?);
    let last: i64 = match kind {
        "s" => rest.parse().ok()?,
        "t" => {
            let (depth, last) = rest.split_once('-')?;
            if last.starts_with('-') {
                return depth.parse().ok().map(Place::Depth);
            }
            last.parse().ok()?
        }
        // Backwards from the writer that was ahead: nothing is left out.
        "m" => rest.split(['~', '.']).skip(2).step_by(2).filter_map(|at| at.parse().ok()).max()?,
        _ => return None,
    };
    let count = Some(last).filter(|last| *last >= 0).and_then(count)?;
    count.checked_add(1).map(Place::Count)
}

/// The count after the last event of a depth in a timeline whose depths go up: forks, which go up and down, are short. It is 1
/// at least. `before` gives the count and depth of the last event before a count.
pub fn after_depth(depth: u64, mut before: impl FnMut(u64) -> Option<(u64, u64)>) -> u64 {
    let (mut low, mut high) = (0, u64::MAX);
    // All that comes before `low` is as deep at most, and nothing that comes at `high` or after.
    while low < high {
        let middle = low.midpoint(high).saturating_add(1);
        match before(middle) {
            Some((count, deeper)) if deeper > depth => high = count,
            Some(_) | None => low = middle,
        }
    }
    low.max(1)
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
