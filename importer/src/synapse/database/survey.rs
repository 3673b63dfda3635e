//! A look at the database before it is read.

mod account_data;
mod duplicates;
mod incomplete;
mod media;
mod signatures;
mod soundness;
mod visibility;

use std::collections::BTreeMap;

use ruma::RoomId;

use super::{DatabaseError, DatabaseSource, census::How, connection::Param, row::Known};
use crate::{
    counted::count,
    dump::format::SourceKind,
    source::survey::{Account, Database, Locale, Room, Survey},
    synapse::config::DatabaseConfig,
};

impl DatabaseSource {
    pub(super) async fn look(&mut self) -> Result<Survey, DatabaseError> {
        self.soundness().await?;
        let server_name = self.config.server_name.to_string();
        let now = i64::try_from(self.now_ts).unwrap_or(i64::MAX);
        let foreign = format!(":{server_name}");
        let unfinished = self.optional_names("users_pending_deactivation", "user_id").await?;
        Ok(Survey {
            database: Some(self.database().await?),
            accounts: self.survey_accounts().await?,
            rooms: self.survey_rooms().await?,
            admins_alias: self
                .names(
                    "room_aliases",
                    "SELECT room_id FROM room_aliases WHERE room_alias = $1",
                    &[format!("#admins:{server_name}").as_str().into()],
                )
                .await?
                .pop(),
            blocked_rooms: self.optional_names("blocked_rooms", "room_id").await?,
            unknown_visibility: self.unknown_visibility().await?,
            foreign_aliases: self
                .names(
                    "room_aliases",
                    "SELECT room_alias FROM room_aliases \
                     WHERE substr(room_alias, length(room_alias) - length($1) + 1) <> $1",
                    &[foreign.as_str().into()],
                )
                .await?,
            expiring_tokens: self.expiring_tokens(now).await?,
            tokens_without_device: if self.config.delegated_auth {
                Vec::new()
            } else {
                self.by_user(
                    "access_tokens",
                    "SELECT user_id, COUNT(*) FROM access_tokens WHERE puppets_user_id IS NULL \
                     AND device_id IS NULL AND COALESCE(valid_until_ms, $1 + 1) > $1 GROUP BY user_id",
                    &[now.into()],
                )
                .await?
            },
            other_pushers: self
                .by_user(
                    "pushers",
                    "SELECT user_name, COUNT(*) FROM pushers WHERE kind <> 'http' GROUP BY user_name",
                    &[],
                )
                .await?,
            outside_ids: self.number("user_threepids", "SELECT COUNT(*) FROM user_threepids").await?
                .saturating_add(
                    self.number("user_external_ids", "SELECT COUNT(*) FROM user_external_ids")
                        .await?,
                ),
            dehydrated_devices: if self.schema.has_table("dehydrated_devices") {
                self.number("dehydrated_devices", "SELECT COUNT(*) FROM dehydrated_devices").await?
            } else {
                0
            },
            custom_profiles: {
                // `jsonb` on PostgreSQL.
                let fields = self.schema.column("profiles", "fields", "NULL");
                let sql = format!("SELECT COUNT(*) FROM profiles WHERE CAST({fields} AS TEXT) <> '{{}}'");
                self.number("profiles", &sql).await?
            },
            pending_deactivations: unfinished,
            delayed_events: if self.schema.has_table("delayed_events") {
                let sql = "SELECT COUNT(*) FROM delayed_events WHERE NOT is_processed";
                self.number("delayed_events", sql).await?
            } else {
                0
            },
            last_activity_ts: self.last_activity().await?,
            erased_events: Some(self.erased_events().await?),
            media: self.survey_media().await?,
            duplicates: self.duplicates().await?,
            odd_account_data: self.odd_account_data().await?,
            membership_conflicts: self.membership_conflicts().await?,
            broken_state: self.broken_state().await?,
            incomplete_events: self.incomplete_events().await?,
            census: Some(self.count_tables(None).await?),
            signatures: self.signatures().await?,
            server_name,
        })
    }

    /// Who has tokens that expire and do not move.
    async fn expiring_tokens(&mut self, now: i64) -> Result<Vec<(String, u64)>, DatabaseError> {
        // Of logins that are elsewhere, none moves.
        if self.config.delegated_auth {
            return Ok(Vec::new());
        }
        let kept = "AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.id = a.refresh_token_id \
                    AND r.next_token_id IS NULL AND COALESCE(r.expiry_ts, $1) >= $1 \
                    AND COALESCE(r.ultimate_session_expiry_ts, $1) >= $1)";
        let sql = format!(
            "SELECT a.user_id, COUNT(*) FROM access_tokens a \
             WHERE a.puppets_user_id IS NULL AND a.valid_until_ms > $1 {} GROUP BY a.user_id",
            if self.keep_expiring_tokens { kept } else { "" }
        );
        self.by_user("access_tokens", &sql, &[now.into()]).await
    }

    /// Events of erased users that the dump will hold in their redacted form, if it holds the full history.
    async fn erased_events(&mut self) -> Result<u64, DatabaseError> {
        if self.erased.is_empty() {
            return Ok(0);
        }
        let sql = "SELECT COUNT(*) FROM events e JOIN erased_users u ON u.user_id = e.sender WHERE NOT e.outlier \
                   AND NOT EXISTS (SELECT 1 FROM current_state_events c WHERE c.event_id = e.event_id)";
        self.number("events", sql).await
    }

    async fn membership_conflicts(&mut self) -> Result<Vec<(String, String)>, DatabaseError> {
        let mut rooms: BTreeMap<String, ([u64; 3], String)> = BTreeMap::new();
        for one in self.disagreements().await? {
            let ([of_state, of_events, other], user) = rooms.entry(one.room).or_default();
            let count = match one.how {
                How::OnlyState => of_state,
                How::OnlyEvents => of_events,
                How::OtherEvent => other,
            };
            *count = count.saturating_add(1);
            *user = one.user;
        }
        let text = |([of_state, of_events, other], user): ([u64; 3], String)| {
            let all = [
                (of_state, "only in the state"),
                (of_events, "only in member events (an invite, or a room that was left)"),
                (other, "of another event than the state's"),
            ];
            let told = all.iter().filter(|(number, _)| *number > 0);
            let told: Vec<_> = told.map(|(number, what)| format!("{number} {what}")).collect();
            format!("memberships {}, for example that of {user}", told.join(", "))
        };
        Ok(rooms.into_iter().map(|(room, counts)| (room, text(counts))).collect())
    }

    /// Rows of present states that the dump will leave out.
    async fn broken_state(&mut self) -> Result<Vec<(String, String)>, DatabaseError> {
        let types = match self.main.kind() {
            SourceKind::Sqlite => {
                " OR typeof(event_id) <> 'text' OR typeof(type) <> 'text' OR typeof(state_key) <> 'text'"
            }
            SourceKind::Postgres | SourceKind::Api => "",
        };
        let sql = format!(
            "SELECT room_id, COUNT(*) FROM current_state_events WHERE substr(event_id, 1, 1) <> '$'{types} \
             OR event_id IS NULL OR type IS NULL OR state_key IS NULL GROUP BY room_id"
        );
        let rows = self.by_user("current_state_events", &sql, &[]).await?;
        Ok(rows.into_iter().map(|(room, rows)| (room, count(rows, "row"))).collect())
    }

    /// When Synapse last wrote something that a user did.
    async fn last_activity(&mut self) -> Result<u64, DatabaseError> {
        let mut last = 0;
        for (table, sql) in [
            ("events", "SELECT MAX(received_ts) FROM events"),
            ("devices", "SELECT MAX(last_seen) FROM devices"),
            ("access_tokens", "SELECT MAX(last_validated) FROM access_tokens"),
        ] {
            last = last.max(self.number(table, sql).await?);
        }
        Ok(last)
    }

    async fn database(&mut self) -> Result<Database, DatabaseError> {
        let mut bytes = bytes_of(&mut self.main, &self.config.database).await?;
        if let (Some(state), Some(config)) = (&mut self.state, &self.config.state_database) {
            bytes = bytes.saturating_add(bytes_of(state, config).await?);
        }
        let sql = "SELECT CAST(getdatabaseencoding() AS TEXT), CAST(datcollate AS TEXT), CAST(datctype AS TEXT) \
                   FROM pg_database WHERE datname = current_database()";
        let locale = match self.main.kind() {
            SourceKind::Postgres => {
                let rows = self.main.rows("pg_database", sql, &[]).await?;
                rows.first()
                    .and_then(|row| row.decode().ok())
                    .map(|(encoding, collation, ctype)| Locale { encoding, collation, ctype })
            }
            SourceKind::Sqlite | SourceKind::Api => None,
        };
        let other_sessions = match self.main.kind() {
            SourceKind::Postgres => self.other_sessions().await?,
            SourceKind::Sqlite | SourceKind::Api => 0,
        };
        let sql = "SELECT COUNT(*) FROM current_state_events";
        Ok(Database {
            bytes,
            pending_updates: self.schema.pending_updates.clone(),
            locale,
            other_sessions,
            state_entries: self.number("current_state_events", sql).await?,
        })
    }

    /// Clients of the PostgreSQL database besides this importer; those of other roles hide what they are, but not their names.
    async fn other_sessions(&mut self) -> Result<u64, DatabaseError> {
        let mut own = vec![&mut self.main];
        own.extend(&mut self.state);
        if let Some(second) = self.second.as_deref_mut() {
            own.push(&mut second.main);
            own.extend(&mut second.state);
        }
        let mut pids = Vec::new();
        for connection in own {
            let pid = "SELECT CAST(pg_backend_pid() AS BIGINT)";
            let rows = connection.rows("pg_stat_activity", pid, &[]).await?;
            pids.extend(rows.first().and_then(|row| row.integer(0)));
        }
        let sql = "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity WHERE datname = current_database() \
                   AND usename IS NOT NULL AND COALESCE(backend_type, 'client backend') = 'client backend'";
        let rows = self.main.rows("pg_stat_activity", sql, &[]).await?;
        let others =
            rows.iter().filter(|row| row.integer(0).is_none_or(|pid| !pids.contains(&pid)));
        Ok(u64::try_from(others.count()).unwrap_or(u64::MAX))
    }

    async fn survey_accounts(&mut self) -> Result<Vec<Account>, DatabaseError> {
        type Columns =
            (String, Known<String>, bool, bool, bool, bool, Option<bool>, bool, bool, bool);
        let (schema, erased, delegated) = (&self.schema, &self.erased, self.config.delegated_auth);
        let sql = format!(
            "SELECT name, appservice_id, admin, deactivated, is_guest, shadow_banned, {}, {}, {}, \
             CASE WHEN COALESCE(password_hash, '') = '' THEN 0 ELSE 1 END FROM users",
            schema.column("users", "approved", "NULL"),
            schema.column("users", "locked", "FALSE"),
            schema.column("users", "suspended", "FALSE"),
        );
        let mut accounts = Vec::new();
        self.main
            .each("users", &sql, &[], |row| {
                // A row that does not decode is reported by its name alone, which is then no user id or unusable.
                let account = match row.decode::<Columns>() {
                    Ok((
                        user_id,
                        appservice,
                        admin,
                        deactivated,
                        guest,
                        banned,
                        approved,
                        locked,
                        suspended,
                        hash,
                    )) => Account {
                        erased: erased.contains(&user_id),
                        user_id,
                        admin: admin && !delegated,
                        deactivated,
                        guest,
                        restricted: banned || locked || suspended || approved == Some(false),
                        password: (!delegated).then_some(hash),
                        appservice: appservice.0,
                    },
                    Err(_) => Account { user_id: row.label(), ..Account::default() },
                };
                accounts.push(account);
            })
            .await?;
        accounts.sort();
        Ok(accounts)
    }

    async fn survey_rooms(&mut self) -> Result<Vec<Room>, DatabaseError> {
        type Columns = (String, Option<String>, Option<String>, i64, i64, i64, i64);
        let name = if self.schema.has_table("room_stats_state") {
            "(SELECT MAX(COALESCE(s.name, s.canonical_alias)) FROM room_stats_state s WHERE s.room_id = m.room_id)"
        } else {
            "NULL"
        };
        let partial = if self.schema.has_table("partial_state_rooms") {
            "(SELECT COUNT(*) FROM partial_state_rooms p WHERE p.room_id = m.room_id)"
        } else {
            "0"
        };
        let sql = format!(
            "SELECT m.room_id, \
             COALESCE({name}, (SELECT MIN(a.room_alias) FROM room_aliases a WHERE a.room_id = m.room_id)), \
             (SELECT MAX(r.room_version) FROM rooms r WHERE r.room_id = m.room_id), m.joined, \
             (SELECT COUNT(*) FROM current_state_events c JOIN event_json ej ON ej.event_id = c.event_id \
              WHERE c.room_id = m.room_id AND c.type = 'm.room.create' AND c.state_key = '' \
              AND NOT EXISTS (SELECT 1 FROM rejections x WHERE x.event_id = c.event_id)), \
             (SELECT COUNT(*) FROM (SELECT 1 FROM current_state_events c WHERE c.room_id = m.room_id LIMIT 1) AS any_state), \
             {partial} FROM "
        );
        let by_members = "(SELECT room_id, SUM(CASE WHEN membership = 'join' THEN 1 ELSE 0 END) AS joined \
                          FROM local_current_membership GROUP BY room_id) m";
        let table = "local_current_membership";
        let mut rows = self.main.rows(table, &format!("{sql}{by_members}"), &[]).await?;
        // Rooms that only their states know have somebody in them.
        let one =
            format!("{sql}(SELECT CAST($1 AS TEXT) AS room_id, CAST($2 AS BIGINT) AS joined) m");
        for room in self.rooms_of_state().await? {
            let is_joined = match <&RoomId>::try_from(room.as_str()) {
                Ok(id) => self.has_state(id).await? || self.is_joined_by_events(id).await?,
                Err(_) => true,
            };
            let params = [room.as_str().into(), i64::from(is_joined).into()];
            rows.extend(self.main.rows(table, &one, &params).await?);
        }
        let mut rooms = Vec::with_capacity(rows.len());
        for row in &rows {
            let Ok((room_id, name, version, joined, created, stated, partial)) =
                row.decode::<Columns>()
            else {
                rooms.push(Room { room_id: row.label(), ..Room::default() });
                continue;
            };
            let mut version = version.filter(|version| !version.is_empty());
            if let (None, Ok(id)) = (&version, <&RoomId>::try_from(room_id.as_str())) {
                version = self.version_by_create_event(id).await?;
            }
            rooms.push(Room {
                room_id,
                name: name.filter(|name| !name.is_empty()),
                version,
                joined: u64::try_from(joined).unwrap_or(0),
                created: Some(created > 0),
                stateless: stated == 0,
                partial: partial > 0,
            });
        }
        rooms.sort();
        Ok(rooms)
    }

    async fn has_state(&mut self, room_id: &RoomId) -> Result<bool, DatabaseError> {
        let (table, id) = ("current_state_events", room_id.as_str().into());
        let sql = "SELECT 1 FROM current_state_events WHERE room_id = $1 LIMIT 1";
        Ok(!self.main.rows(table, sql, &[id]).await?.is_empty())
    }

    async fn names(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<String>, DatabaseError> {
        let rows = self.main.rows(table, sql, params).await?;
        let mut names: Vec<_> = rows.iter().map(super::row::KeptRow::label).collect();
        names.sort();
        Ok(names)
    }

    /// A column of a table that younger Synapses have.
    async fn optional_names(
        &mut self,
        table: &'static str,
        column: &str,
    ) -> Result<Vec<String>, DatabaseError> {
        if !self.schema.has_table(table) {
            return Ok(Vec::new());
        }
        self.names(table, &format!("SELECT {column} FROM {table}"), &[]).await
    }

    async fn by_user(
        &mut self,
        table: &'static str,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<(String, u64)>, DatabaseError> {
        let rows = self.main.rows(table, sql, params).await?;
        let mut users: Vec<(String, u64)> =
            rows.iter().map(|row| row.decode().unwrap_or((row.label(), 1))).collect();
        users.sort();
        Ok(users)
    }

    /// A number that one query gives; 0 for NULL.
    async fn number(&mut self, table: &'static str, sql: &str) -> Result<u64, DatabaseError> {
        let rows = self.main.rows(table, sql, &[]).await?;
        let number = rows.first().and_then(|row| row.integer(0));
        Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0))
    }
}

async fn bytes_of(
    connection: &mut super::Connection,
    config: &DatabaseConfig,
) -> Result<u64, DatabaseError> {
    match config {
        DatabaseConfig::Sqlite { path } => Ok(path.metadata().map_or(0, |file| file.len())),
        DatabaseConfig::Postgres(_) => {
            let sql = "SELECT pg_database_size(current_database())";
            let rows = connection.rows("pg_database", sql, &[]).await?;
            let bytes = rows.first().and_then(|row| row.integer(0));
            Ok(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
        }
    }
}

#[cfg(test)]
mod tests;
