//! Pairs of trees that say the same in two directions.

use std::collections::BTreeMap;

use super::rows::largest;
use crate::{
    conduit::{
        schema::{
            layout::Fields,
            shapes::{AccountDataType, RoomServer, RoomUser, ServerRoom, UserRoom},
            trees::{self, DecodeError, Tree},
        },
        store::KvRead,
    },
    findings::{codes, collector::Findings},
    hash::hash,
    verify::{
        VerifyError,
        tools::{multiset_hash::Sum, number_set::Numbers},
    },
};

/// The row that a row expects in the other tree.
pub(in crate::verify) struct Expected {
    key: Vec<u8>,
    /// Its value, if that is determined.
    value: Option<Vec<u8>>,
}

/// What a row, key and value, expects in the other tree.
pub(in crate::verify) type Other = fn((&[u8], &[u8])) -> Result<Expected, DecodeError>;

/// Tree, tree it must agree with, and how.
type Pair = (&'static Tree, &'static Tree, Other);

/// `TREE(k, v) => OTHER { key, value }`: what rows of `TREE` with the key `k` and the value `v` expect in `OTHER`. A value that is not
/// named, on either side, does not matter.
macro_rules! pair {
    ($tree:ident($k:ident $(, $v:ident)?) => $other:ident { $key:expr $(, $value:expr)? }) => {
        (trees::$tree.tree(), trees::$other.tree(), |row| {
            let $k = trees::$tree.read_key(row.0)?;
            $(let $v = trees::$tree.read_value(row.0, row.1)?;)?
            let key = trees::$other.key_of(&$key);
            Ok(pair!(@expected key $(, trees::$other.value_of(&$value))?))
        })
    };
    (@expected $key:ident) => { Expected { key: $key, value: None } };
    (@expected $key:ident, $value:expr) => { Expected { key: $key, value: Some($value) } };
}

/// Each is followed by its other direction.
static PAIRS: [Pair; 18] = [
    pair!(EVENTID_SHORTEVENTID(id, short) => SHORTEVENTID_EVENTID { short, id }),
    pair!(SHORTEVENTID_EVENTID(short, id) => EVENTID_SHORTEVENTID { id, short }),
    pair!(STATEKEY_SHORTSTATEKEY(name, short) => SHORTSTATEKEY_STATEKEY { short, name }),
    pair!(SHORTSTATEKEY_STATEKEY(short, name) => STATEKEY_SHORTSTATEKEY { name, short }),
    pair!(TOKEN_USERDEVICEID(token, device) => USERDEVICEID_TOKEN { device, token }),
    pair!(USERDEVICEID_TOKEN(device, token) => TOKEN_USERDEVICEID { token, device }),
    pair!(ROOMUSERTYPE_ROOMUSERDATAID(_k, id) => ROOMUSERDATAID_ACCOUNTDATA { id }),
    pair!(ROOMUSERDATAID_ACCOUNTDATA(id) => ROOMUSERTYPE_ROOMUSERDATAID {
        AccountDataType { room: id.room, user: id.user, r#type: id.r#type },
        id
    }),
    // Joined users, whose two rows have the same value.
    pair!(USERROOMID_JOINED(k, v) => ROOMUSERID_JOINED { room_user(&k), v }),
    pair!(ROOMUSERID_JOINED(k, v) => USERROOMID_JOINED { user_room(&k), v }),
    pair!(USERROOMID_INVITESTATE(k) => ROOMUSERID_INVITECOUNT { room_user(&k) }),
    pair!(ROOMUSERID_INVITECOUNT(k) => USERROOMID_INVITESTATE { user_room(&k) }),
    pair!(USERROOMID_LEFTSTATE(k) => ROOMUSERID_LEFTCOUNT { room_user(&k) }),
    pair!(ROOMUSERID_LEFTCOUNT(k) => USERROOMID_LEFTSTATE { user_room(&k) }),
    pair!(USERROOMID_KNOCKSTATE(k) => ROOMUSERID_KNOCKCOUNT { room_user(&k) }),
    pair!(ROOMUSERID_KNOCKCOUNT(k) => USERROOMID_KNOCKSTATE { user_room(&k) }),
    pair!(ROOMSERVERIDS(k) => SERVERROOMIDS { ServerRoom { server: k.server, room: k.room } }),
    pair!(SERVERROOMIDS(k) => ROOMSERVERIDS { RoomServer { room: k.room, server: k.server } }),
];

fn room_user<'a>(key: &UserRoom<'a>) -> RoomUser<'a> {
    RoomUser { room: key.room, user: key.user }
}

fn user_room<'a>(key: &RoomUser<'a>) -> UserRoom<'a> {
    UserRoom { user: key.user, room: key.room }
}

/// What is seen of a part of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::verify) struct Sums {
    keys: Sum,
    /// Keys and values.
    pub(in crate::verify) rows: Sum,
    /// The rows that it expects of the tree that it is paired with.
    expected: Sum,
    /// Whether it determines the values of the other tree, too.
    expects_values: bool,
    /// Whether a row does not decode.
    is_broken: bool,
    /// Whether a short id is 0.
    has_zero: bool,
}

/// How a tree's rows are looked at.
#[derive(Clone, Copy)]
pub(in crate::verify) enum Look {
    /// Each by itself.
    Alone,
    /// Their keys make up an index.
    Keys,
    /// Keys and values make up an index.
    Rows,
    /// They are compared with those of another tree.
    Paired(Other),
}

impl Look {
    pub(in crate::verify) fn of(tree: &Tree) -> Self {
        let paired = || PAIRS.iter().find(|(paired, ..)| *paired == tree);
        match paired() {
            Some((_, _, other)) => Self::Paired(*other),
            None if tree == &trees::TOKENIDS => Self::Keys,
            None if tree == &trees::EVENTID_PDUID => Self::Rows,
            None => Self::Alone,
        }
    }
}

impl Sums {
    /// Adds a row. Gives its largest number of the counter's.
    pub(in crate::verify) fn add(
        &mut self,
        tree: &'static Tree,
        (key, value): (&[u8], &[u8]),
        look: Look,
    ) -> Result<u64, DecodeError> {
        let other = match look {
            Look::Paired(other) => other,
            Look::Keys => {
                self.keys.add(hash(key));
                return largest(tree, key, value);
            }
            Look::Rows => {
                self.rows.add(hash(&(key, value)));
                return largest(tree, key, value);
            }
            Look::Alone => return largest(tree, key, value),
        };
        // It reads the whole row.
        let largest = largest(tree, key, value);
        self.is_broken |= largest.is_err();
        let largest = largest?;
        let expected = other((key, value))?;
        self.keys.add(hash(key));
        self.rows.add(hash(&(key, value)));
        self.has_zero |= SHORT_IDS.contains(&tree) && value == ZERO;
        match expected.value {
            Some(value) => {
                self.expected.add(hash(&(&*expected.key, &*value)));
                self.expects_values = true;
            }
            None => self.expected.add(hash(&*expected.key)),
        }
        Ok(largest)
    }

    pub(in crate::verify) fn merge(&mut self, other: Self) {
        self.keys.merge(other.keys);
        self.rows.merge(other.rows);
        self.expected.merge(other.expected);
        self.expects_values |= other.expects_values;
        self.is_broken |= other.is_broken;
        self.has_zero |= other.has_zero;
    }

    /// The sum of the keys.
    pub(in crate::verify) fn keys(&self) -> Sum {
        self.keys
    }

    fn expects(&self, other: &Self) -> bool {
        self.expected == if self.expects_values { other.rows } else { other.keys }
    }
}

/// Trees whose values are short ids: numbers of eight bytes.
const SHORT_IDS: [&Tree; 2] =
    [trees::EVENTID_SHORTEVENTID.tree(), trees::STATEKEY_SHORTSTATEKEY.tree()];

/// No short id.
const ZERO: [u8; 8] = [0; 8];

/// Compares all pairs by their sums, and checks that no short id is 0 or names two things.
pub(in crate::verify) fn check(
    store: &dyn KvRead,
    sums: &BTreeMap<&'static Tree, Sums>,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let sums = |tree: &Tree| sums.get(tree).copied().unwrap_or_default();
    let (couples, _) = PAIRS.as_chunks::<2>();
    for &[there, back] in couples {
        let (a, b) = (sums(there.0), sums(back.0));
        let agree = !a.is_broken && !b.is_broken && a.expects(&b) && b.expects(&a);
        if !agree {
            one_by_one(store, there, found)?;
            one_by_one(store, back, found)?;
        }
        // Where each short id is the key of a row, none names two things.
        if SHORT_IDS.contains(&there.0) && (!agree || a.has_zero) {
            short_ids(store, there.0, found)?;
        }
    }
    short_ids(store, &trees::ROOMID_SHORTROOMID, found)
}

/// Names the short ids of a tree that are 0 or name two things.
fn short_ids(
    store: &dyn KvRead,
    tree: &'static Tree,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    let mut seen = Numbers::default();
    for row in store.scan(tree, &[])? {
        let (_, value) = row?;
        let Ok(short) = <[u8; 8]>::try_from(&*value).map(u64::from_be_bytes) else { continue };
        if short == 0 || !seen.insert(short) {
            let text = format!("{short} is 0 or names two things");
            found.add(&codes::SHORT_ID_AMBIGUOUS, tree.name, text);
        }
    }
    Ok(())
}

/// Names the rows of one direction that the other tree does not have.
fn one_by_one(
    store: &dyn KvRead,
    (tree, other, expected): Pair,
    found: &mut Findings,
) -> Result<(), VerifyError> {
    for row in store.scan(tree, &[])? {
        let (key, value) = row?;
        let (Ok(fields), Ok(_)) = (tree.decode_key(&key), tree.decode_value(&key, &value)) else {
            continue;
        };
        let Ok(expected) = expected((&key, &value)) else { continue };
        let stored = store.get(other, &expected.key)?;
        let agrees = match (&stored, expected.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(stored), Some(expected)) => *stored == expected,
        };
        if !agrees {
            let text = format!("`{other}` does not agree with a row");
            found.add(&codes::ROWS_DISAGREE, subject(tree, &fields), text);
        }
    }
    Ok(())
}

/// A row for people, without its secrets.
fn subject(tree: &Tree, key: &Fields<'_>) -> String {
    let parts: Vec<_> = key
        .iter()
        .filter(|(name, _)| !["token", "pushkey"].contains(name))
        .map(|(name, value)| format!("{name} {value:?}"))
        .collect();
    format!("{tree} {}", parts.join(" "))
}
