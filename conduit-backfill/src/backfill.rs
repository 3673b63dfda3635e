//! What a homeserver calls when somebody scrolls past what it has.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{EventId, OwnedRoomId, RoomId};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    client::ClientError,
    error::BackfillError,
    host::{Host, Place},
    upstream::{Limited, Upstream},
    walk::{Step, Walk},
};

/// How a [`Backfill`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Events of one page. Synapse gives 100 at most.
    pub page: u32,
    /// Pages that are fetched beyond those that were asked for, while the client reads.
    pub ahead: usize,
    /// Requests under way at the same time, over all rooms. Synapse's `rc_federation` lets 3 run by default.
    pub requests: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { page: 100, ahead: 2, requests: 3 }
    }
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events that were put before the room's timeline since the call.
    pub added: usize,
    /// Whether nothing is left to fetch.
    pub complete: bool,
}

/// Fetches what lies before the timelines of a [`Host`]'s rooms from an [`Upstream`].
///
/// At most one walk goes through a room; calls that want the same room wait for the same walk. Dropping it ends all walks.
#[derive(Debug)]
pub struct Backfill {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    host: Arc<dyn Host>,
    upstream: Limited,
    options: Options,
    rooms: Mutex<Rooms>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The walks that are under way.
#[derive(Default)]
struct Rooms {
    walks: BTreeMap<OwnedRoomId, Under>,
    tickets: u64,
}

/// A walk under way.
struct Under {
    id: u64,
    status: watch::Sender<Status>,
    /// How many events each caller waits for, counted from the walk's beginning.
    needs: BTreeMap<u64, usize>,
    /// How many are fetched whether anybody waits or not.
    ahead_until: usize,
}

#[derive(Clone, Debug, Default)]
struct Status {
    added: usize,
    complete: bool,
    /// The greatest depth in the newest page: what comes later lies below.
    depth: Option<u64>,
    error: Option<BackfillError>,
}

impl Backfill {
    /// Starts nothing yet.
    pub fn new(host: Arc<dyn Host>, upstream: Arc<dyn Upstream>, options: Options) -> Self {
        let upstream = Limited::new(upstream, options.requests);
        let shared = Shared { host, upstream, options, rooms: Mutex::default() };
        Self { shared: Arc::new(shared), tasks: Mutex::new(JoinSet::new()) }
    }

    /// Returns when at least `wanted` events have been put before the room's timeline since the call, or nothing is left
    /// to fetch. The walk goes on by [`Options::ahead`] pages. With 0 it returns at once, and only the latter happens.
    ///
    /// # Errors
    ///
    /// Any [`BackfillError`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the walk ends after the pages ahead, or sooner if others want less.
    pub async fn older(&self, room: &RoomId, wanted: usize) -> Result<Progress, BackfillError> {
        let ahead = self.ahead();
        let mut caller = self.enter(room, wanted, ahead);
        if wanted == 0 {
            return Ok(Progress::default());
        }
        loop {
            let progress = caller.progress()?;
            if progress.complete || progress.added >= wanted {
                return Ok(progress);
            }
            caller.changed().await?;
        }
    }

    /// Walks until an event is in the room's timeline. `false` if the old homeserver doesn't have it in this room, or never
    /// showed it; ids that were made up cost one request.
    ///
    /// # Errors
    ///
    /// Any [`BackfillError`].
    ///
    /// # Cancel safety
    ///
    /// As [`Self::older`].
    pub async fn reach(&self, room: &RoomId, event: &EventId) -> Result<bool, BackfillError> {
        let owned = room.to_owned();
        let in_timeline = || async {
            let place = self.shared.host.place(room, event).await;
            place.map(|place| place == Place::Timeline).map_err(BackfillError::host(&owned))
        };
        if in_timeline().await? {
            return Ok(true);
        }
        let Some(depth) = crate::walk::depth_upstream(&self.shared.upstream, room, event).await?
        else {
            return Ok(false);
        };
        let mut wanted = 1;
        loop {
            let mut caller = self.enter(room, wanted, self.ahead());
            let progress = loop {
                let progress = caller.progress()?;
                if progress.complete || progress.added >= wanted {
                    break progress;
                }
                caller.changed().await?;
            };
            if in_timeline().await? {
                return Ok(true);
            }
            // Pages come in the order of their depth.
            if progress.complete || caller.depth().is_some_and(|reached| reached < depth) {
                return Ok(false);
            }
            wanted = 1;
        }
    }

    /// Walks to the room's beginning, and tells of each page.
    ///
    /// # Errors
    ///
    /// Any [`BackfillError`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time; the walk ends after the page that it is at, if nobody else wants it.
    pub async fn complete(
        &self,
        room: &RoomId,
        on_page: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Progress, BackfillError> {
        let mut caller = self.enter(room, usize::MAX, 0);
        loop {
            let progress = caller.progress()?;
            on_page(&progress);
            if progress.complete {
                return Ok(progress);
            }
            caller.changed().await?;
        }
    }

    /// How many rooms are walked through at present.
    pub fn walks(&self) -> usize {
        self.shared.lock().walks.len()
    }

    /// Whether a room is walked through at present.
    pub fn is_walking(&self, room: &RoomId) -> bool {
        self.shared.lock().walks.contains_key(room)
    }

    /// In which room an event is, as the old homeserver says; `None` if it doesn't have the event, or doesn't give it.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`] but those that say so.
    pub async fn room_of(&self, event: &EventId) -> Result<Option<OwnedRoomId>, ClientError> {
        match self.shared.upstream.event(event).await {
            Ok(text) => Ok(crate::walk::place_of(event, &text).map(|(room, _)| room)),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ahead(&self) -> usize {
        let page = usize::try_from(self.shared.options.page).unwrap_or(usize::MAX);
        self.shared.options.ahead.saturating_mul(page)
    }

    /// Says what is wanted, and starts a walk if there is none.
    fn enter(&self, room: &RoomId, wanted: usize, ahead: usize) -> Caller<'_> {
        let mut rooms = self.shared.lock();
        rooms.tickets = rooms.tickets.wrapping_add(1);
        let ticket = rooms.tickets;
        let mut starts = false;
        let under = rooms.walks.entry(room.to_owned()).or_insert_with(|| {
            starts = true;
            Under {
                id: ticket,
                status: watch::Sender::new(Status::default()),
                needs: BTreeMap::new(),
                ahead_until: 0,
            }
        });
        let start = under.status.borrow().added;
        let need = start.saturating_add(wanted);
        under.needs.insert(ticket, need);
        if ahead > 0 {
            under.ahead_until = under.ahead_until.max(need.saturating_add(ahead));
        }
        let status = under.status.subscribe();
        if starts {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(run(self.shared.clone(), room.to_owned(), ticket));
        }
        Caller { shared: &self.shared, room: room.to_owned(), ticket, start, status }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a walk; wants nothing any more when it is dropped.
struct Caller<'a> {
    shared: &'a Shared,
    room: OwnedRoomId,
    ticket: u64,
    start: usize,
    status: watch::Receiver<Status>,
}

impl Caller<'_> {
    fn progress(&mut self) -> Result<Progress, BackfillError> {
        let status = self.status.borrow_and_update();
        match &status.error {
            Some(error) => Err(error.clone()),
            None => Ok(Progress {
                added: status.added.saturating_sub(self.start),
                complete: status.complete,
            }),
        }
    }

    fn depth(&self) -> Option<u64> {
        self.status.borrow().depth
    }

    async fn changed(&mut self) -> Result<(), BackfillError> {
        let stopped = |_| BackfillError::Stopped { room: self.room.clone() };
        self.status.changed().await.map_err(stopped)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if let Some(under) = self.shared.lock().walks.get_mut(&self.room) {
            under.needs.remove(&self.ticket);
        }
    }
}

/// Takes a walk from the list when it ends, however it ends.
struct Leave {
    shared: Arc<Shared>,
    room: OwnedRoomId,
    id: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut rooms = self.shared.lock();
        if rooms.walks.get(&self.room).is_some_and(|under| under.id == self.id) {
            rooms.walks.remove(&self.room);
        }
    }
}

async fn run(shared: Arc<Shared>, room: OwnedRoomId, id: u64) {
    let leave = Leave { shared: shared.clone(), room: room.clone(), id };
    let mut walk = Walk::new(&*shared.host, &shared.upstream, shared.options.page, room.clone());
    while let Some(wanted) = wanted(&shared, &room) {
        let page = usize::try_from(shared.options.page).unwrap_or(usize::MAX);
        let step = walk.step(wanted > page).await;
        if tell(&shared, &room, step) {
            break;
        }
    }
    drop(leave);
}

/// Tells the callers of a step; `true` if it was the last one.
fn tell(shared: &Shared, room: &RoomId, step: Result<Step, BackfillError>) -> bool {
    let mut rooms = shared.lock();
    let Some(under) = rooms.walks.get(room) else { return true };
    let mut ends = true;
    under.status.send_modify(|status| match step {
        Ok(step) => {
            status.added = status.added.saturating_add(step.added);
            status.complete = step.complete;
            status.depth = step.depth.or(status.depth);
            ends = step.complete;
        }
        Err(error) => status.error = Some(error),
    });
    if ends {
        rooms.walks.remove(room);
    }
    ends
}

/// How many events are wanted still; if none, the walk is off the list.
fn wanted(shared: &Shared, room: &RoomId) -> Option<usize> {
    let mut rooms = shared.lock();
    let under = rooms.walks.get(room)?;
    let target = under.needs.values().copied().max().unwrap_or(0).max(under.ahead_until);
    let wanted = target.saturating_sub(under.status.borrow().added);
    if wanted == 0 {
        rooms.walks.remove(room);
        return None;
    }
    Some(wanted)
}
