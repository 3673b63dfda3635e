//! Rows into a PostgreSQL database, through its own client.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, ensure};

use super::table::{Searchable, Sink, Table, Value};

/// Bytes of a table's rows that are sent at once.
const BLOCK: usize = 1 << 20;

/// What is done first: foreign keys are not checked row by row, and indexes are built when all rows are there.
const BEFORE: &str = "\
    SET session_replication_role = replica;
    SET maintenance_work_mem = '512MB';
    BEGIN;
    CREATE TEMP TABLE kept AS
        SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
        FROM pg_index JOIN pg_class ON oid = indrelid
        WHERE relnamespace = current_schema()::regnamespace AND NOT indisreplident
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid);
    DO $$ DECLARE i record; BEGIN FOR i IN SELECT * FROM kept LOOP
        EXECUTE 'DROP INDEX ' || i.name; END LOOP; END $$;
    CREATE TEMP TABLE words (event_id text, room_id text, key text, value text, ts bigint, stream bigint);
";
const AFTER: &str = "\
    INSERT INTO event_search (event_id, room_id, key, vector, origin_server_ts, stream_ordering)
        SELECT event_id, room_id, key, to_tsvector('english', value), ts, stream FROM words;
    DO $$ DECLARE i record; BEGIN FOR i IN SELECT * FROM kept LOOP
        EXECUTE i.definition; END LOOP; END $$;
    SELECT setval('events_stream_seq', (SELECT max(stream_ordering) FROM events)),
        setval('state_group_id_seq', (SELECT max(id) FROM state_groups)),
        setval('receipts_sequence', (SELECT max(stream_id) FROM receipts_linearized)),
        setval('account_data_sequence', (SELECT greatest(
            (SELECT max(stream_id) FROM account_data), (SELECT max(stream_id) FROM room_account_data)))),
        setval('device_lists_sequence', (SELECT max(stream_id) FROM device_lists_stream));
    COMMIT;
    ANALYZE;
";
static WORDS: Table =
    Table { name: "words", columns: &["event_id", "room_id", "key", "value", "ts", "stream"] };

/// `psql`, which is told all of it.
pub(super) struct Postgres {
    child: Child,
    input: ChildStdin,
    waiting: BTreeMap<&'static str, (&'static Table, String)>,
}

impl Postgres {
    pub(super) fn open(host: &str, user: &str, database: &str) -> anyhow::Result<Self> {
        let mut child = Command::new("psql")
            .args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"])
            .args(["--host", host, "--username", user, database])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("running `psql`")?;
        let mut input = child.stdin.take().context("has an input")?;
        input.write_all(BEFORE.as_bytes())?;
        Ok(Self { child, input, waiting: BTreeMap::new() })
    }

    fn send(&mut self, table: &Table, rows: &str) -> anyhow::Result<()> {
        let Table { name, columns } = table;
        writeln!(self.input, "COPY {name} ({}) FROM STDIN;", columns.join(", "))?;
        self.input.write_all(rows.as_bytes())?;
        writeln!(self.input, "\\.")?;
        Ok(())
    }
}

impl Sink for Postgres {
    fn row(&mut self, table: &'static Table, values: &[Value<'_>]) -> anyhow::Result<()> {
        let (_, rows) = self.waiting.entry(table.name).or_insert((table, String::new()));
        for (place, value) in values.iter().enumerate() {
            if place > 0 {
                rows.push('\t');
            }
            match value {
                Value::Null => rows.push_str("\\N"),
                Value::Bool(value) => rows.push(if *value { 't' } else { 'f' }),
                Value::Int(value) => write!(rows, "{value}")?,
                Value::Text(text) => escape(rows, text),
                Value::Bytes(bytes) => write!(rows, "\\\\x{}", hex::encode(bytes))?,
            }
        }
        rows.push('\n');
        if rows.len() > BLOCK {
            let rows = std::mem::take(rows);
            self.send(table, &rows)?;
        }
        Ok(())
    }

    fn words(&mut self, words: &Searchable<'_>) -> anyhow::Result<()> {
        let Searchable { event_id, room_id, key, value, origin_server_ts, stream } = *words;
        let ts = origin_server_ts.into();
        let row = [event_id.into(), room_id.into(), key.into(), value.into(), ts, stream.into()];
        self.row(&WORDS, &row)
    }

    fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{sql};")?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        for (table, rows) in std::mem::take(&mut self.waiting).into_values() {
            self.send(table, &rows)?;
        }
        self.input.write_all(AFTER.as_bytes())?;
        let Self { mut child, input, .. } = *self;
        drop(input);
        ensure!(child.wait()?.success(), "`psql` failed");
        Ok(())
    }
}

fn escape(rows: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => rows.push_str("\\\\"),
            '\n' => rows.push_str("\\n"),
            '\r' => rows.push_str("\\r"),
            '\t' => rows.push_str("\\t"),
            other => rows.push(other),
        }
    }
}
