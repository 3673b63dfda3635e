//! Media files: those that are missing from the media store, and avatars that no table describes.

use std::path::Path;

use ruma::ServerName;

use crate::{
    source::survey::MediaFacts,
    synapse::{
        config::SynapseConfig,
        database::{DatabaseError, connection::Connection, schema::Schema},
    },
};

/// Local media, and avatars without a file.
pub(super) async fn read(
    db: &mut Connection,
    schema: &Schema,
    config: &SynapseConfig,
) -> Result<MediaFacts, DatabaseError> {
    let mut media = MediaFacts::default();
    if !schema.has_table("local_media_repository") {
        return Ok(media);
    }
    let roots = std::iter::once(&config.media_store_path).chain(&config.media_providers);
    let stores: Vec<_> = roots.map(|root| root.join("local_content")).collect();
    // Without a length: a client reserved the id and has uploaded nothing. Previews of other sites are made again.
    let sql = "SELECT media_id, media_length FROM local_media_repository \
               WHERE media_length IS NOT NULL AND url_cache IS NULL";
    db.each("local_media_repository", sql, &[], |row| {
        let (id, bytes) = row.decode::<(String, u64)>().unwrap_or((row.label(), 0));
        media.files = media.files.saturating_add(1);
        media.bytes = media.bytes.saturating_add(bytes);
        if !stores.iter().any(|store| is_stored(store, &id)) {
            media.missing.push(id);
        }
    })
    .await?;
    media.missing.sort();
    media.unknown = unknown_avatars(db, schema, &config.server_name).await?;
    Ok(media)
}

/// Avatars of users and rooms that are files of this server without a row: the files were deleted, or another program
/// has them.
async fn unknown_avatars(
    db: &mut Connection,
    schema: &Schema,
    server_name: &ServerName,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let prefix = format!("mxc://{server_name}/");
    let avatars =
        [("profiles", "user_id", "avatar_url"), ("room_stats_state", "room_id", "avatar")];
    let mut unknown = Vec::new();
    for (table, owner, avatar) in avatars {
        if !schema.has_table(table) {
            continue;
        }
        let owner = schema.column(table, owner, "''");
        let avatar = schema.column(table, avatar, "NULL");
        let sql = format!(
            "SELECT {owner}, {avatar} FROM {table} WHERE substr({avatar}, 1, length($1)) = $1 \
             AND NOT EXISTS (SELECT 1 FROM local_media_repository m \
             WHERE m.media_id = substr({avatar}, length($1) + 1))"
        );
        db.each(table, &sql, &[prefix.as_str().into()], |row| {
            unknown.push((row.text(1), row.label()));
        })
        .await?;
    }
    unknown.sort();
    Ok(unknown)
}

/// Whether `local_content/AB/CD/rest` exists. An id that would leave the directory has no file.
fn is_stored(store: &Path, id: &str) -> bool {
    let parts = (id.get(..2), id.get(2..4), id.get(4..));
    let (Some(first), Some(second), Some(rest)) = parts else { return false };
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    is_plain && store.join(first).join(second).join(rest).is_file()
}
