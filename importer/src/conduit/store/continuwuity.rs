//! Continuwuity's rows as if they were Conduit's: whoever reads or writes through [`Continuwuity`] uses Conduit's trees, and those
//! that Conduit has not ([`trees::CONTINUWUITY`]). What differs is listed in `docs/continuwuity.md`.
//!
//! | tree of Conduit | in Continuwuity |
//! |---|---|
//! | `userid_password` | users of other servers are in `remoteuserid_remoteuser` |
//! | `userroomid_highlightcount` | rows that begin with a room are in `roomuserid_lastnotificationread` |
//! | `userroomid_knockstate`, `roomuserid_knockcount` | `userroomid_knockedstate`, `roomuserid_knockedcount` |
//! | `disabledroomids` | `bannedroomids` |
//! | `referencedevents` | a separator stands between room and event |
//! | `userroomid_leftstate` | `null` instead of an empty list |

use super::{
    Changes, Entries, Entry, KvCommit, KvError, KvLoad, KvRead, Row, each, from_key,
    rocksdb::RocksStore,
};
use crate::conduit::schema::{
    dialect::Dialect,
    trees::{
        self, BANNEDROOMIDS, DISABLEDROOMIDS, REFERENCEDEVENTS, REMOTEUSERID_REMOTEUSER,
        ROOMUSERID_KNOCKCOUNT, ROOMUSERID_KNOCKEDCOUNT, ROOMUSERID_LASTNOTIFICATIONREAD, Tree,
        USERID_PASSWORD, USERROOMID_HIGHLIGHTCOUNT, USERROOMID_KNOCKEDSTATE, USERROOMID_KNOCKSTATE,
        USERROOMID_LEFTSTATE,
    },
};

/// What Conduit writes for a room that a user has left, and what Continuwuity does.
const LEFT: (&[u8], &[u8]) = (b"[]", b"null");
/// Begins the id of an event, which has none in it.
const EVENT: u8 = b'$';
const SEPARATOR: u8 = 0xff;
/// A key of `global` that says that Continuwuity, and a recent one, has made the database or run on it: since then, only local users
/// are in `userid_password`.
const SPLIT_MARKER: &[u8] = b"split_userid_password";

/// A database of Continuwuity's.
#[derive(Debug)]
pub(super) struct Continuwuity<S> {
    store: S,
    /// The server's name after a colon: with it the ids of its own users end.
    own: Vec<u8>,
}

/// How a tree of Conduit is kept.
enum Kept {
    /// As it is.
    Same,
    /// Under another name.
    As(&'static Tree),
    /// The same, beside rows with a room alone as their key, of which nobody reads any
    /// (src/service/rooms/state_cache/update.rs:172-173 there).
    Among(&'static Tree),
    /// In two trees; the other one's rows come without values, or with their own.
    With(&'static Tree),
    /// With a separator in its keys.
    Separated,
    /// With another value for an empty list.
    NullForEmpty,
}

fn kept(tree: &'static Tree) -> Kept {
    match tree.name {
        name if name == USERROOMID_KNOCKSTATE.name => Kept::As(&USERROOMID_KNOCKEDSTATE),
        name if name == ROOMUSERID_KNOCKCOUNT.name => Kept::Among(&ROOMUSERID_KNOCKEDCOUNT),
        name if name == DISABLEDROOMIDS.name => Kept::As(&BANNEDROOMIDS),
        name if name == USERID_PASSWORD.name => Kept::With(&REMOTEUSERID_REMOTEUSER),
        name if name == USERROOMID_HIGHLIGHTCOUNT.name => {
            Kept::With(&ROOMUSERID_LASTNOTIFICATIONREAD)
        }
        name if name == REFERENCEDEVENTS.name => Kept::Separated,
        name if name == USERROOMID_LEFTSTATE.name => Kept::NullForEmpty,
        _ => Kept::Same,
    }
}

/// A key of `referencedevents`, or the beginning of one, with its separator.
fn separated(key: &[u8]) -> Vec<u8> {
    match key.iter().rposition(|byte| *byte == EVENT).map(|at| key.split_at(at)) {
        Some((room, event)) => [room, event].join(&SEPARATOR),
        None => key.to_vec(),
    }
}

/// The same without it.
fn joined(key: &[u8]) -> Vec<u8> {
    key.iter().copied().filter(|byte| *byte != SEPARATOR).collect()
}

impl<S> Continuwuity<S> {
    pub(super) fn new(store: S, server_name: &str) -> Self {
        Self { store, own: format!(":{server_name}").into_bytes() }
    }

    /// The tree, key and value of a row in Continuwuity.
    fn own_row(
        &self,
        tree: &'static Tree,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> (&'static Tree, Vec<u8>, Vec<u8>) {
        match kept(tree) {
            Kept::As(other) | Kept::Among(other) => (other, key, value),
            Kept::With(other) => {
                let tree = if self.is_other(tree, &key) { other } else { tree };
                (tree, key, value)
            }
            Kept::Separated => (tree, separated(&key), value),
            Kept::NullForEmpty if value == LEFT.0 => (tree, key, LEFT.1.to_vec()),
            Kept::Same | Kept::NullForEmpty => (tree, key, value),
        }
    }

    /// Whether a row belongs into the second of two trees.
    fn is_other(&self, tree: &Tree, key: &[u8]) -> bool {
        if tree == &USERID_PASSWORD { !key.ends_with(&self.own) } else { key.starts_with(b"!") }
    }
}

impl<S: KvRead + Sync> KvRead for Continuwuity<S> {
    fn dialect(&self) -> Dialect {
        Dialect::Continuwuity
    }

    fn is_ordered(&self, tree: &'static Tree) -> bool {
        !matches!(kept(tree), Kept::Separated)
    }

    fn misplaced(&self) -> Result<Vec<String>, KvError> {
        let mut misplaced = Vec::new();
        for tree in [USERID_PASSWORD.tree(), USERROOMID_HIGHLIGHTCOUNT.tree()] {
            let Kept::With(other) = kept(tree) else { continue };
            for (from, is_other) in [(tree, false), (other, true)] {
                self.store.visit(from, &[], &mut |key, _| {
                    if self.is_other(tree, key) != is_other {
                        let key =
                            String::from_utf8_lossy(key).replace(char::REPLACEMENT_CHARACTER, " ");
                        misplaced.push(format!("{from} {key}"));
                    }
                    true
                })?;
            }
        }
        self.store.visit(&USERROOMID_LEFTSTATE, &[], &mut |key, value| {
            if value == LEFT.0 {
                let key = String::from_utf8_lossy(key).replace(char::REPLACEMENT_CHARACTER, " ");
                misplaced.push(format!("{USERROOMID_LEFTSTATE} {key}"));
            }
            true
        })?;
        Ok(misplaced)
    }

    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match kept(tree) {
            Kept::Same => self.store.get(tree, key),
            Kept::As(other) | Kept::Among(other) => self.store.get(other, key),
            Kept::With(other) => {
                let tree = if self.is_other(tree, key) { other } else { tree };
                self.store.get(tree, key)
            }
            Kept::Separated => self.store.get(tree, &separated(key)),
            Kept::NullForEmpty => {
                let value = self.store.get(tree, key)?;
                Ok(value.map(|value| if value == LEFT.1 { LEFT.0.to_vec() } else { value }))
            }
        }
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        match kept(tree) {
            Kept::Same => self.store.scan(tree, prefix),
            Kept::As(other) => self.store.scan(other, prefix),
            Kept::Among(other) => {
                let is_whole = |row: &Result<Entry, KvError>| {
                    row.as_ref().map_or(true, |(key, _)| key.contains(&SEPARATOR))
                };
                Ok(Box::new(self.store.scan(other, prefix)?.filter(is_whole)))
            }
            Kept::With(other) => {
                let of = |from: &'static Tree, is_other: bool| {
                    let is_there = move |row: &Result<Entry, KvError>| {
                        row.as_ref().map_or(true, |(key, _)| self.is_other(tree, key) == is_other)
                    };
                    Ok::<Entries<'a>, KvError>(Box::new(
                        self.store.scan(from, prefix)?.filter(is_there),
                    ))
                };
                Ok(merged(of(tree, false)?, of(other, true)?))
            }
            Kept::Separated => {
                let rows = self.store.scan(tree, &separated(prefix))?;
                Ok(Box::new(rows.map(|row| row.map(|(key, value)| (joined(&key).into(), value)))))
            }
            Kept::NullForEmpty => {
                let conduits = |(key, value): Entry| {
                    let value = if *value == *LEFT.1 { LEFT.0.into() } else { value };
                    (key, value)
                };
                Ok(Box::new(self.store.scan(tree, prefix)?.map(move |row| row.map(conduits))))
            }
        }
    }

    fn scan_from<'a>(&'a self, tree: &'static Tree, from: &[u8]) -> Result<Entries<'a>, KvError> {
        match kept(tree) {
            Kept::Same => self.store.scan_from(tree, from),
            Kept::As(other) => self.store.scan_from(other, from),
            _ => Ok(from_key(self.scan(tree, &[])?, from)),
        }
    }

    fn visit(
        &self,
        tree: &'static Tree,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        match kept(tree) {
            Kept::Same => self.store.visit(tree, from, visit),
            Kept::As(other) => self.store.visit(other, from, visit),
            _ => each(self.scan_from(tree, from)?, visit),
        }
    }

    fn divide(&self, tree: &'static Tree, bytes: u64) -> Result<Vec<Vec<u8>>, KvError> {
        match kept(tree) {
            Kept::Same => self.store.divide(tree, bytes),
            Kept::As(other) => self.store.divide(other, bytes),
            _ => Ok(Vec::new()),
        }
    }

    fn rows(&self, tree: &'static Tree) -> Result<u64, KvError> {
        match kept(tree) {
            Kept::As(other) | Kept::Among(other) => self.store.rows(other),
            Kept::With(other) => Ok(self.store.rows(tree)?.saturating_add(self.store.rows(other)?)),
            _ => self.store.rows(tree),
        }
    }

    fn shared(&self) -> Option<&(dyn KvRead + Sync)> {
        Some(self)
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        let mut foreign = self.store.foreign_trees()?;
        foreign.retain(|name| {
            trees::find(name).is_none() && !trees::CONTINUWUITY_UNWRITTEN.contains(&name.as_str())
        });
        Ok(foreign)
    }
}

/// Rows of two trees that have no key in common, in order.
fn merged<'a>(first: Entries<'a>, second: Entries<'a>) -> Entries<'a> {
    let (mut first, mut second) = (first.peekable(), second.peekable());
    Box::new(std::iter::from_fn(move || {
        let is_first = match (first.peek(), second.peek()) {
            (Some(Ok((a, _))), Some(Ok((b, _)))) => a <= b,
            (Some(_), None) | (Some(Err(_)), Some(_)) => true,
            (None, _) | (Some(Ok(_)), Some(Err(_))) => false,
        };
        if is_first { first.next() } else { second.next() }
    }))
}

impl<S: KvLoad + Sync> KvLoad for Continuwuity<S> {
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError> {
        let translated = rows.into_iter().map(|Row { tree, key, value }| {
            let (tree, key, value) = self.own_row(tree, key, value);
            Row { tree, key, value }
        });
        let rows = translated.collect();
        self.store.write(rows)
    }

    fn settle(&mut self) -> Result<(), KvError> {
        self.store.settle()
    }

    fn finish(&mut self) -> Result<(), KvError> {
        self.store.finish()
    }
}

impl<S: KvCommit + Sync> KvCommit for Continuwuity<S> {
    fn commit(&mut self, changes: Changes) -> Result<(), KvError> {
        let mut own = Changes::new();
        for ((tree, key), value) in changes {
            let is_removed = value.is_none();
            let (tree, key, value) = self.own_row(tree, key, value.unwrap_or_default());
            own.insert((tree, key), (!is_removed).then_some(value));
        }
        self.store.commit(own)
    }

    fn checkpoint(&mut self) -> Result<(), KvError> {
        self.store.checkpoint()
    }
}

/// The server's name, if a database is Continuwuity's: that of the user whose localpart is always the server's own
/// (src/service/globals/mod.rs:50).
///
/// # Errors
///
/// The engine's, or [`KvError::Open`] if it is Continuwuity's and has no such user.
pub(super) fn server_name(store: &RocksStore) -> Result<Option<String>, KvError> {
    if store.get(&trees::GLOBAL, SPLIT_MARKER)?.is_none() {
        return Ok(None);
    }
    let first = store.scan(&USERID_PASSWORD, b"@conduit:")?.next().transpose()?;
    let name = first.and_then(|(key, _)| {
        Some(std::str::from_utf8(&key).ok()?.strip_prefix("@conduit:")?.to_owned())
    });
    let nameless = || {
        KvError::Open {
        path: store.path().to_owned(),
        reason: "it is a database of Continuwuity's without the user `@conduit`, without which Continuwuity does not start".into(),
    }
    };
    name.ok_or_else(nameless).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::store::memory::MemoryStore;

    fn row(tree: &'static Tree, key: &[u8], value: &[u8]) -> Row {
        Row { tree, key: key.to_vec(), value: value.to_vec() }
    }

    fn entries(store: &dyn KvRead, tree: &'static Tree, prefix: &[u8]) -> Vec<(String, String)> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let rows = store.scan(tree, prefix).unwrap().map(Result::unwrap);
        rows.map(|(key, value)| (shown(&key), shown(&value))).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn store() -> Continuwuity<MemoryStore> {
        let mut store = Continuwuity::new(MemoryStore::default(), "own.test");
        store
            .write(vec![
                row(&USERID_PASSWORD, b"@a:own.test", b"hash"),
                row(&USERID_PASSWORD, b"@b:elsewhere.test", b""),
                row(&USERID_PASSWORD, b"@c:own.test", b""),
                row(&USERID_PASSWORD, b"@d:notown.test", b""),
                row(&USERROOMID_HIGHLIGHTCOUNT, b"!r:x\xff@a:own.test", b"1"),
                row(&USERROOMID_HIGHLIGHTCOUNT, b"@a:own.test\xff!r:x", b"2"),
                row(&USERROOMID_KNOCKSTATE, b"@a:own.test\xff!k:x", b"[1]"),
                row(&ROOMUSERID_KNOCKCOUNT, b"!k:x\xff@a:own.test", b"3"),
                row(&ROOMUSERID_KNOCKEDCOUNT, b"!k:x", b"1"),
                row(&DISABLEDROOMIDS, b"!bad:x", b""),
                row(&REFERENCEDEVENTS, b"!r:x$e", b""),
                row(&REFERENCEDEVENTS, b"!r:xy$f", b""),
                row(&USERROOMID_LEFTSTATE, b"@a:own.test\xff!l:x", b"[]"),
                row(&USERROOMID_LEFTSTATE, b"@a:own.test\xff!m:x", b"[1]"),
            ])
            .unwrap();
        store
    }

    #[test]
    fn what_is_written_is_continuwuitys() {
        let own = store().store;
        let cases: [(&'static Tree, &[(&str, &str)]); 10] = [
            (&USERID_PASSWORD, &[("@a:own.test", "hash"), ("@c:own.test", "")]),
            (&REMOTEUSERID_REMOTEUSER, &[("@b:elsewhere.test", ""), ("@d:notown.test", "")]),
            (&USERROOMID_HIGHLIGHTCOUNT, &[("@a:own.test\u{fffd}!r:x", "2")]),
            (&ROOMUSERID_LASTNOTIFICATIONREAD, &[("!r:x\u{fffd}@a:own.test", "1")]),
            (&USERROOMID_KNOCKSTATE, &[]),
            (&USERROOMID_KNOCKEDSTATE, &[("@a:own.test\u{fffd}!k:x", "[1]")]),
            (&ROOMUSERID_KNOCKEDCOUNT, &[("!k:x", "1"), ("!k:x\u{fffd}@a:own.test", "3")]),
            (&BANNEDROOMIDS, &[("!bad:x", "")]),
            (&REFERENCEDEVENTS, &[("!r:xy\u{fffd}$f", ""), ("!r:x\u{fffd}$e", "")]),
            (
                &USERROOMID_LEFTSTATE,
                &[("@a:own.test\u{fffd}!l:x", "null"), ("@a:own.test\u{fffd}!m:x", "[1]")],
            ),
        ];
        for (tree, expected) in cases {
            assert_eq!(entries(&own, tree, &[]), pairs(expected), "{tree}");
        }
    }

    #[test]
    fn what_is_read_is_conduits() {
        let store = store();
        let users = ["@a:own.test", "@b:elsewhere.test", "@c:own.test", "@d:notown.test"];
        let found = entries(&store, &USERID_PASSWORD, &[]);
        assert_eq!(found.iter().map(|(user, _)| user).collect::<Vec<_>>(), users.each_ref());
        let highlights = [("!r:x\u{fffd}@a:own.test", "1"), ("@a:own.test\u{fffd}!r:x", "2")];
        assert_eq!(entries(&store, &USERROOMID_HIGHLIGHTCOUNT, &[]), pairs(&highlights));
        assert_eq!(entries(&store, &REFERENCEDEVENTS, b"!r:x$"), pairs(&[("!r:x$e", "")]));
        assert_eq!(entries(&store, &DISABLEDROOMIDS, &[]), pairs(&[("!bad:x", "")]));
        let left = [("@a:own.test\u{fffd}!l:x", "[]"), ("@a:own.test\u{fffd}!m:x", "[1]")];
        assert_eq!(entries(&store, &USERROOMID_LEFTSTATE, b"@a:own.test\xff"), pairs(&left));
        let knocks = pairs(&[("!k:x\u{fffd}@a:own.test", "3")]);
        assert_eq!(entries(&store, &ROOMUSERID_KNOCKCOUNT, &[]), knocks);
        let value = |tree, key: &[u8]| store.get(tree, key).unwrap();
        assert_eq!(value(&USERID_PASSWORD, b"@b:elsewhere.test"), Some(Vec::new()));
        assert_eq!(value(&USERID_PASSWORD, b"@z:own.test"), None);
        assert_eq!(value(&REFERENCEDEVENTS, b"!r:x$e"), Some(Vec::new()));
        assert_eq!(value(&USERROOMID_LEFTSTATE, b"@a:own.test\xff!l:x"), Some(b"[]".to_vec()));
        assert_eq!(value(&USERROOMID_KNOCKSTATE, b"@a:own.test\xff!k:x"), Some(b"[1]".to_vec()));
        let mut seen = Vec::new();
        store
            .visit(&USERID_PASSWORD, b"@b", &mut |key, _| {
                seen.push(key.to_vec());
                seen.len() < 2
            })
            .unwrap();
        assert_eq!(seen, [b"@b:elsewhere.test".to_vec(), b"@c:own.test".to_vec()]);
        assert_eq!(store.rows(&USERID_PASSWORD).unwrap(), 4);
        assert_eq!(store.dialect(), Dialect::Continuwuity);
    }

    #[test]
    fn changes_reach_the_row_that_is_read() {
        let mut store = store();
        let change = |tree: &'static Tree, key: &[u8], value: Option<&[u8]>| {
            ((tree, key.to_vec()), value.map(<[u8]>::to_vec))
        };
        let changes = [
            change(&REFERENCEDEVENTS, b"!r:x$e", None),
            change(&REFERENCEDEVENTS, b"!r:x$g", Some(b"")),
            change(&USERID_PASSWORD, b"@b:elsewhere.test", None),
            change(&USERROOMID_LEFTSTATE, b"@a:own.test\xff!m:x", Some(b"[]")),
        ];
        store.commit(changes.into()).unwrap();
        assert_eq!(entries(&store, &REFERENCEDEVENTS, b"!r:x$"), pairs(&[("!r:x$g", "")]));
        assert_eq!(store.get(&USERID_PASSWORD, b"@b:elsewhere.test").unwrap(), None);
        assert_eq!(store.rows(&REMOTEUSERID_REMOTEUSER).unwrap(), 1);
        let left = store.store.get(&USERROOMID_LEFTSTATE, b"@a:own.test\xff!m:x").unwrap();
        assert_eq!(left, Some(b"null".to_vec()));
    }
}
