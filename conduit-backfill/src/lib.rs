//! Fetches a homeserver's past from the homeserver it replaced, over federation, under the same server name.
//!
//! [`Client`] asks one upstream, at a configured URL, in the name of the server that both are: the requests' origin and
//! destination are the same name, signed with the key that both have. It verifies nothing of what it gets.
//!
//! [`Backfill`] is what a homeserver calls when somebody scrolls past what it has. All that it needs of the homeserver is
//! [`Host`].
//!
//! [`http`] is the layer below, of use for any other API of the upstream: reused connections, timeouts, a limit on
//! bodies, retries.

pub mod backfill;
pub mod client;
pub mod error;
pub mod host;
pub mod http;
pub mod password;
pub mod token;
pub mod upstream;
mod walk;

pub use backfill::{Backfill, Options, Progress};
pub use client::{Client, ClientError, SigningKey};
pub use error::BackfillError;
pub use host::Host;
pub use upstream::Upstream;
