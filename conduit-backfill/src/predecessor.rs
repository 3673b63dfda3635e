//! What a homeserver needs of the one that it replaced beside events: the passwords that its users chose there, the sessions
//! that they have there, and the tokens that their clients still hold. [`crate::backfill`] fetches the events, by
//! [`crate::client`].

pub mod password;
pub mod refresh;
pub mod token;
