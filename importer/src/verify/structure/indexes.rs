//! Pairs of trees that say the same in two directions.

use std::collections::BTreeMap;

use super::rows::{largest, largest_of};
use crate::{
    conduit::{
        schema::{
            layout::{Fields, Part, Value},
            trees::{self, DecodeError, Tree},
        },
        store::KvRead,
    },
    findings::{codes, collector::Found},
    hash::hash,
    verify::{
        VerifyError,
        tools::{multiset_hash::Sum, number_set::Numbers},
    },
};

/// How the row in the other tree looks: its key, and its value if that is determined.
pub(in crate::verify) type Other =
    fn(&Fields<'_>, &Fields<'_>) -> Option<(Vec<u8>, Option<Vec<u8>>)>;

/// Tree, tree it must agree with, and how.
type Pair = (&'static Tree, &'static Tree, Other);

/// Each is followed by its other direction.
static PAIRS: [Pair; 18] = [
    (trees::EVENTID_SHORTEVENTID.tree(), trees::SHORTEVENTID_EVENTID.tree(), |k, v| {
        Some((number(v.u64("short_event")), Some(k.text("event").into())))
    }),
    (trees::SHORTEVENTID_EVENTID.tree(), trees::EVENTID_SHORTEVENTID.tree(), |k, v| {
        Some((v.text("event").into(), Some(number(k.u64("short_event")))))
    }),
    (trees::STATEKEY_SHORTSTATEKEY.tree(), trees::SHORTSTATEKEY_STATEKEY.tree(), |k, v| {
        let value = [Part::Text(k.text("type")), Part::Text(k.text("state_key"))];
        let value = trees::SHORTSTATEKEY_STATEKEY.value(&value);
        Some((number(v.u64("short_state_key")), Some(value)))
    }),
    (trees::SHORTSTATEKEY_STATEKEY.tree(), trees::STATEKEY_SHORTSTATEKEY.tree(), |k, v| {
        let key = [Part::Text(v.text("type")), Part::Text(v.text("state_key"))];
        let key = trees::STATEKEY_SHORTSTATEKEY.key(&key);
        Some((key, Some(number(k.u64("short_state_key")))))
    }),
    (trees::TOKEN_USERDEVICEID.tree(), trees::USERDEVICEID_TOKEN.tree(), |k, v| {
        let key = trees::USERDEVICEID_TOKEN.key(&v.parts());
        Some((key, Some(k.text("token").into())))
    }),
    (trees::USERDEVICEID_TOKEN.tree(), trees::TOKEN_USERDEVICEID.tree(), |k, v| {
        let value = trees::TOKEN_USERDEVICEID.value(&k.parts());
        Some((v.text("token").into(), Some(value)))
    }),
    (
        trees::ROOMUSERTYPE_ROOMUSERDATAID.tree(),
        trees::ROOMUSERDATAID_ACCOUNTDATA.tree(),
        |_, v| Some((trees::ROOMUSERDATAID_ACCOUNTDATA.key(&v.parts()), None)),
    ),
    (
        trees::ROOMUSERDATAID_ACCOUNTDATA.tree(),
        trees::ROOMUSERTYPE_ROOMUSERDATAID.tree(),
        |k, _| {
            let key = ["room", "user", "type"].map(|name| Part::Text(k.text(name)));
            let value = trees::ROOMUSERTYPE_ROOMUSERDATAID.value(&k.parts());
            Some((trees::ROOMUSERTYPE_ROOMUSERDATAID.key(&key), Some(value)))
        },
    ),
    (trees::USERROOMID_JOINED.tree(), trees::ROOMUSERID_JOINED.tree(), joined),
    (trees::ROOMUSERID_JOINED.tree(), trees::USERROOMID_JOINED.tree(), joined),
    (trees::USERROOMID_INVITESTATE.tree(), trees::ROOMUSERID_INVITECOUNT.tree(), swapped),
    (trees::ROOMUSERID_INVITECOUNT.tree(), trees::USERROOMID_INVITESTATE.tree(), swapped),
    (trees::USERROOMID_LEFTSTATE.tree(), trees::ROOMUSERID_LEFTCOUNT.tree(), swapped),
    (trees::ROOMUSERID_LEFTCOUNT.tree(), trees::USERROOMID_LEFTSTATE.tree(), swapped),
    (trees::USERROOMID_KNOCKSTATE.tree(), trees::ROOMUSERID_KNOCKCOUNT.tree(), swapped),
    (trees::ROOMUSERID_KNOCKCOUNT.tree(), trees::USERROOMID_KNOCKSTATE.tree(), swapped),
    (trees::ROOMSERVERIDS.tree(), trees::SERVERROOMIDS.tree(), |k, _| {
        let key = [Part::Text(k.text("server")), Part::Text(k.text("room"))];
        Some((trees::SERVERROOMIDS.key(&key), None))
    }),
    (trees::SERVERROOMIDS.tree(), trees::ROOMSERVERIDS.tree(), |k, _| {
        let key = [Part::Text(k.text("room")), Part::Text(k.text("server"))];
        Some((trees::ROOMSERVERIDS.key(&key), None))
    }),
];

fn number(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[expect(clippy::unnecessary_wraps, reason = "has the type of its siblings")]
/// The other order of user and room; both trees of such a pair hold two texts and one separator.
fn swapped(key: &Fields<'_>, _: &Fields<'_>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let mut parts = key.parts();
    parts.reverse();
    Some((trees::USERROOMID_JOINED.key(&parts), None))
}

/// The same for joined users, whose two rows have the same value.
fn joined(key: &Fields<'_>, value: &Fields<'_>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let (key, _) = swapped(key, value)?;
    Some((key, Some(trees::USERROOMID_JOINED.value(&value.parts()))))
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
        let fields = tree.decode_key(key).and_then(|k| Ok((k, tree.decode_value(key, value)?)));
        self.is_broken |= fields.is_err();
        let (k, v) = fields?;
        self.keys.add(hash(key));
        self.rows.add(hash(&(key, value)));
        let is_zero = |name| matches!(v.get(name), Some(Value::U64(0)));
        self.has_zero |= SHORT_IDS.iter().any(|(short, name)| *short == tree && is_zero(name));
        match other(&k, &v) {
            Some((key, Some(value))) => {
                self.expected.add(hash(&(&*key, &*value)));
                self.expects_values = true;
            }
            Some((key, None)) => self.expected.add(hash(&*key)),
            None => self.is_broken = true,
        }
        Ok(largest_of(&k).max(largest_of(&v)))
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

/// Trees whose values are short ids.
const SHORT_IDS: [(&Tree, &str); 2] = [
    (trees::EVENTID_SHORTEVENTID.tree(), "short_event"),
    (trees::STATEKEY_SHORTSTATEKEY.tree(), "short_state_key"),
];

/// Compares all pairs by their sums, and checks that no short id is 0 or names two things.
pub(in crate::verify) fn check(
    store: &dyn KvRead,
    sums: &BTreeMap<&'static Tree, Sums>,
    found: &mut Found,
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
        let short_id = SHORT_IDS.iter().find(|(tree, _)| *tree == there.0);
        if let Some((tree, name)) = short_id.filter(|_| !agree || a.has_zero) {
            short_ids(store, tree, name, found)?;
        }
    }
    short_ids(store, &trees::ROOMID_SHORTROOMID, "short_room", found)
}

/// Names the short ids that are 0 or name two things.
fn short_ids(
    store: &dyn KvRead,
    tree: &'static Tree,
    name: &str,
    found: &mut Found,
) -> Result<(), VerifyError> {
    let mut seen = Numbers::default();
    for row in store.scan(tree, &[])? {
        let (key, value) = row?;
        let Ok(fields) = tree.decode_value(&key, &value) else { continue };
        let short = fields.u64(name);
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
    found: &mut Found,
) -> Result<(), VerifyError> {
    for row in store.scan(tree, &[])? {
        let (key, value) = row?;
        let (Ok(k), Ok(v)) = (tree.decode_key(&key), tree.decode_value(&key, &value)) else {
            continue;
        };
        let Some((other_key, other_value)) = expected(&k, &v) else { continue };
        let stored = store.get(other, &other_key)?;
        let agrees = match (&stored, other_value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(stored), Some(expected)) => *stored == expected,
        };
        if !agrees {
            let text = format!("`{other}` does not agree with a row");
            found.add(&codes::ROWS_DISAGREE, subject(tree, &k), text);
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
