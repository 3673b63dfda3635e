use proptest::{collection::btree_set, prop_assert, prop_assert_eq, proptest};

use super::{Place, after_depth, count, is_position, localpart, place};

#[test]
fn a_token_names_its_user() {
    assert_eq!(localpart("syt_YWxpY2U_KsPyDDTRvXGlXaoctwiE_1pPVo5").unwrap(), "alice");
    for other in ["", "syt_", "syt_YWxpY2U", "syt_*_x_y", "syt_/w_x_y", "mat_YWxpY2U_x_y"] {
        assert_eq!(localpart(other), None, "{other}");
    }
}

#[test]
fn positions_of_synapse_are_known_by_their_form() {
    for token in [
        "s12",
        "s-3",
        "p5",
        "t5-12",
        "t5--12",
        "m12~2.10~3.11",
        "m5~",
        "s2633508_17_338_6732159_1082514_541479_274711_265584_1_379",
        "t87-87_8_0_1_11_1_2_27_0_1_0_1",
        "m56~2.58~3.59_8_0_m4~1.5_1",
        "5/s2633508_17_338",
        "0/m5~1.7_3",
        "12_345",
        "7_-12",
    ] {
        assert!(is_position(token), "{token}");
    }
}

#[test]
fn nothing_else_is_a_position_of_synapse() {
    for token in [
        "",
        "s",
        "t",
        "m",
        "t5",
        "t-5",
        "s1x",
        "s1_",
        "_1",
        "1_",
        "1_2_3",
        "m5",
        "m~",
        "m5~2",
        "/s1",
        "x/s1",
        "5/12",
        "5/1_2",
        "s1/2",
        "u5",
        "S5",
        "+5",
        "é5",
        "12_",
        "--1",
        "syt_YWxpY2U_x_y",
        "ts5",
        "s１",
    ] {
        assert!(!is_position(token), "{token}");
    }
}

#[test]
fn a_token_points_between_two_events() {
    for token in
        ["s12", "t5-12", "s12_3_0_1", "t87-12_8_0_1", "5/s12_3", "m10~2.12~3.11", "m10~2.12_3"]
    {
        let Some(Place::Count(at)) = place(token) else { panic!("{token}") };
        assert!(count(12).unwrap() < at && at < count(13).unwrap(), "{token}");
    }
    assert_eq!(place("t5--12_3"), Some(Place::Depth(5)));
    for token in
        ["s-3", "p5", "m5~", "12_345", "12", "-12", "s10000000001", "t5-99999999999999999999"]
    {
        assert_eq!(place(token), None, "{token}");
    }
}

proptest! {
    #[test]
    fn counts_go_up_with_the_stream(a in -10_000_000_000_i64..=10_000_000_000, b in -10_000_000_000_i64..=10_000_000_000) {
        prop_assert_eq!(a.cmp(&b), count(a).cmp(&count(b)));
        // As many digits as the counter, which versions of backups rely on.
        prop_assert_eq!(count(a).unwrap().to_string().len(), 13);
    }

    #[test]
    fn a_depth_is_found(counts in btree_set(1..u64::MAX, 0..50), depth in 0_u64..60) {
        let timeline: Vec<(u64, u64)> = counts.into_iter().zip(3..).collect();
        let at = after_depth(depth, |end| timeline.iter().rfind(|(count, _)| *count < end).copied());
        for (count, of) in timeline {
            prop_assert_eq!(of <= depth, count < at);
        }
    }

    #[test]
    fn no_number_of_conduit_is_a_position_of_synapse(count: u64) {
        for token in [count.to_string(), format!("-{count}")] {
            prop_assert!(!is_position(&token), "{token}");
        }
    }

    #[test]
    fn what_is_read_as_a_number_is_no_position_of_synapse(token in "[-+]?[0-9]{0,25}") {
        prop_assert!(!is_position(&token));
    }

    #[test]
    fn positions_of_synapse_are_known(
        depth: u32, stream: i64, streams in proptest::collection::vec(0_u64.., 0..14),
        writers in proptest::collection::vec((0_u32.., 0_i64..), 1..5), connection: u32
    ) {
        let streams: Vec<_> = streams.iter().map(|position| format!("_{position}")).collect();
        let streams = streams.concat();
        let writers: Vec<_> = writers.iter().map(|(id, position)| format!("~{id}.{position}")).collect();
        let writers = writers.concat();
        for room in [format!("s{stream}"), format!("t{depth}-{stream}"), format!("m{stream}{writers}")] {
            for token in [room.clone(), format!("{room}{streams}"), format!("{connection}/{room}{streams}")] {
                prop_assert!(is_position(&token), "{token}");
            }
        }
    }

    #[test]
    fn any_text_is_looked_at(token: String) {
        let _ = is_position(&token);
    }
}
