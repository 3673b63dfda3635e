//! Accounts, their tokens and pushers.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};

use super::Checks;
use crate::{
    conduit::{
        account_data::{Parsable, parsable},
        schema::trees,
    },
    counted::{count, counted},
    findings::codes::{self, Code},
    source::survey::{AccountFacts, OddAccountData, Survey},
    synapse::config::SynapseConfig,
};

pub(super) fn check(checks: &mut Checks, survey: &Survey, config: Option<&SynapseConfig>) {
    let appservices: Option<BTreeSet<&str>> =
        config.map(|config| config.appservices.iter().map(|service| service.id.as_str()).collect());
    let mut has_admin = false;
    let mut passwords: u64 = 0;
    let mut erased: u64 = 0;
    for account in &survey.accounts {
        let id = account.user_id.as_str();
        match OwnedUserId::try_from(id) {
            Ok(user_id) if user_id.server_name() == survey.server_name.as_str() => {
                name(checks, &user_id, account.deactivated);
            }
            Ok(_) => checks.found(&codes::FOREIGN_USER, id, "belongs to another server name"),
            Err(_) => checks.found(&codes::FOREIGN_USER, id, "is no user id, or its row is broken"),
        }
        erased += u64::from(account.erased);
        if account.deactivated {
            continue;
        }
        let is_restricted = account.suspended || account.restricted || account.guest;
        has_admin |= account.admin && !is_restricted;
        rights(checks, account, appservices.as_ref());
        passwords += u64::from(account.password == Some(true));
    }
    if !has_admin {
        checks.found(&codes::NO_ADMIN, &survey.server_name, "no active server administrator");
    }
    if passwords > 0 {
        checks.found(&codes::PASSWORDS, &survey.server_name, count(passwords, "password"));
    }
    if erased > 0 {
        let events = survey.erased_events.map(|events| count(events, "event"));
        let events = events.map(|events| format!(", {events} of theirs")).unwrap_or_default();
        let text = format!("{}{events}", count(erased, "erased user"));
        checks.found(&codes::ERASED, &survey.server_name, text);
    }
    for user in &survey.pending_deactivations {
        checks.found(&codes::DEACTIVATING, user, "is being deactivated");
    }
    by_user(
        checks,
        &codes::EXPIRING_TOKENS,
        &survey.expiring_tokens,
        ["access token", "access tokens"],
    );
    by_user(
        checks,
        &codes::TOKEN_WITHOUT_DEVICE,
        &survey.tokens_without_device,
        ["access token", "access tokens"],
    );
    by_user(checks, &codes::PUSHERS, &survey.other_pushers, ["pusher", "pushers"]);
    account_data(checks, survey);
    let holds_emails = checks.dialect.holds(&trees::EMAIL_LOCALPART);
    let emails = if holds_emails { survey.emails } else { 0 };
    let outside_ids = survey.outside_ids.saturating_sub(emails);
    total(checks, &codes::OUTSIDE_IDS, survey, outside_ids, ["id", "ids"]);
    total(
        checks,
        &codes::UNPLACED,
        survey,
        survey.dehydrated_devices,
        ["dehydrated device", "dehydrated devices"],
    );
    if !checks.dialect.holds(&trees::USERIDPROFILEKEY_VALUE) {
        total(
            checks,
            &codes::UNPLACED,
            survey,
            survey.custom_profiles,
            ["profile with custom fields", "profiles with custom fields"],
        );
    }
    total(
        checks,
        &codes::DELAYED,
        survey,
        survey.delayed_events,
        ["delayed event", "delayed events"],
    );
}

/// What an account is called.
pub(super) fn name(checks: &mut Checks, user_id: &UserId, deactivated: bool) {
    if user_id.localpart() == "conduit" {
        if deactivated {
            checks.found(&codes::SERVER_USER_GONE, user_id.as_str(), "was deactivated");
        } else {
            checks.found(&codes::SERVER_USER, user_id.as_str(), "is an active account");
        }
    }
    if user_id.localpart().chars().any(char::is_uppercase) && !deactivated {
        checks.found(&codes::CAPITALS, user_id.as_str(), "has capitals");
    }
}

fn rights(checks: &mut Checks, account: &AccountFacts, appservices: Option<&BTreeSet<&str>>) {
    let id = account.user_id.as_str();
    if account.guest {
        checks.found(&codes::GUEST, id, "is a guest");
    } else if account.restricted || (account.suspended && !keeps_suspended(checks)) {
        let text = "is locked, suspended, shadow-banned or unapproved";
        checks.found(&codes::RESTRICTED, id, text);
    } else if let Some(appservice) = &account.appservice {
        if appservices.is_some_and(|known| !known.contains(appservice.as_str())) {
            let text = format!("belongs to the application service `{appservice}`");
            checks.found(&codes::LOST_APPSERVICE, id, text);
        }
    } else if account.password == Some(false) {
        checks.found(&codes::NO_PASSWORD, id, "has no password");
    }
}

/// Whether locked and suspended accounts move as such.
fn keeps_suspended(checks: &Checks) -> bool {
    checks.dialect.holds(&trees::USERID_LOCK)
}

/// Entries that the import leaves out, as Conduit could not read the others with them.
fn account_data(checks: &mut Checks, survey: &Survey) {
    for OddAccountData { user, room, kind, content } in &survey.odd_account_data {
        let subject = format!("{kind} of {user} {room}");
        match parsable(kind, content) {
            Parsable::Whole => {}
            Parsable::Part { left_out, .. } => {
                for entry in left_out {
                    checks.found(&codes::ACCOUNT_DATA, subject.trim(), entry);
                }
            }
            Parsable::Nothing(_) => {
                checks.found(&codes::ACCOUNT_DATA, subject.trim(), "nothing of it can be read");
            }
        }
    }
}

fn by_user(checks: &mut Checks, code: &Code, users: &[(String, u64)], nouns: [&str; 2]) {
    for (user, number) in users {
        checks.found(code, user, counted(*number, nouns));
    }
}

fn total(checks: &mut Checks, code: &Code, survey: &Survey, number: u64, nouns: [&str; 2]) {
    if number > 0 {
        checks.found(code, &survey.server_name, counted(number, nouns));
    }
}
