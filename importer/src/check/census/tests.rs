use super::findings;
use crate::census::{Census, Fate, Stranger, TableRows};

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
        TableRows { rows: Some(7), ..TableRows::new("refresh_tokens", Fate::NoPlace) },
    ];
    let found: Vec<_> = findings(&Census { tables })
        .into_iter()
        .map(|finding| (finding.code, finding.subject, finding.text))
        .collect();
    let expected = [
        ("C601", "@gone:own.test", "rows: 2 in `devices`, 1 in `pushers`"),
        (
            "C602",
            "`pushers`",
            "1 of 5 rows were not read; for example of @alice:own.test (2, 1 read)",
        ),
        (
            "C607",
            "`refresh_tokens`",
            "7 rows: tokens to refresh access tokens: Conduit has none, so their devices have to log in again",
        ),
    ]
    .map(|(code, subject, text)| (code, subject.to_owned(), text.to_owned()));
    assert_eq!(found, expected);
}
