//! Fetches a homeserver's past from the homeserver it replaced, over federation, under the same server name.
//!
//! [`Client`] asks one upstream, at a configured URL, in the name of the server that both are: the requests' origin and
//! destination are the same name, signed with the key that both have. It verifies nothing of what it gets: callers
//! check hashes, signatures and auth rules of each event.
//!
//! [`http`] is the layer below, of use for any other API of the upstream: reused connections, timeouts, a limit on
//! bodies, retries.

pub mod client;
pub mod http;
pub mod password;
pub mod token;

pub use client::{Client, ClientError, SigningKey};
