//! A signed federation client to the one homeserver that has the same server name.
