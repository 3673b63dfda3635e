use proptest::prelude::*;

use super::{Part, Value};
use crate::conduit::schema::trees::{self, TREES};

#[test]
fn vectors_from_a_running_conduit() {
    let cases: [(Vec<u8>, &[u8]); 6] = [
        (
            trees::PDUID_PDU.key(&[Part::U64(0x6a), Part::U64(0xb2)]),
            b"\0\0\0\0\0\0\0\x6a\0\0\0\0\0\0\0\xb2",
        ),
        (
            trees::ROOMUSERDATAID_ACCOUNTDATA.key(&[
                Part::Text(""),
                Part::Text("@a:x"),
                Part::U64(0xff),
                Part::Text("m.push_rules"),
            ]),
            b"\xff@a:x\xff\0\0\0\0\0\0\0\xff\xffm.push_rules",
        ),
        (trees::REFERENCEDEVENTS.key(&[Part::Text("!r:x"), Part::Text("$e")]), b"!r:x$e"),
        (
            trees::ONETIMEKEYID_ONETIMEKEYS.key(&[
                Part::Text("@u:s"),
                Part::Text("DEV"),
                Part::Text("\"signed_curve25519:AAAAAQ\""),
            ]),
            b"@u:s\xffDEV\xff\"signed_curve25519:AAAAAQ\"",
        ),
        (
            trees::TOKENIDS.key(&[Part::U64(1), Part::Text("word"), Part::U64(1), Part::U64(2)]),
            b"\0\0\0\0\0\0\0\x01word\xff\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02",
        ),
        (
            trees::THUMBNAILID_METADATA.key(&[
                Part::Text("x"),
                Part::Text("m"),
                Part::U32(32),
                Part::U32(96),
            ]),
            b"x\xffm\xff\0\0\0\x20\0\0\0\x60",
        ),
    ];
    for (encoded, expected) in cases {
        assert_eq!(encoded, expected);
    }
}

#[test]
fn backfilled_ids_are_told_from_normal_ones() {
    let normal = trees::PDUID_PDU.key(&[Part::U64(1), Part::U64(7)]);
    let backfilled = [&1_u64.to_be_bytes()[..], &[0; 8], &(u64::MAX - 7).to_be_bytes()].concat();
    assert_eq!(trees::PDUID_PDU.decode_key(&normal).unwrap().u64("count"), 7);
    let fields = trees::PDUID_PDU.decode_key(&backfilled).unwrap();
    assert_eq!((fields.u64("backfilled"), fields.get("count")), (u64::MAX - 7, None));
    assert!(backfilled < normal);
}

#[test]
fn one_tree_holds_highlight_counts_and_last_reads() {
    let tree = &trees::USERROOMID_HIGHLIGHTCOUNT;
    let fields = |key: &'static [u8]| tree.decode_key(key).unwrap();
    assert_eq!(fields(b"@u:x\xff!r:x").text("user"), "@u:x");
    assert_eq!(fields(b"!r:x\xff@u:x").text("user"), "@u:x");
    assert!(tree.decode_key(b"#r:x\xff@u:x").is_err());
}

#[test]
fn bytes_that_do_not_fit_are_named() {
    let error = trees::PDUID_PDU.decode_key(&[0; 9]).unwrap_err();
    insta::assert_snapshot!(error, @"decoding key of `pduid_pdu` (000000000000000000): expected u64 short_room · u64 count or u64 short_room · u64 0 · u64 backfilled");
    // One byte too many or too few, text that is no UTF-8, JSON that is none.
    for (tree, key) in [
        (trees::USERROOMID_JOINED.tree(), &b"@u:x"[..]),
        (trees::USERROOMID_JOINED.tree(), b"@u:x\xff!r\xff"),
        (trees::USERROOMID_JOINED.tree(), b"@u\xc3\xff!r"),
        (trees::FILEHASH_METADATA.tree(), &[0; 31]),
        (trees::REFERENCEDEVENTS.tree(), b"!r:x"),
    ] {
        assert!(tree.decode_key(key).is_err(), "{tree}");
    }
    assert!(trees::KEYID_KEY.decode_value(b"", b"{").is_err());
    assert!(trees::DISABLEDROOMIDS.decode_value(b"", b"x").is_err());
    assert!(trees::SHORTSTATEHASH_STATEDIFF.decode_value(b"", &[0; 12]).is_err());
}

#[test]
#[should_panic(expected = "`pduid_pdu` takes")]
fn parts_of_another_kind_are_a_mistake_of_the_caller() {
    trees::PDUID_PDU.key(&[Part::Text("!r:x"), Part::U64(1)]);
}

fn id() -> impl Strategy<Value = String> {
    "[@!#$a-z:.é\u{0}-\u{20}]{0,12}"
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for tree in TREES {
            if let Ok(fields) = tree.decode_key(&bytes)
                && tree != &trees::GLOBAL
            {
                prop_assert_eq!(tree.key(&fields.parts()), bytes.clone(), "{}", tree);
            }
            let _value = tree.decode_value(&[], &bytes);
        }
    }

    #[test]
    fn texts_and_counts_come_back(room in id(), user in id(), count: u64, kind in id()) {
        let tree = &trees::ROOMUSERDATAID_ACCOUNTDATA;
        let parts = [room.as_str().into(), user.as_str().into(), count.into(), kind.as_str().into()];
        let key = tree.key(&parts);
        let fields = tree.decode_key(&key).unwrap();
        prop_assert_eq!(fields.parts(), parts);
    }

    #[test]
    fn counts_keep_their_order(a: u64, b: u64, room: u64) {
        let key = |count| trees::PDUID_PDU.key(&[Part::U64(room), Part::U64(count)]);
        prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
    }
}

#[test]
fn what_is_given_up_is_a_word_by_room_and_event() {
    let tree = &trees::PREDECESSOR_GIVENUP;
    let key = tree.key(&[Part::Text("!r:x"), Part::Text("$e")]);
    assert_eq!(key, b"!r:x\xff$e");
    assert_eq!(tree.value(&[Part::Text("unavailable")]), b"unavailable");
    assert_eq!(tree.decode_key(&key).unwrap().text("event"), "$e");
}

#[test]
fn lists_come_back() {
    let value = trees::THREADID_USERIDS.value(&[Part::Texts(&["@a:x", "@b:x"])]);
    assert_eq!(value, b"@a:x\xff@b:x");
    let fields = trees::THREADID_USERIDS.decode_value(&[], &value).unwrap();
    assert_eq!(fields.get("users"), Some(&Value::Texts(vec!["@a:x", "@b:x"])));
}
