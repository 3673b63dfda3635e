//! Servers whose databases the importer writes. They descend from Conduit and keep its trees, so Conduit's rows stand for all of
//! them; a dialect is how a server's own rows differ. `docs/continuwuity.md` explains Continuwuity's, with sources.

use std::fmt;

use serde::Serialize;

use super::trees::{self, CONTINUWUITY, TREES, Tree};

/// A server whose database is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Conduit.
    #[default]
    Conduit,
    /// Continuwuity.
    Continuwuity,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conduit => "Conduit",
            Self::Continuwuity => "Continuwuity",
        })
    }
}

/// Trees of Conduit that are left out of a database for Continuwuity, which would read none of them. Those of media are there all
/// the same: `verify` learns from them which content a media id has.
const OF_CONDUIT_ALONE: [&Tree; 5] = [
    trees::BLOCKED_SERVERNAME_MEDIAID.tree(),
    trees::FILEHASH_THUMBNAILID.tree(),
    trees::PREDECESSOR_GIVENUP.tree(),
    trees::THUMBNAILID_METADATA.tree(),
    trees::USERID_LASTPRESENCEUPDATE.tree(),
];

/// Caches whose rows have other forms in Continuwuity (src/service/rooms/lazy_loading/mod.rs:129, src/service/presence/data.rs:163).
/// The importer writes none.
const OTHER_CACHES: [&Tree; 2] = [trees::LAZYLOADEDIDS.tree(), trees::PRESENCEID_PRESENCE.tree()];

/// Trees of Continuwuity that hold rows which Conduit has elsewhere: they are read and written by Conduit's name.
const BY_CONDUITS_NAME: [&Tree; 5] = [
    trees::BANNEDROOMIDS.tree(),
    trees::REMOTEUSERID_REMOTEUSER.tree(),
    trees::ROOMUSERID_KNOCKEDCOUNT.tree(),
    trees::ROOMUSERID_LASTNOTIFICATIONREAD.tree(),
    trees::USERROOMID_KNOCKEDSTATE.tree(),
];

/// Trees of Conduit that Continuwuity has under other names.
const RENAMED: [&Tree; 2] =
    [trees::ROOMUSERID_KNOCKCOUNT.tree(), trees::USERROOMID_KNOCKSTATE.tree()];

/// Keys of `global` that a new Continuwuity writes, each for a migration that it need not run (src/service/migrations.rs:60-75).
const MARKERS: [&str; 10] = [
    "drop_roomsynctoken_shortstatehash",
    "feat_sha256_media",
    "fix_bad_double_separator_in_state_cache",
    "fix_corrupt_msc4133_fields",
    "fix_local_invite_state",
    "fix_readreceiptid_readreceipt_duplicates",
    "fix_referencedevents_missing_sep",
    "populate_userroomid_leftstate_table",
    "retroactively_fix_bad_data_from_roomuserid_joined",
    "split_userid_password",
];

impl Dialect {
    /// The version of a new database (Conduit: src/database/mod.rs:462).
    pub const fn version(self) -> u64 {
        match self {
            Self::Conduit => 18,
            Self::Continuwuity => 19,
        }
    }

    /// Keys of `global` whose rows are empty.
    pub const fn markers(self) -> &'static [&'static str] {
        match self {
            Self::Conduit => &trees::REPAIRED,
            Self::Continuwuity => &MARKERS,
        }
    }

    /// Whether the server has a place for the rows of a tree. Rows of other trees are never written.
    pub fn holds(self, tree: &Tree) -> bool {
        match self {
            Self::Conduit => TREES.contains(&tree),
            Self::Continuwuity => !OF_CONDUIT_ALONE.contains(&tree),
        }
    }

    /// The trees that a new database has, by the server's names.
    pub fn families(self) -> impl Iterator<Item = &'static Tree> {
        let is_own = move |tree: &&'static Tree| match self {
            Self::Conduit => self.holds(tree) && !trees::PATCHED.contains(&tree.name),
            Self::Continuwuity => self.holds(tree) && !RENAMED.contains(tree),
        };
        TREES.into_iter().chain(CONTINUWUITY).filter(is_own)
    }

    /// The trees whose rows are all that a database has, by the names under which they are read and written.
    pub fn trees(self) -> Vec<&'static Tree> {
        let is_other = |tree: &&Tree| self == Self::Continuwuity && OTHER_CACHES.contains(tree);
        let is_held = |tree: &&'static Tree| {
            self.holds(tree) && !BY_CONDUITS_NAME.contains(tree) && !is_other(tree)
        };
        TREES.into_iter().chain(CONTINUWUITY).filter(is_held).collect()
    }

    /// The trees that this server and another have in common.
    pub fn common_trees(self, other: Self) -> Vec<&'static Tree> {
        let others = other.trees();
        self.trees().into_iter().filter(|tree| others.contains(tree)).collect()
    }

    /// The tree that a database of this server has by that name.
    pub fn find(self, name: &str) -> Option<&'static Tree> {
        self.trees().into_iter().chain(self.families()).find(|tree| tree.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tree_is_held_by_a_server_and_a_server_holds_what_is_its_own() {
        assert_eq!(Dialect::Conduit.trees(), TREES);
        let continuwuity = Dialect::Continuwuity.trees();
        assert_eq!(continuwuity.len(), TREES.len() + CONTINUWUITY.len() - 5 - 2 - 5);
        assert!(!continuwuity.contains(&trees::THUMBNAILID_METADATA.tree()));
        assert!(
            Dialect::Continuwuity.holds(&trees::USERID_LOCK)
                && !Dialect::Conduit.holds(&trees::USERID_LOCK)
        );
        assert!(MARKERS.is_sorted());
    }

    #[test]
    fn the_document_has_each_tree_of_continuwuity_with_its_layout() {
        let document = include_str!("../../../docs/continuwuity.md");
        let (_, table) = document.split_once("Trees that Conduit has not:").unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: Vec<_> =
            rows.map(|row| row.rsplit_once(" | ").unwrap().0.to_owned()).collect();
        let expected = CONTINUWUITY.map(|tree| format!("{tree}` | {} | {}", tree.key, tree.value));
        assert_eq!(documented, expected);
    }
}
