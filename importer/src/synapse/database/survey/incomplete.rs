//! Events of which a part is missing: rows of `event_json` or `event_to_state_groups`.

use super::{
    super::{DatabaseError, connection::Connection},
    duplicates::{LARGEST, rows},
};
use crate::{counted::counted, dump::format::SourceKind};

const BY_TABLES: &str = "SELECT e.room_id, SUM(CASE WHEN ej.event_id IS NULL THEN 1 ELSE 0 END), \
     SUM(CASE WHEN ej.event_id IS NULL THEN 0 ELSE 1 END), MIN(e.event_id) FROM events e \
     LEFT JOIN event_json ej ON ej.event_id = e.event_id \
     LEFT JOIN event_to_state_groups sg ON sg.event_id = e.event_id \
     LEFT JOIN rejections r ON r.event_id = e.event_id \
     WHERE NOT e.outlier AND r.event_id IS NULL AND (ej.event_id IS NULL OR sg.event_id IS NULL) \
     GROUP BY e.room_id";
/// The same for SQLite, which goes through the three indexes of event ids in their order, and to no event that lacks nothing.
const BY_INDEXES: &str = "SELECT e.room_id, SUM(l.lacks_json), SUM(1 - l.lacks_json), MIN(e.event_id) FROM ( \
       SELECT i.rowid AS place, \
         NOT EXISTS (SELECT 1 FROM event_json j WHERE j.event_id = i.event_id) AS lacks_json FROM events i \
       WHERE lacks_json OR NOT EXISTS (SELECT 1 FROM event_to_state_groups g WHERE g.event_id = i.event_id)) l \
     CROSS JOIN events e ON e.rowid = l.place LEFT JOIN rejections r ON r.event_id = e.event_id \
     WHERE NOT e.outlier AND r.event_id IS NULL GROUP BY e.room_id";

/// How many events of timelines lack a part, by room. In databases of more than [`LARGEST`] events, they are found when
/// they are read.
pub(super) async fn read(db: &mut Connection) -> Result<Vec<(String, String)>, DatabaseError> {
    if rows(db, "events").await? > LARGEST {
        return Ok(Vec::new());
    }
    let sql = match db.kind() {
        SourceKind::Sqlite => BY_INDEXES,
        SourceKind::Postgres | SourceKind::Api => BY_TABLES,
    };
    let mut found = Vec::new();
    db.each("events", sql, &[], |row| {
        let parts = [(1, "`event_json`"), (2, "`event_to_state_groups`")];
        let parts = parts.map(|(column, table)| match row.integer(column) {
            Some(0) | None => None,
            Some(number) => {
                let events = counted(number, ["event has", "events have"]);
                Some(format!("{events} no row in {table}"))
            }
        });
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        found.push((row.label(), format!("{}, {} among them", parts.join(", "), row.text(3))));
    })
    .await?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::{
        source::Source as _,
        synapse::database::testing::{Fixture, NewEvent, Server, config, opened},
    };

    fn incomplete() -> Fixture {
        let mut fixture = Fixture::new();
        for (id, outlier, group) in [
            ("$whole", false, Some(1)),
            ("$apart", true, None),
            ("$a", false, None),
            ("$b", false, Some(1)),
            ("$c", false, None),
        ] {
            fixture.event(&NewEvent { id, group, outlier, ..NewEvent::default() });
        }
        fixture.sql("DELETE FROM event_json WHERE event_id IN ('$b', '$c')");
        fixture
    }

    fn expected() -> Vec<(String, String)> {
        let text = "2 events have no row in `event_json`, 1 event has no row in `event_to_state_groups`, $a among them";
        vec![("!room:own.test".to_owned(), text.to_owned())]
    }

    #[tokio::test]
    async fn events_that_lack_a_part_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(incomplete().sqlite(directory.path()));
        let mut source = opened(&config).await;
        assert_eq!(source.survey().await.unwrap().incomplete_events, expected());
    }

    #[tokio::test]
    async fn postgres_counts_the_same() {
        let Some(server) = Server::start() else { return };
        let config = config(incomplete().postgres(&server).await);
        let mut source = opened(&config).await;
        assert_eq!(source.survey().await.unwrap().incomplete_events, expected());
    }
}
