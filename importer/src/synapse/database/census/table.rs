//! What is known of a table of Synapse's.

use crate::{dump::census::Fate, tally::Kind};

/// A table of Synapse's.
#[derive(Clone, Copy, Debug)]
pub(in crate::synapse::database) struct Table {
    pub(in crate::synapse::database) name: &'static str,
    pub(in crate::synapse::database) fate: Fate,
    /// The kinds that its rows are, or are read for.
    pub(in crate::synapse::database) kinds: &'static [Kind],
    /// Where its rows go, or why they don't.
    pub(in crate::synapse::database) why: &'static str,
    /// Rows that never move, by the first part that they are in.
    pub(super) parts: &'static [Part],
    /// Whose rows they are; rows without an owner are left out.
    pub(super) owners: &'static [Owner],
}

/// Some rows of a table that never move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// A short code.
    pub(super) reason: &'static str,
    /// Which they are, in SQL; the table is `t`, `$1` is this server's name with a colon in front.
    pub(super) condition: &'static str,
    /// Why, for `docs/census.md`.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the documentation says it"))]
    pub(super) why: &'static str,
}

/// A column that names the owner of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) column: &'static str,
    pub(super) of: OwnerKind,
}

/// What a column names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerKind {
    /// A user of this server.
    User,
    /// A user of this server by the local part of the id, or by all of it.
    Localpart,
    /// A user of this server or of another one; those of others own nothing here.
    AnyUser,
    /// The same of members of rooms: they move without an account.
    Member,
    /// A room that a local user is, was or is asked to be in.
    Room,
    /// The same, of rows of other servers' users in the column `user_id`.
    RoomOfOthers,
}

impl OwnerKind {
    /// Whether it is a room.
    pub(super) fn is_room(self) -> bool {
        matches!(self, Self::Room | Self::RoomOfOthers)
    }
}

impl Table {
    pub(super) const fn new(
        name: &'static str,
        fate: Fate,
        kinds: &'static [Kind],
        why: &'static str,
    ) -> Self {
        Self { name, fate, kinds, why, parts: &[], owners: &[] }
    }

    /// With owners.
    pub(super) const fn of(mut self, owners: &'static [Owner]) -> Self {
        self.owners = owners;
        self
    }

    /// With parts that never move.
    pub(super) const fn but(mut self, parts: &'static [Part]) -> Self {
        self.parts = parts;
        self
    }
}

impl Part {
    pub(super) const fn new(
        reason: &'static str,
        condition: &'static str,
        why: &'static str,
    ) -> Self {
        Self { reason, condition, why }
    }
}

impl Owner {
    /// In SQL: there is no such owner. `$1` is this server's name with a colon in front.
    pub(super) fn is_missing(self) -> String {
        let column = self.column;
        let no_user = |id: &str| format!("NOT EXISTS (SELECT 1 FROM users u WHERE u.name = {id})");
        match self.of {
            OwnerKind::User => no_user(&format!("t.{column}")),
            OwnerKind::Localpart => format!(
                "{} AND {}",
                no_user(&format!("'@' || t.{column} || $1")),
                no_user(&format!("t.{column}"))
            ),
            OwnerKind::AnyUser | OwnerKind::Member => {
                format!("{} AND {}", is_local(column), no_user(&format!("t.{column}")))
            }
            OwnerKind::Room => no_room(column),
            OwnerKind::RoomOfOthers => {
                format!("NOT ({}) AND {}", is_local("user_id"), no_room(column))
            }
        }
    }
}

fn no_room(column: &str) -> String {
    format!("NOT EXISTS (SELECT 1 FROM local_current_membership l WHERE l.room_id = t.{column})")
}

/// In SQL: a column names a user of this server. The length is compared because names hold `_`, which `LIKE` takes for any
/// character.
pub(super) fn is_local(column: &str) -> String {
    format!("substr(t.{column}, length(t.{column}) - length($1) + 1) = $1")
}
