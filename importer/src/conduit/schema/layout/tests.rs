use proptest::prelude::*;

use super::Value;
use crate::conduit::schema::{
    shapes::{
        AccountData, OneTimeKey, PduId, Reason, RoomEvent, RoomReferenced, Thumbnail, TimelinePdu,
        TimelineWord, TokenId, Unread, UserTexts,
    },
    trees::{self, CONTINUWUITY, TREES},
};

/// The key of a timeline event.
fn pdu_id(short_room: u64, count: u64) -> Vec<u8> {
    trees::PDUID_PDU.key_of(&PduId::Timeline(TimelinePdu { short_room, count }))
}

#[test]
fn vectors_from_a_running_conduit() {
    let account_data = AccountData { room: "", user: "@a:x", count: 0xff, r#type: "m.push_rules" };
    let quoted_key = "\"signed_curve25519:AAAAAQ\"";
    let word = TimelineWord { token_short_room: 1, word: "word", short_room: 1, count: 2 };
    let thumbnail = Thumbnail { server: "x", media: "m", width: 32, height: 96 };
    let cases: [(Vec<u8>, &[u8]); 6] = [
        (pdu_id(0x6a, 0xb2), b"\0\0\0\0\0\0\0\x6a\0\0\0\0\0\0\0\xb2"),
        (
            trees::ROOMUSERDATAID_ACCOUNTDATA.key_of(&account_data),
            b"\xff@a:x\xff\0\0\0\0\0\0\0\xff\xffm.push_rules",
        ),
        (trees::REFERENCEDEVENTS.key_of(&RoomReferenced { room: "!r:x", event: "$e" }), b"!r:x$e"),
        (
            trees::ONETIMEKEYID_ONETIMEKEYS.key_of(&OneTimeKey {
                user: "@u:s",
                device: "DEV",
                quoted_key,
            }),
            b"@u:s\xffDEV\xff\"signed_curve25519:AAAAAQ\"",
        ),
        (
            trees::TOKENIDS.key_of(&TokenId::Timeline(word)),
            b"\0\0\0\0\0\0\0\x01word\xff\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02",
        ),
        (trees::THUMBNAILID_METADATA.key_of(&thumbnail), b"x\xffm\xff\0\0\0\x20\0\0\0\x60"),
    ];
    for (encoded, expected) in cases {
        assert_eq!(encoded, expected);
    }
}

#[test]
fn backfilled_ids_are_told_from_normal_ones() {
    let normal = pdu_id(1, 7);
    let backfilled = [&1_u64.to_be_bytes()[..], &[0; 8], &(u64::MAX - 7).to_be_bytes()].concat();
    let fields = trees::PDUID_PDU.decode_key(&normal).unwrap();
    assert_eq!((fields.get("count"), fields.get("backfilled")), (Some(&Value::U64(7)), None));
    let fields = trees::PDUID_PDU.decode_key(&backfilled).unwrap();
    let count = Value::U64(u64::MAX - 7);
    assert_eq!((fields.get("backfilled"), fields.get("count")), (Some(&count), None));
    assert!(backfilled < normal);
}

#[test]
fn one_tree_holds_highlight_counts_and_last_reads() {
    let tree = &trees::USERROOMID_HIGHLIGHTCOUNT;
    assert!(
        matches!(tree.read_key(b"@u:x\xff!r:x"), Ok(Unread::UserRoom(key)) if key.user == "@u:x")
    );
    assert!(
        matches!(tree.read_key(b"!r:x\xff@u:x"), Ok(Unread::RoomUser(key)) if key.user == "@u:x")
    );
    assert!(tree.decode_key(b"#r:x\xff@u:x").is_err());
}

#[test]
fn bytes_that_do_not_fit_are_named() {
    let error = trees::PDUID_PDU.decode_key(&[0; 9]).unwrap_err();
    insta::assert_snapshot!(error, @"decoding key of `pduid_pdu` (000000000000000000): expected u64 short_room · u64 count or u64 short_room · u64 0 · u64 backfilled");
    assert_eq!(trees::PDUID_PDU.read_key(&[0; 9]).unwrap_err(), error);
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

fn id() -> impl Strategy<Value = String> {
    "[@!#$a-z:.é\u{0}-\u{20}]{0,12}"
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for tree in TREES.into_iter().chain(CONTINUWUITY) {
            let key = tree.decode_key(&bytes).ok().map(|_| bytes.clone());
            prop_assert_eq!(tree.rewrite_key(&bytes), key, "{}", tree);
            let value = tree.decode_value(&[], &bytes).ok().map(|_| bytes.clone());
            prop_assert_eq!(tree.rewrite_value(&bytes), value, "{}", tree);
        }
    }

    #[test]
    fn texts_and_counts_come_back(room in id(), user in id(), count: u64, kind in id()) {
        let tree = &trees::ROOMUSERDATAID_ACCOUNTDATA;
        let row = AccountData { room: &room, user: &user, count, r#type: &kind };
        let key = tree.key_of(&row);
        prop_assert_eq!(tree.read_key(&key), Ok(row));
        let fields = tree.decode_key(&key).unwrap();
        let values: Vec<_> = fields.iter().map(|(_, value)| value.clone()).collect();
        let [room, user, kind] = [&room, &user, &kind].map(|text| Value::Text(text));
        prop_assert_eq!(values, [room, user, Value::U64(count), kind]);
    }

    #[test]
    fn counts_keep_their_order(a: u64, b: u64, room: u64) {
        prop_assert_eq!(a.cmp(&b), pdu_id(room, a).cmp(&pdu_id(room, b)));
    }
}

#[test]
fn what_is_given_up_is_a_word_by_room_and_event() {
    let tree = &trees::PREDECESSOR_GIVENUP;
    let row = RoomEvent { room: "!r:x", event: "$e" };
    let key = tree.key_of(&row);
    assert_eq!(key, b"!r:x\xff$e");
    assert_eq!(tree.value_of(&Reason { reason: "unavailable" }), b"unavailable");
    assert_eq!(tree.read_key(&key), Ok(row));
}

#[test]
fn lists_come_back() {
    let tree = &trees::THREADID_USERIDS;
    let row = UserTexts { users: vec!["@a:x", "@b:x"] };
    let value = tree.value_of(&row);
    assert_eq!(value, b"@a:x\xff@b:x");
    let fields = tree.decode_value(&[], &value).unwrap();
    assert_eq!(fields.get("users"), Some(&Value::Texts(row.users.clone())));
    assert_eq!(tree.read_value(&[], &value), Ok(row));
}
