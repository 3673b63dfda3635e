//! What an operator still has to do, in this order.

use std::path::Path;

use super::Outcome;
use crate::tally::Kind;

/// The list, for the end of a run.
pub(super) fn list(outcome: &Outcome<'_>, dump: &Path) -> Vec<String> {
    let database = outcome.database.directory.display();
    if !outcome.database.complete {
        return vec![
            format!(
                "Don't start Conduit: the database did not pass. It is in `{database}.partial` for a look; \
                 the next run removes it."
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
            "{rooms} rooms stayed behind (see the table of rooms). If anybody needs them: start Synapse instead, \
             upgrade them, and migrate again."
        ),
    );
    add(true, format!("Give the database to Conduit's user: `chown -R conduit: {database}`"));
    add(has("I004") || has("C204"), "Keep registration closed until you have registered the first account: it becomes the administrator.".into());
    add(
        true,
        "Point the reverse proxy at Conduit, start it, and look at its log and at your rooms."
            .into(),
    );
    let services = skipped(Kind::Appservice, "");
    add(
        services > 0,
        format!(
            "Register {services} application services in Conduit's admin room: `register-appservice`."
        ),
    );
    let tokens = skipped(Kind::AccessToken, "token-expires");
    add(
        tokens > 0,
        format!("Tell the owners of {tokens} devices with expiring logins to log in again."),
    );
    let passwords = outcome.imported.written.get(&Kind::PasswordHash).copied().unwrap_or(0);
    add(
        passwords > 0,
        "When somebody can't log in on a new device: a stock Conduit can't verify Synapse's password hashes; \
         `reset-password` in the admin room."
            .into(),
    );
    add(
        true,
        format!(
            "Keep Synapse's data and `{}` until nobody misses anything, then delete both: they hold password hashes, \
             access tokens and the signing key.",
            dump.display()
        ),
    );
    list
}
