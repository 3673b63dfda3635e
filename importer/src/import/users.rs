//! What belongs to one user: the account with its devices, profile and account data, encryption, how far the user has read.

mod account;
mod account_data;
mod clients;
mod encryption;
mod push_rule_filter;
pub(super) mod receipt;
pub(super) mod receipts_and_unread;

use ruma::OwnedUserId;

pub(super) use self::encryption::SignedKeys;
use super::{ImportError, row_writer::Rows};
use crate::{
    conduit::schema::dialect::Dialect,
    dump::{DumpReader, format::DumpUser},
    progress::Progress,
    tally::{Kind, Tally},
};

/// What later stages need to know of the accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Active administrators, with their display names.
    pub(super) admins: Vec<(OwnedUserId, Option<String>)>,
    /// Master keys that users have signed.
    pub(super) signed_keys: SignedKeys,
}

/// Imports all accounts, but for what needs rooms: see [`receipts_and_unread`].
pub(super) fn import(
    dump: &DumpReader,
    rows: &mut Rows<'_>,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<Accounts, ImportError> {
    let phase = progress.phase("account", dump.number_of_users());
    let mut accounts = Accounts::default();
    let are_good = |user: &DumpUser| push_rule_filter::are_good(user.push_rules.as_deref());
    dump.each_user_with(are_good, |user, rules_are_good| {
        let messages = dump.messages(&user.user_id)?;
        tally.read(Kind::User, 1);
        if is_conduits_own(&user) {
            let detail = "Conduit needs the name for itself; the account was deactivated";
            tally.skip(Kind::User, user.user_id.as_str(), "name-taken-by-conduit", detail);
        } else {
            accounts.note(&user, rows.dialect());
            account::write(&user, dump.manifest().created_ts, rows, tally)?;
            account_data::write(&user, rules_are_good, rows, tally)?;
            clients::write(&user, rows, tally)?;
            encryption::write(user, messages, rows, tally)?;
            tally.written(Kind::User, 1);
        }
        phase.advance(1);
        Ok::<_, ImportError>(())
    })?;
    Ok(accounts)
}

impl Accounts {
    fn note(&mut self, user: &DumpUser, dialect: Dialect) {
        let is_free = !user.locked && !user.suspended;
        if account::may_act(user, dialect) && is_free && user.admin {
            self.admins.push((user.user_id.clone(), user.profile.displayname.clone()));
        }
        self.signed_keys.note(user);
    }
}

/// Whether Conduit's own account takes the name of this one.
fn is_conduits_own(user: &DumpUser) -> bool {
    user.user_id.localpart() == "conduit"
}
