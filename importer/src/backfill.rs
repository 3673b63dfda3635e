//! Fetches the history that was left behind from the old Synapse, into a Conduit database while Conduit is stopped.
//!
//! What is fetched, and whether it is what it says, is the business of [`conduit_backfill`]; which rows it becomes is that
//! of [`crate::import::history`]. Here they meet: [`DatabaseHost`] is the database as the library sees it, [`fetch`] goes
//! through the rooms.

mod host;
mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use conduit_backfill::{Backfill, BackfillError, ClientError, Host as _, Options, Upstream};
use futures_util::{StreamExt as _, stream};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Serialize;

pub use self::{
    host::DatabaseHost,
    keys::{ConnectError, Keys},
};
use crate::{
    import::history::{HistoryError, ImportedRoom},
    progress::{Phase, Progress},
};

/// Rooms that are walked through at the same time.
const ROOMS: usize = 4;

/// What became of the past of one room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoomOutcome {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Events that were fetched.
    pub fetched: u64,
    /// Events that are not to be had, with the reason: `unavailable`, `invalid`, `withheld`.
    pub given_up: BTreeMap<OwnedEventId, String>,
    /// Those of them that are to be asked for once more, as Synapse has said it only once.
    pub doubtful: BTreeSet<OwnedEventId>,
    /// Events that others name, and that are still missing; there may be more behind them.
    pub missing: Vec<OwnedEventId>,
    /// Why they are missing.
    pub problem: Option<String>,
    /// Whether the old Synapse can't give them, so that another run is of no use.
    pub is_final: bool,
}

/// What became of the past.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The rooms, those with the most to tell first.
    pub rooms: Vec<RoomOutcome>,
    /// Rooms that this run did not come to.
    pub not_reached: u64,
}

impl Outcome {
    /// Events that were fetched, over all rooms.
    pub fn fetched(&self) -> u64 {
        self.rooms.iter().map(|room| room.fetched).sum()
    }

    /// Whether nothing is left that another run could fetch.
    pub fn is_complete(&self) -> bool {
        self.not_reached == 0
            && self.rooms.iter().all(|room| room.missing.is_empty() || room.is_final)
            && !self.has_doubtful()
    }

    /// Whether something is missing that the old Synapse may give at once.
    pub fn has_missing(&self) -> bool {
        self.rooms.iter().any(|room| !room.missing.is_empty() && !room.is_final)
    }

    /// Whether events are to be asked for once more.
    pub fn has_doubtful(&self) -> bool {
        self.rooms.iter().any(|room| !room.doubtful.is_empty())
    }

    /// Whether everything is there.
    pub fn is_whole(&self) -> bool {
        let is_whole = |room: &RoomOutcome| room.missing.is_empty() && room.given_up.is_empty();
        self.not_reached == 0 && self.rooms.iter().all(is_whole)
    }
}

/// Why the run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The old Synapse does not answer any more.
    #[error(
        "the old Synapse stopped answering; run the command again when it answers, to continue from here"
    )]
    Source(#[source] BackfillError),
    /// The database can't be written or read.
    #[error("cannot write to the database")]
    Database(#[source] conduit_backfill::host::HostError),
    /// The operator ended the run.
    #[error("interrupted; run the command again to continue from here")]
    Interrupted,
}

/// Fetches everything that is missing in all imported rooms. What was fetched is told even if the run ended early.
pub async fn fetch(
    host: &DatabaseHost,
    upstream: Arc<dyn Upstream>,
    options: Options,
    progress: Progress,
    interrupted: impl Future<Output = ()>,
) -> (Outcome, Option<FetchError>) {
    let mut rooms = match host.with(|history| history.rooms()).await {
        Ok(rooms) => rooms,
        Err(error) => return (Outcome::default(), Some(FetchError::Database(error))),
    };
    // The longest first: the last room alone can't be hurried.
    rooms.sort_by_key(|room| std::cmp::Reverse(room.reserved));
    let expected = rooms.iter().fold(0_u64, |sum, room| sum.saturating_add(expected(room)));
    let phase = progress.phase("event", usize::try_from(expected).unwrap_or(usize::MAX));
    let backfill = Backfill::new(Arc::new(host.clone()), upstream, options);
    let mut left = u64::try_from(rooms.len()).unwrap_or(u64::MAX);
    let mut outcome = Outcome::default();
    let mut error = None;
    {
        let mut walks = stream::iter(&rooms)
            .map(|room| Walk { host, backfill: &backfill, phase: &phase, room }.run())
            .buffer_unordered(ROOMS);
        let mut interrupted = std::pin::pin!(interrupted);
        loop {
            let next = tokio::select! {
                next = walks.next() => next,
                () = &mut interrupted => {
                    error = Some(FetchError::Interrupted);
                    break;
                }
            };
            match next {
                None => break,
                Some(Ok(room)) => {
                    left = left.saturating_sub(1);
                    outcome.rooms.push(room);
                }
                Some(Err(cause)) => {
                    error = Some(cause);
                    break;
                }
            }
        }
    }
    outcome.not_reached = left;
    let size = |room: &RoomOutcome| (room.problem.is_some(), room.given_up.len(), room.fetched);
    outcome.rooms.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.room_id.cmp(&b.room_id)));
    (outcome, error)
}

/// How many events a room is expected to miss.
fn expected(room: &ImportedRoom) -> u64 {
    room.reserved.saturating_sub(crate::import::MARGIN)
}

/// A walk through one room.
struct Walk<'a> {
    host: &'a DatabaseHost,
    backfill: &'a Backfill,
    phase: &'a Phase,
    room: &'a ImportedRoom,
}

impl Walk<'_> {
    async fn run(self) -> Result<RoomOutcome, FetchError> {
        let Self { host, backfill, phase, room } = self;
        let mut fetched: u64 = 0;
        let walked = backfill
            .complete(&room.room_id, &mut |progress| {
                let added = u64::try_from(progress.added).unwrap_or(u64::MAX);
                phase.advance(added.saturating_sub(fetched));
                fetched = added.max(fetched);
            })
            .await;
        phase.correct(expected(room), fetched);
        let (problem, is_final) = match walked {
            Ok(_) => (None, false),
            Err(BackfillError::Host { source, .. }) => {
                return Err(FetchError::Database(Box::new(source)));
            }
            Err(error) if ends_run(&error) => return Err(FetchError::Source(error)),
            Err(error) => (Some(said(&error)), is_final(&error)),
        };
        let missing = host.missing(&room.room_id).await.map_err(FetchError::Database)?;
        let id = room.room_id.clone();
        let given_up = host.with(move |history| {
            let given_up = history.given_up(&id)?;
            history.leave(&id);
            Ok::<_, HistoryError>(given_up)
        });
        let given_up = given_up.await.map_err(FetchError::Database)?;
        let doubtful = given_up.iter().filter(|(_, verdict)| !verdict.is_final());
        Ok(RoomOutcome {
            room_id: room.room_id.clone(),
            fetched,
            doubtful: doubtful.map(|(event, _)| event.clone()).collect(),
            given_up: given_up.into_iter().map(|(id, why)| (id, why.word().to_owned())).collect(),
            missing: missing.into_iter().collect(),
            problem,
            is_final,
        })
    }
}

/// Whether no other room can be fetched either.
fn ends_run(error: &BackfillError) -> bool {
    matches!(error, BackfillError::Upstream { source, .. } if source.ends_run() || matches!(
        **source,
        ClientError::FederationDenied | ClientError::NoFederation | ClientError::RateLimited
    ))
}

/// Whether the old Synapse will never give more of the room.
fn is_final(error: &BackfillError) -> bool {
    match error {
        BackfillError::Upstream { source, .. } => {
            matches!(**source, ClientError::NotInRoom { .. } | ClientError::RoomNotFound { .. })
        }
        BackfillError::RoomVersion { .. } => true,
        _ => false,
    }
}

/// An error with its causes. Where the old server is the cause, what it says is enough.
fn said(error: &BackfillError) -> String {
    let first: &dyn std::error::Error = match error {
        BackfillError::Upstream { source, .. } => &**source,
        _ => error,
    };
    let causes = std::iter::successors(first.source(), |cause| cause.source());
    causes.fold(first.to_string(), |text, cause| format!("{text}: {cause}"))
}
