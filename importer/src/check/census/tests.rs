use super::findings;
use crate::{
    conduit::schema::dialect::Dialect,
    dump::census::{Census, Fate, Stranger, TableRows},
};

#[test]
fn owners_are_told_with_all_their_tables_and_sums_that_do_not_meet_with_examples() {
    let owner = |rows| Stranger { owner: "@gone:own.test".into(), rows };
    let tables = vec![
        TableRows {
            rows: Some(3),
            owners: vec![owner(2)],
            ..TableRows::new("devices", Fate::Moves)
        },
        TableRows {
            rows: Some(5),
            unaccounted: 1,
            examples: vec!["@alice:own.test (2, 1 read)".into()],
            owners: vec![owner(1)],
            ..TableRows::new("pushers", Fate::Moves)
        },
        TableRows { rows: Some(0), ..TableRows::new("pizzas", Fate::Unknown) },
        TableRows { rows: Some(1), ..TableRows::new("pastas", Fate::Unknown) },
        TableRows { rows: Some(2), unaccounted: -1, ..TableRows::new("filters", Fate::Moves) },
        TableRows {
            rows: Some(1),
            owners: vec![Stranger { owner: "!left:own.test".into(), rows: 1 }],
            ..TableRows::new("room_aliases", Fate::Moves)
        },
        TableRows { rows: Some(7), ..TableRows::new("refresh_tokens", Fate::NoPlace) },
    ];
    let found: Vec<_> = findings(&Census { tables }, Dialect::Conduit)
        .into_iter()
        .map(|finding| (finding.code, finding.subject, finding.text))
        .collect();
    let expected = [
        ("C601", "@gone:own.test", "rows: 2 in `devices`, 1 in `pushers`"),
        ("C602", "`filters`", "1 row was read twice"),
        (
            "C602",
            "`pushers`",
            "of 5 rows, 1 was not read; for example of @alice:own.test (2, 1 read)",
        ),
        ("C603", "`pastas`", "1 row"),
        ("C608", "!left:own.test", "1 alias"),
        (
            "C607",
            "`refresh_tokens`",
            "7 rows: tokens to refresh access tokens: Conduit has none, so their devices have to log in again",
        ),
    ]
    .map(|(code, subject, text)| (code, subject.to_owned(), text.into()));
    assert_eq!(found, expected);
}
