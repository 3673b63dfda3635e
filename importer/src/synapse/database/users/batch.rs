//! Rows of several users, read together: a query for each user would be a round trip to the database for each.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};

use crate::synapse::database::{DatabaseError, connection::Connection, row::KeptRow};

/// Users whose rows are read together.
const USERS: usize = 100;

/// Rows by the user that they belong to.
type ByUser = BTreeMap<String, Vec<KeptRow>>;

/// The users that come next, and those of their rows that were read and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// All users that will be asked for, sorted.
    all: Vec<OwnedUserId>,
    /// Those that are read together.
    users: Vec<OwnedUserId>,
    /// The rows, by query.
    rows: BTreeMap<String, ByUser>,
}

impl Batch {
    /// Of these users, who are asked for in this order.
    pub(super) fn of(all: Vec<OwnedUserId>) -> Self {
        Self { all, ..Self::default() }
    }

    /// The users, in this order.
    pub(super) fn all(&self) -> &[OwnedUserId] {
        &self.all
    }

    /// Makes a user one of those that are read together.
    fn turn_to(&mut self, user_id: &UserId) {
        if self.users.iter().any(|user| user == user_id) {
            return;
        }
        self.rows.clear();
        let at = self.all.partition_point(|user| &**user < user_id);
        let next = self.all.get(at..).unwrap_or_default();
        self.users = if next.first().is_some_and(|user| user == user_id) {
            next.iter().take(USERS).cloned().collect()
        } else {
            vec![user_id.to_owned()]
        };
    }
}

/// The tables, for one user: rows come from the batch.
pub(super) struct UserTables<'a> {
    pub(super) db: &'a mut Connection,
    batch: &'a mut Batch,
    pub(super) id: &'a UserId,
}

impl<'a> UserTables<'a> {
    pub(super) fn new(db: &'a mut Connection, batch: &'a mut Batch, id: &'a UserId) -> Self {
        batch.turn_to(id);
        Self { db, batch, id }
    }

    /// The user's rows of a query, once: the last column is the user's id, and `IN ($IDS)` stands for the ids of those whose
    /// rows it gives.
    pub(super) async fn rows(
        &mut self,
        table: &'static str,
        sql: &str,
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        let id = self.id;
        self.take(table, sql, id.as_str(), |user| user.as_str()).await
    }

    /// The same for tables that know users by the local parts of their ids.
    pub(super) async fn rows_of_localpart(
        &mut self,
        table: &'static str,
        sql: &str,
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        let id = self.id;
        self.take(table, sql, id.localpart(), |user| user.localpart()).await
    }

    async fn take(
        &mut self,
        table: &'static str,
        sql: &str,
        id: &str,
        ids: impl Fn(&OwnedUserId) -> &str,
    ) -> Result<Vec<KeptRow>, DatabaseError> {
        if !self.batch.rows.contains_key(sql) {
            let ids: Vec<_> = self.batch.users.iter().map(ids).collect();
            let mut read = ByUser::new();
            for row in self.db.rows_in(table, sql, &ids).await? {
                read.entry(row.owner()).or_default().push(row);
            }
            self.batch.rows.insert(sql.to_owned(), read);
        }
        let read = self.batch.rows.get_mut(sql);
        Ok(read.and_then(|read| read.remove(id)).unwrap_or_default())
    }
}
