//! Makes a running, patched Conduit fetch the history that was left behind: reads every room backwards, as somebody who
//! is in it, until there is nothing more to read.
//!
//! What a user may not see, nobody reads as this user; so where one gets no further, the next one who is in the room goes
//! on from there. A room is done when its create event has been seen: it is the first of all.

mod connection;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Serialize;

use self::connection::Event;
pub use self::{
    connection::{Conduit, ConduitError},
    users::{Tokens, TokensError},
};
use crate::{
    conduit::room_versions::is_supported,
    dump::format::DumpRoom,
    progress::{Phase, Progress},
};

/// Rooms in a row that end in errors, before the run does.
const FAILING: usize = 10;

/// A room to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Local users who are in it.
    pub members: Vec<OwnedUserId>,
}

impl Room {
    /// A room of a dump, if Conduit can have it and the dump has not all of its history.
    pub fn of(head: &DumpRoom) -> Option<Self> {
        let is_whole = head.current_state.is_none() || head.earlier_events == Some(0);
        if is_whole || !is_supported(head.room_version.as_deref()) {
            return None;
        }
        let joined = head.local_members.iter().filter(|member| member.membership == "join");
        let members = joined.map(|member| member.user_id.clone()).collect();
        Some(Self { room_id: head.room_id.clone(), members })
    }
}

/// How far a room could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// To where Conduit answered with an error.
    Failed,
    /// Not to its beginning, though its members may see that.
    Stopped,
    /// Nobody could be asked.
    NotAsked,
    /// As far as anybody who is in it may see, by its history visibility.
    Visible,
    /// No local user is in it any more.
    Left,
    /// To its beginning.
    Beginning,
}

impl Reached {
    /// Whether another run, or another Conduit, could get further.
    fn is_open(self) -> bool {
        matches!(self, Self::Failed | Self::Stopped | Self::NotAsked)
    }
}

/// What became of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomOutcome {
    /// The room.
    pub room_id: OwnedRoomId,
    /// How far it could be read.
    pub reached: Reached,
    /// Events that were read.
    pub events: u64,
    /// As whom.
    pub users: Vec<OwnedUserId>,
    /// The oldest event that was read, if it is not the create event.
    pub oldest: Option<OwnedEventId>,
    /// Why nobody got further.
    pub problem: Option<String>,
}

/// What became of all rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The rooms, those with the most to tell first.
    pub rooms: Vec<RoomOutcome>,
    /// Rooms that this run did not come to.
    pub not_reached: u64,
}

impl Outcome {
    /// Whether nothing is left that another run could fetch.
    pub fn is_complete(&self) -> bool {
        self.not_reached == 0 && !self.rooms.iter().any(|room| room.reached.is_open())
    }

    /// Whether every room was read to its beginning.
    pub fn is_whole(&self) -> bool {
        let is_whole = |room: &RoomOutcome| room.reached == Reached::Beginning;
        self.not_reached == 0 && self.rooms.iter().all(is_whole)
    }

    /// Events that were read.
    pub fn events(&self) -> u64 {
        self.rooms.iter().map(|room| room.events).sum()
    }
}

/// Why the run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// Conduit does not answer any more.
    #[error("Conduit stopped answering; run the command again when it answers")]
    Conduit(#[from] ConduitError),
    /// It answers with errors only.
    #[error(
        "Conduit answered {FAILING} rooms in a row with an error, {problem}; check that Synapse runs, and run the command again"
    )]
    Failing {
        /// The last one.
        problem: String,
    },
    /// The operator ended the run.
    #[error("interrupted; run the command again, the fetched events are kept")]
    Interrupted,
}

/// Reads all rooms, `at_once` of them at the same time. What was read is told even if the run ended early.
pub async fn drain(
    conduit: &Conduit,
    tokens: &Tokens,
    rooms: &[Room],
    at_once: usize,
    progress: Progress,
    interrupted: impl Future<Output = ()>,
) -> (Outcome, Option<DrainError>) {
    let phase = progress.phase("room", rooms.len());
    let mut outcome = Outcome::default();
    let mut error = None;
    let mut failed: usize = 0;
    let mut reading = stream::iter(rooms)
        .map(|room| Reader { conduit, tokens, phase: &phase }.read(room))
        .buffer_unordered(at_once.max(1));
    let mut interrupted = std::pin::pin!(interrupted);
    loop {
        let next = tokio::select! {
            next = reading.next() => next,
            () = &mut interrupted => Some(Err(DrainError::Interrupted)),
        };
        match next {
            None => break,
            Some(Ok(room)) => {
                let has_failed = room.reached == Reached::Failed;
                failed = if has_failed { failed + 1 } else { 0 };
                let problem = room.problem.clone().filter(|_| failed >= FAILING);
                outcome.rooms.push(room);
                if let Some(problem) = problem {
                    error = Some(DrainError::Failing { problem });
                    break;
                }
            }
            Some(Err(cause)) => {
                error = Some(cause);
                break;
            }
        }
    }
    let left = rooms.len().saturating_sub(outcome.rooms.len());
    outcome.not_reached = u64::try_from(left).unwrap_or(u64::MAX);
    outcome.rooms.sort_by(|a, b| (a.reached, &a.room_id).cmp(&(b.reached, &b.room_id)));
    (outcome, error)
}

/// Reads rooms.
struct Reader<'a> {
    conduit: &'a Conduit,
    tokens: &'a Tokens,
    phase: &'a Phase,
}

/// A room as far as it has been read.
#[derive(Default)]
struct Position {
    /// Where the next page begins; `None` at the newest event.
    from: Option<String>,
    /// All beginnings so far: one that comes again would come for ever.
    seen: BTreeSet<String>,
    events: u64,
    oldest: Option<OwnedEventId>,
    /// Whether the create event has been read.
    has_beginning: bool,
}

/// How a user's reading ended.
enum End {
    /// With the create event.
    Beginning,
    /// There is nothing more that this user may see.
    Nothing,
    /// Conduit does not let the user read.
    Refused(String),
    /// Conduit can't read on in this room.
    Failed(String),
}

impl Reader<'_> {
    async fn read(self, room: &Room) -> Result<RoomOutcome, DrainError> {
        let mut position = Position::default();
        let mut asked = BTreeSet::new();
        let mut problem = None;
        let mut able: Vec<_> = room.members.iter().filter(|user| self.tokens.has(user)).collect();
        let mut reached = match (able.is_empty(), room.members.is_empty()) {
            (false, _) => Reached::Stopped,
            (true, false) => Reached::NotAsked,
            (true, true) => Reached::Left,
        };
        // Users in a row who got no further.
        let mut idle = 0;
        let mut turn: usize = 0;
        while idle < able.len() {
            let index = turn.checked_rem(able.len()).unwrap_or_default();
            let Some(user) = able.get(index).copied() else { break };
            let before = position.events;
            match self.read_as(user, room, &mut position).await? {
                End::Beginning => {
                    asked.insert(user.clone());
                    reached = Reached::Beginning;
                    break;
                }
                End::Nothing => {
                    if position.events > before {
                        asked.insert(user.clone());
                        idle = 0;
                    }
                    idle += 1;
                    turn = index + 1;
                }
                End::Failed(why) => {
                    problem = Some(why);
                    reached = Reached::Failed;
                    break;
                }
                End::Refused(why) => {
                    problem = Some(format!("{user}: {why}"));
                    able.remove(index);
                    turn = index;
                    if able.is_empty() && asked.is_empty() {
                        reached = Reached::NotAsked;
                    }
                }
            }
        }
        if reached == Reached::Stopped
            && let Some(user) = able.first().and_then(|user| self.tokens.of(user))
            && self.conduit.hides_history(user, &room.room_id).await?
        {
            reached = Reached::Visible;
        }
        self.phase.advance(1);
        let is_whole = reached == Reached::Beginning;
        Ok(RoomOutcome {
            room_id: room.room_id.clone(),
            reached,
            events: position.events,
            users: asked.into_iter().collect(),
            oldest: position.oldest.filter(|_| !is_whole),
            problem: problem.filter(|_| !is_whole),
        })
    }

    /// Reads on as one user.
    async fn read_as(
        &self,
        user: &OwnedUserId,
        room: &Room,
        position: &mut Position,
    ) -> Result<End, DrainError> {
        let Some(token) = self.tokens.of(user) else { return Ok(End::Nothing) };
        loop {
            let page = self.conduit.messages(token, &room.room_id, position.from.as_deref()).await;
            let page = match page {
                Ok(page) => page,
                Err(error) if error.is_of_user() => return Ok(End::Refused(error.to_string())),
                Err(error) if error.is_of_room() => return Ok(End::Failed(error.to_string())),
                Err(error) => return Err(error.into()),
            };
            let number = u64::try_from(page.chunk.len()).unwrap_or(u64::MAX);
            position.events += number;
            position.has_beginning |= page.chunk.iter().any(Event::is_create);
            if let Some(last) = page.chunk.last() {
                position.oldest = Some(last.id.clone());
            }
            match page.end {
                // Events of another branch of the graph may stand before the create event.
                Some(end) if position.seen.insert(end.clone()) => position.from = Some(end),
                _ if position.has_beginning => return Ok(End::Beginning),
                _ => return Ok(End::Nothing),
            }
        }
    }
}
