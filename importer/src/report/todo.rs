//! What an operator still has to do, in this order.

use std::{fs, path::Path};

use super::{Later, Outcome};
use crate::{counted::count, partial::unfinished, proxy::Direction, remedy, tally::Kind};

/// The list, for the end of a run.
pub(super) fn list(outcome: &Outcome<'_>, dump: &Path, later: &Later) -> Vec<String> {
    let directory = &outcome.database.directory;
    if !outcome.database.complete {
        return vec![
            format!(
                "Don't start Conduit: verification failed. The database is kept in `{}` for inspection; the next run \
                 removes it.",
                unfinished(directory).display()
            ),
            "Read the errors below, and report what you can't explain.".into(),
        ];
    }
    let skipped = |kind, reason: &str| {
        let skips = outcome.imported.skipped.iter();
        skips
            .filter(|skip| skip.kind == kind && (reason.is_empty() || skip.reason == reason))
            .count()
    };
    let has = |code: &str| outcome.findings.iter().any(|finding| finding.code == code);
    let mut list = vec!["Keep Synapse stopped, all of its workers too.".to_owned()];
    let mut add = |needed: bool, text: String| {
        if needed {
            list.push(text);
        }
    };
    let rooms = skipped(Kind::Room, "");
    add(
        rooms > 0,
        format!(
            "{} stayed behind (see the table of rooms, which says why). If anybody needs them: start Synapse instead, \
             mend them there (those of old versions: upgrade them), and migrate again.",
            count(rooms, "room")
        ),
    );
    add(true, ownership(outcome));
    add(
        outcome.media.uploaded,
        format!(
            "Upload what is in `{}` to Conduit's bucket, below the bucket's `path` if it has one.",
            outcome.media.directory.display()
        ),
    );
    add(has("I004") || has("C204"), "Keep registration closed until you have registered the first account: it becomes the administrator.".into());
    add(true, proxy(outcome));
    add(true, "Start Conduit, and look at its log and at your rooms.".into());
    let services = skipped(Kind::Appservice, "");
    add(
        services > 0,
        format!(
            "Register {} in Conduit's admin room: `register-appservice`.",
            count(services, "application service")
        ),
    );
    let tokens = skipped(Kind::AccessToken, "token-expires");
    add(
        tokens > 0,
        format!(
            "Tell who uses {} with an expiring login to log in again.",
            count(tokens, "device")
        ),
    );
    let passwords = outcome.imported.written.get(&Kind::PasswordHash).copied().unwrap_or(0);
    add(
        passwords > 0,
        "When somebody can't log in on a new device: a stock Conduit can't verify Synapse's password hashes; \
         `reset-password` in the admin room."
            .into(),
    );
    let is_later = later.events > 0 || later.uncounted;
    add(is_later, fetch(later));
    add(later.lost_events > 0, lost(later));
    let until = if is_later || later.lost_events > 0 {
        "Synapse's data is the only copy of that history, so keep it. Keep it and"
    } else {
        "Keep Synapse's data and"
    };
    let fetched = if is_later { " all of that history has been fetched and" } else { "" };
    add(
        true,
        format!(
            "{until} `{}` until{fetched} nobody misses anything, then delete both: they hold password hashes, access tokens \
             and the signing key.",
            dump.display()
        ),
    );
    list
}

/// Whose the files must be.
fn ownership(outcome: &Outcome<'_>) -> String {
    let (directory, media) = (&outcome.database.directory, &outcome.media.directory);
    let mut owned = remedy::word(directory.display());
    if !outcome.media.uploaded && !media.starts_with(directory) {
        owned = format!("{owned} {}", remedy::word(media.display()));
    }
    match conduits_user(&fs::read_to_string("/etc/passwd").unwrap_or_default()) {
        Some(user) => {
            format!("Give what was written to Conduit's user: `chown -R {user}: {owned}`.")
        }
        None => format!(
            "Give what was written to the user that Conduit runs as: `chown -R conduit: {owned}`, if that is its name."
        ),
    }
}

/// The rule that keeps Synapse's tokens away.
fn proxy(outcome: &Outcome<'_>) -> String {
    let elsewhere = outcome.listen.filter(|listen| *listen != Direction::ToConduit.upstream());
    let upstream = elsewhere.map(|listen| format!(" --upstream {listen}")).unwrap_or_default();
    format!(
        "Point the reverse proxy at Conduit, with the rule that `importer proxy-config --for nginx{upstream}` prints (or `caddy`, \
         `traefik`, `apache`, `haproxy`): clients keep Synapse's pagination tokens, which a stock Conduit refuses, so without \
         it they can't scroll back past where they were. Keep the rule for a year, or for as long as somebody may come back \
         with a client that was last opened before the move."
    )
}

/// The user that Conduit's packages and guides run it as, if there is one on this machine.
pub(super) fn conduits_user(passwd: &str) -> Option<&'static str> {
    let is_here = |user: &&str| passwd.lines().any(|line| line.split(':').next() == Some(user));
    ["_matrix-conduit", "matrix-conduit", "conduit"].into_iter().find(is_here)
}

/// How history that is left for later is fetched.
fn fetch(later: &Later) -> String {
    let what = if later.uncounted {
        "The dump was made with `--history recent`: what is older than the newest events of each room".to_owned()
    } else {
        format!(
            "The dump was made with `--history recent`: {} of {} (see the table of rooms)",
            count(later.events, "older event"),
            count(later.rooms, "room")
        )
    };
    let refused = match later.unbegun_threads {
        0 => String::new(),
        threads => format!(
            " Until then, a stock Conduit answers replies in {} with an error (400), as the event is missing that began it.",
            count(threads, "thread")
        ),
    };
    format!(
        "{what} can't be scrolled to yet.{refused} Fetch that from the old Synapse: start it, alone and unreachable from outside, with \
         what `importer quiet-config --synapse-config FILE` prints; then `importer backfill --homeserver URL --signing-key FILE` \
         with Conduit stopped, or `importer drain` through a patched one. Run it again until it says that nothing is missing."
    )
}

/// What can't be fetched.
fn lost(later: &Later) -> String {
    format!(
        "{} of {} that all of your users have left can't be fetched later: Synapse serves that to nobody. If \
         anybody needs it, migrate again with `--history full`.",
        count(later.lost_events, "older event"),
        count(later.lost_rooms, "room")
    )
}
