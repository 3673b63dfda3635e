//! Accounts, and what of theirs does not move.

use super::queries;
use crate::{
    source::survey::AccountFacts,
    synapse::database::{
        DatabaseError, Facts,
        connection::Connection,
        row::{Known, row},
    },
};

row! {
    /// A row of `users`.
    struct SurveyedAccountRow {
        /// `name`.
        user_id: String,
        appservice_id: Known<String>,
        admin: bool,
        deactivated: bool,
        /// `is_guest`.
        guest: bool,
        shadow_banned: bool,
        /// NULL: from before there were approvals.
        approved: Option<bool>,
        locked: bool,
        suspended: bool,
        /// Whether there is a password's hash.
        password: bool,
    }
}

/// All accounts, sorted.
pub(super) async fn read(
    db: &mut Connection,
    facts: &Facts,
) -> Result<Vec<AccountFacts>, DatabaseError> {
    let (schema, delegated) = (&facts.schema, facts.config.delegated_auth);
    let sql = format!(
        "SELECT name, appservice_id, admin, deactivated, is_guest, shadow_banned, {}, {}, {}, \
         CASE WHEN COALESCE(password_hash, '') = '' THEN 0 ELSE 1 END FROM users",
        schema.column("users", "approved", "NULL"),
        schema.column("users", "locked", "FALSE"),
        schema.column("users", "suspended", "FALSE"),
    );
    let mut accounts = Vec::new();
    db.each("users", &sql, &[], |row| {
        accounts.push(match row.decode::<SurveyedAccountRow>() {
            Ok(row) => AccountFacts {
                erased: facts.erased.contains(&row.user_id),
                user_id: row.user_id,
                admin: row.admin && !delegated,
                deactivated: row.deactivated,
                guest: row.guest,
                suspended: row.locked || row.suspended,
                restricted: row.shadow_banned || row.approved == Some(false),
                password: (!delegated).then_some(row.password),
                appservice: row.appservice_id.0,
            },
            // A row that does not decode is reported by its name alone, which is then no user id or unusable.
            Err(_) => AccountFacts { user_id: row.label(), ..AccountFacts::default() },
        });
    })
    .await?;
    accounts.sort();
    Ok(accounts)
}

/// Who has access tokens that expire; without those of which the newest are kept, if these last (`lasting`).
pub(super) async fn expiring_tokens(
    db: &mut Connection,
    now: i64,
    lasting: bool,
) -> Result<Vec<(String, u64)>, DatabaseError> {
    let kept = "AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.id = a.refresh_token_id \
                AND r.next_token_id IS NULL AND COALESCE(r.expiry_ts, $1) >= $1 \
                AND COALESCE(r.ultimate_session_expiry_ts, $1) >= $1)";
    let sql = format!(
        "SELECT a.user_id, COUNT(*) FROM access_tokens a \
         WHERE a.puppets_user_id IS NULL AND a.valid_until_ms > $1 {} GROUP BY a.user_id",
        if lasting { kept } else { "" }
    );
    queries::numbers(db, "access_tokens", &sql, &[now.into()]).await
}

/// Who has valid access tokens that belong to no device.
pub(super) async fn tokens_without_device(
    db: &mut Connection,
    now: i64,
) -> Result<Vec<(String, u64)>, DatabaseError> {
    let sql = "SELECT user_id, COUNT(*) FROM access_tokens WHERE puppets_user_id IS NULL \
               AND device_id IS NULL AND COALESCE(valid_until_ms, $1 + 1) > $1 GROUP BY user_id";
    queries::numbers(db, "access_tokens", sql, &[now.into()]).await
}

/// Who has pushers that are no `http` ones.
pub(super) async fn other_pushers(
    db: &mut Connection,
) -> Result<Vec<(String, u64)>, DatabaseError> {
    let sql = "SELECT user_name, COUNT(*) FROM pushers WHERE kind <> 'http' GROUP BY user_name";
    queries::numbers(db, "pushers", sql, &[]).await
}

/// How many accounts have an e-mail address.
pub(super) async fn emails(db: &mut Connection) -> Result<u64, DatabaseError> {
    let sql = "SELECT COUNT(DISTINCT user_id) FROM user_threepids WHERE medium = 'email'";
    queries::number(db, "user_threepids", sql).await
}

/// E-mail addresses, telephone numbers and single sign-on ids.
pub(super) async fn outside_ids(db: &mut Connection) -> Result<u64, DatabaseError> {
    let sql = "SELECT COUNT(*) FROM user_threepids";
    let threepids = queries::number(db, "user_threepids", sql).await?;
    let sql = "SELECT COUNT(*) FROM user_external_ids";
    Ok(threepids.saturating_add(queries::number(db, "user_external_ids", sql).await?))
}
