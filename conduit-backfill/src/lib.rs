//! Fetches a homeserver's past from the homeserver it replaced, over federation, under the same server name.
//!
//! The crate is two things, which have only [`http`] in common:
//!
//! * the fetching of events: [`Backfill`], its [`Host`], its [`Upstream`], the [`Client`] that is one, and what both know of an
//!   event ([`pdu`]);
//! * [`predecessor`]: passwords, sessions and tokens of the old homeserver.
//!
//! # Calls
//!
//! 1. A homeserver implements [`Host`]: what it has of a room, and where it puts what it is given. `testing::host_contract`
//!    checks that it does what the trait says; `testing::memory_host` is the shortest implementation that does. Both are behind
//!    the feature `testing`.
//! 2. It makes a [`Client`] with the old homeserver's URL, and the server name and [`SigningKey`] that both have; the
//!    requests' origin and destination are the same name.
//! 3. It makes one [`Backfill`] of both and keeps it. Dropping it ends all walks.
//! 4. Before it answers a client that scrolls back, and has fewer older events than the client wants, it calls
//!    [`Backfill::older`]. When a client asks for an event that it doesn't have, [`Backfill::reach`]. For all of a room at
//!    once, [`Backfill::complete`]. Then it answers out of its own database, as ever.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use conduit_backfill::{Backfill, BackfillError, Client, Host, Options};
//! # async fn scroll(host: Arc<dyn Host>, client: Client, room: &ruma::RoomId) -> Result<(), BackfillError> {
//! let backfill = Backfill::new(host, Arc::new(client), Options::default());
//! let progress = backfill.older(room, 50).await?;
//! println!("{} more events, and {}", progress.added, if progress.complete { "no others" } else { "others" });
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! * Events come in the order in which the old homeserver showed them, each after those that it follows, and each once.
//! * An event is in the timeline only if its size, format, id, hashes and signatures are right, its own auth events allow it,
//!   and the old homeserver showed it. It gets the state before it: what the walk knows, or what the old homeserver lists
//!   for it. So nobody sees an event whom the room's history visibility keeps from it. That state says who may see the
//!   event, not whether it is allowed: a server that learned of an invite late has accepted the join that it led to, and
//!   lists a state before the join without the invite.
//! * What is refused, missing or was shown to nobody is given up with a reason and logged with `tracing`; the walk goes on
//!   behind it. It is asked for once more when an hour has passed, and not again if the answer is the same then: see
//!   [`verdict`]. Only what the old homeserver says with a Matrix error code counts as an answer; anything else ends the
//!   walk with an error, and nothing is given up.
//! * Every walk ends, whatever the old homeserver answers, in bounded memory: a page, the state before it, and the
//!   events that allow it. An error names the room and what to do; what was stored until then is right, and the next walk
//!   goes on from there.
//!
//! # What it does not
//!
//! * Room versions 1 and 2, whose event ids are not hashes: [`BackfillError::RoomVersion`]. Versions 3 to 12 are data of
//!   ruma's, as are those to come.
//! * Unix sockets: reqwest 0.12.4, which Conduit locks, knows none. A Synapse that listens on one is reached through
//!   `socat TCP-LISTEN:8008,bind=127.0.0.1,fork UNIX-CONNECT:/run/synapse.sock`.
//! * State resolution: where branches with different states meet, the old homeserver is asked for the state that it
//!   had, which is the one that decided what people saw.
//!
//! [`http`] is the layer below, of use for any other API of the old homeserver: reused connections, timeouts, a limit on
//! bodies, retries.

#![warn(
    clippy::arithmetic_side_effects,
    reason = "it calculates with numbers of another server, in whatever profile its host is built"
)]

pub mod backfill;
pub mod client;
pub mod error;
pub mod host;
pub mod http;
pub mod pdu;
pub mod predecessor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod upstream;
pub mod verdict;
mod walk;

pub use backfill::{Backfill, Options, Progress};
pub use client::{Client, ClientError, SigningKey};
pub use error::BackfillError;
pub use host::Host;
pub use upstream::Upstream;
