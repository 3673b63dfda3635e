//! Texts that are wrong for Continuwuity beyond the name. Sources are below `src/` of Continuwuity at its revision `09073235`.

use std::borrow::Cow;

use crate::findings::codes::{self, Code};

/// Commands of Conduit's admin room, and those of Continuwuity's (admin/user/mod.rs:31, admin/appservice/mod.rs:18).
const COMMANDS: [(&str, &str); 2] = [
    ("reset-password", "!admin users reset-password"),
    ("register-appservice", "!admin appservices register"),
];

/// A command as Continuwuity has it; other code stays.
pub(super) fn command(code: &str) -> &str {
    COMMANDS.iter().find(|(of_conduit, _)| *of_conduit == code).map_or(code, |(_, own)| own)
}

/// The text that stands for one of Conduit's, if Continuwuity has one of its own.
pub(super) fn own(text: &str) -> Option<Cow<'static, str>> {
    let of_code = CODES
        .iter()
        .flat_map(|(code, meaning, remedy)| [(code.meaning, *meaning), (code.remedy, *remedy)]);
    let mut all = of_code.chain(OTHERS.iter().copied());
    all.find(|(of_conduit, own)| *of_conduit == text && !own.is_empty() && !text.is_empty())
        .map(|(_, own)| own.into())
}

/// Of findings: the code, what it means, what to do; an empty text is Conduit's with the other name.
#[rustfmt::skip]
pub(super) const CODES: &[(Code, &str, &str)] = &[
    // It logs users in by passwords, which may be hashes by argon2 alone, and by OpenID Connect.
    (codes::OTHER_LOGINS, "Synapse leaves logins to other services or modules (single sign-on, LDAP): these users need a password to log in again", ""),
    (codes::PASSWORDS, "passwords are bcrypt hashes, which Continuwuity can't verify: devices stay logged in, new logins fail", "reset passwords in Continuwuity's admin room when they are needed (`!admin users reset-password`), or configure `[global.smtp]`, so that users with an e-mail address do it themselves"),
    (codes::RESTRICTED, "shadow-banned or unapproved accounts are logged out: Continuwuity has no such restrictions", ""),
    (codes::EXPIRING_TOKENS, "access tokens that expire move with their time; Continuwuity can't renew them as Synapse does, so these devices have to log in again when it is over", ""),
    (codes::PUSHERS, "e-mail pushers are left out: Continuwuity sends no notifications by e-mail", ""),
    (codes::OUTSIDE_IDS, "telephone numbers, single sign-on ids and further e-mail addresses of an account stay in the dump", ""),
    (codes::UNPLACED, "dehydrated devices stay in the dump: clients make new ones", ""),
    (codes::ROOM_VERSION, "rooms with local users in them whose room version the importer does not write (1, 2, experimental ones) stay behind", ""),
    (codes::BLOCKED_ROOM, "rooms that an administrator has blocked are banned on Continuwuity: nobody can join them, invite to them or send into them", "to open a room again, use `!admin rooms moderation unban-room` in the admin room"),
    // service/rooms/state_accessor/user_can.rs:103: those who are in the room now.
    (codes::VISIBILITY, "rooms whose `history_visibility` has an unknown value: Synapse and Continuwuity treat it as `shared`", ""),
    (codes::MEDIA_USED, "the media directory is not empty, or it contains the database's directory", "leave out `--media-directory`: Continuwuity reads files in `media` below the database's directory"),
    (codes::TURN, "", "configure the same server for Continuwuity: `turn_uris` and `turn_secret`"),
    // core/config/mod.rs:1824-1835.
    (codes::FEDERATION_OPEN, "Synapse federates with listed servers only; Continuwuity does so if its configuration has such a list: otherwise, a closed server becomes open", "set `allowed_remote_server_names` and `forbidden_remote_server_names = [\".*\"]` and accept this, or set `allow_federation = false`"),
    (codes::MEDIA_RETENTION, "Synapse deletes media files after a time; Continuwuity never does", "delete them from time to time (`!admin media` in the admin room)"),
    (codes::SERVER_ADDRESS, "Synapse does not answer `/.well-known/matrix/server`; Continuwuity does, if it has `server` in `[global.well_known]` and the proxy passes the request on", ""),
    (codes::EXTRA_WELL_KNOWN, "Synapse's `/.well-known/matrix/client` has more than its address (calls, maps, where to log in); Continuwuity's has what `[global.well_known]` says", ""),
    (codes::AUTO_JOIN, "new accounts no longer join these rooms on their own, unless Continuwuity's configuration says so", "set `auto_join_rooms` in Continuwuity's configuration"),
    (codes::EMAIL, "Continuwuity sends e-mail only if it has `[global.smtp]`, and no notifications", "configure `[global.smtp]`, or reset passwords with `!admin users reset-password` in the admin room"),
    (codes::CONSENT, "users are no longer asked to accept terms, unless Continuwuity's configuration says so", "configure `[global.registration_terms]`"),
    (codes::JWT, "Synapse accepts JSON Web Tokens for logins; Continuwuity does not", "find another login for the programs that use them"),
    (codes::BRIDGE_SWITCH, "a bridge uses features that Continuwuity may lack (devices without a login, MSC4190; encryption by transactions, MSC3202): its encryption may fail", ""),
    // Its port is another (core/config/mod.rs:113).
    (codes::OLD_TOKENS, "", "add the rule that `importer proxy-config --for nginx --target continuwuity` prints (or for `caddy`, `traefik`, `apache`, `haproxy`; with Continuwuity's address) to the reverse proxy, and keep it for a year"),
    (codes::MEDIA_TWIN, "media has the same content as quarantined media, which stays behind", "delete it in the admin room (`!admin media delete`) if it should not be shown either"),
    (codes::GLOBAL_INCOMPLETE, "`global` lacks version 19, the counter or a readable key; Continuwuity does not start", ""),
    (codes::MEDIA_ROWS_MISSING, "rows of a media file are missing: Continuwuity does not find the file", ""),
    (codes::REPAIR_MARK_MISSING, "a row of `global` is missing that keeps Continuwuity from a migration which the database does not need", ""),
];

/// Other texts.
#[rustfmt::skip]
pub(super) const OTHERS: &[(&str, &str)] = &[
    ("is locked, suspended, shadow-banned or unapproved", "is shadow-banned or unapproved"),
    // What is left out.
    ("the account is a guest, locked, suspended or awaiting approval", "the account is a guest, shadow-banned or awaiting approval"),
    // Tables of Synapse.
    ("tokens to refresh access tokens: Conduit has none, so their devices have to log in again", "tokens to refresh access tokens: Continuwuity has none of this kind, so their devices log in again when the access token expires"),
    ("invitations to register: Conduit has one token, in its configuration", "invitations to register: issue new tokens in Continuwuity's admin room"),
];
