//! Pairs of trees that say the same in two directions.

use crate::{
    conduit::{
        schema::{
            layout::{Fields, Part},
            trees::{self, Tree},
        },
        store::KvStore,
    },
    findings::{codes, collector::Found},
    verify::{
        VerifyError,
        tools::{
            multiset_hash::{Sum, hash},
            number_set::Numbers,
            parallel_scan,
        },
    },
};

/// How the row in the other tree looks: its key, and its value if that is determined.
type Other = fn(&Fields<'_>, &Fields<'_>) -> Option<(Vec<u8>, Option<Vec<u8>>)>;

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

/// Checks all pairs, and that no short id is 0.
pub(in crate::verify) fn check(store: &dyn KvStore, found: &mut Found) -> Result<(), VerifyError> {
    let (couples, _) = PAIRS.as_chunks::<2>();
    for &[there, back] in couples {
        if !agree(store, there, back)? {
            one_by_one(store, there, found)?;
            one_by_one(store, back, found)?;
        }
    }
    let short_ids = [
        (trees::EVENTID_SHORTEVENTID.tree(), "short_event"),
        (trees::STATEKEY_SHORTSTATEKEY.tree(), "short_state_key"),
        (trees::ROOMID_SHORTROOMID.tree(), "short_room"),
    ];
    for (tree, name) in short_ids {
        let mut seen = Numbers::default();
        for row in store.scan(tree, &[])? {
            let (key, value) = row?;
            let Ok(fields) = tree.decode_value(&key, &value) else { continue };
            let short = fields.u64(name);
            if short == 0 || !seen.insert(short) {
                found.add(
                    &codes::SHORT_ID_AMBIGUOUS,
                    tree.name,
                    format!("{short} is 0 or names two things"),
                );
            }
        }
    }
    Ok(())
}

/// Whether two trees say the same: the rows that each expects of the other are the other's rows.
fn agree(store: &dyn KvStore, there: Pair, back: Pair) -> Result<bool, VerifyError> {
    let (Some(a), Some(b)) = (Sums::of(store, there)?, Sums::of(store, back)?) else {
        return Ok(false);
    };
    Ok(a.expects(&b) && b.expects(&a))
}

/// The rows of a tree, and those that it expects of the other.
#[derive(Default)]
struct Sums {
    keys: Sum,
    rows: Sum,
    expected: Sum,
    /// Whether it says anything of the other's values.
    expects_values: bool,
}

impl Sums {
    /// `None` if a row does not decode.
    fn of(store: &dyn KvStore, (tree, _, expected): Pair) -> Result<Option<Self>, VerifyError> {
        let look = |key: &[u8], value: &[u8]| {
            let (k, v) = (tree.decode_key(key).ok()?, tree.decode_value(key, value).ok()?);
            let (other_key, other_value) = expected(&k, &v)?;
            let expected = match &other_value {
                Some(other_value) => hash(&(&*other_key, &**other_value)),
                None => hash(&&*other_key),
            };
            Some((hash(&key), hash(&(key, value)), expected, other_value.is_some()))
        };
        let mut sums = Some(Self::default());
        parallel_scan::scan(store, tree, &[], look, |_, _, row| {
            let Some((key, row, expected, expects_values)) = row else {
                sums = None;
                return Ok(());
            };
            if let Some(sums) = &mut sums {
                sums.keys.add(key);
                sums.rows.add(row);
                sums.expected.add(expected);
                sums.expects_values = expects_values;
            }
            Ok(())
        })?;
        Ok(sums)
    }

    fn expects(&self, other: &Self) -> bool {
        self.expected == if self.expects_values { other.rows } else { other.keys }
    }
}

/// Names the rows of one direction that the other tree does not have.
fn one_by_one(
    store: &dyn KvStore,
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
