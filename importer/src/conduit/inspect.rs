//! Rows for people: decoded, as JSON lines.

use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};

use super::{
    schema::{
        layout::{Fields, Value},
        trees::Tree,
    },
    store::{KvError, KvRead},
};

/// Why rows could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The database could not be read.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// Nobody takes the output.
    #[error("writing the output")]
    Output(#[from] io::Error),
}

/// Writes each row of `tree`, or of all trees, as a line `{"tree", "key": {…}, "value": {…}}`; a row that doesn't decode
/// as `{"tree", "key_hex", "value_hex", "error"}`. Unless `secrets`, what lets somebody act as a user or as the server is
/// shown as `<secret>`.
///
/// # Errors
///
/// [`InspectError`].
pub fn inspect(
    store: &dyn KvRead,
    tree: Option<&'static Tree>,
    secrets: bool,
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let trees: Vec<_> = tree.map_or_else(|| store.dialect().trees(), |tree| vec![tree]);
    for tree in trees {
        for row in store.scan(tree, &[])? {
            let (key, value) = row?;
            serde_json::to_writer(&mut *out, &shown(tree, &key, &value, secrets))
                .map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// A row as [`inspect`] writes it.
pub(super) fn shown(tree: &'static Tree, key: &[u8], value: &[u8], secrets: bool) -> Json {
    let decoded =
        tree.decode_key(key).and_then(|fields| Ok((fields, tree.decode_value(key, value)?)));
    match decoded {
        Ok((key_fields, value_fields)) => json!({
            "tree": tree.name,
            "key": object(tree, &key_fields, secrets),
            "value": object(tree, &value_fields, secrets),
        }),
        Err(error) => json!({
            "tree": tree.name,
            "key_hex": if secrets { hex::encode(key) } else { error.hex },
            "value_hex": if secrets { hex::encode(value) } else { "<secret>".into() },
            "error": error.misfit.to_string(),
        }),
    }
}

fn object(tree: &Tree, fields: &Fields<'_>, secrets: bool) -> Json {
    let mut object = Map::new();
    for (name, value) in fields.iter() {
        let is_secret = tree.secret.contains(name) && *value != Value::Text("");
        let shown = if is_secret && !secrets { json!("<secret>") } else { show(name, value) };
        object.insert((*name).to_owned(), shown);
    }
    Json::Object(object)
}

fn show(name: &str, value: &Value<'_>) -> Json {
    match value {
        Value::Text(text) if name == "json" => {
            serde_json::from_str(text).unwrap_or_else(|_| json!(text))
        }
        Value::Text(text) => json!(text),
        Value::U64(number) => json!(number),
        Value::U32(number) => json!(number),
        Value::Bytes(bytes) => json!(hex::encode(bytes)),
        Value::U64s(numbers) => json!(numbers),
        Value::Texts(texts) => json!(texts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::{
        schema::{
            shapes::{Room, Token, User, UserDevice},
            table::{Shape, Table},
            trees,
        },
        store::{KvLoad as _, Row, memory::MemoryStore},
    };

    /// A row with any bytes as its value.
    fn row<K: Shape, V: Shape>(table: &'static Table<K, V>, key: &K::Row<'_>, value: &[u8]) -> Row {
        Row { tree: table, key: table.key_of(key), value: value.to_vec() }
    }

    fn all(secrets: bool) -> String {
        let mut store = MemoryStore::default();
        let device = UserDevice { user: "@a:x", device: "D" };
        let rows = vec![
            row(&trees::USERDEVICEID_TOKEN, &device, b"syt_a"),
            row(&trees::TOKEN_USERDEVICEID, &Token { token: "syt_a" }, b"@a:x\xffD"),
            row(&trees::USERID_PASSWORD, &User { user: "@a:x" }, b"$argon2"),
            row(&trees::USERID_PASSWORD, &User { user: "@b:x" }, b""),
            row(&trees::ROOMID_JOINEDCOUNT, &Room { room: "!r" }, &[1]),
        ];
        store.write(rows).unwrap();
        let mut out = Vec::new();
        inspect(&store, None, secrets, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_are_lines_and_secrets_are_hidden() {
        insta::assert_snapshot!(all(false), @r#"
        {"error":"expected u64 number","key_hex":"2172","tree":"roomid_joinedcount","value_hex":"<secret>"}
        {"key":{"token":"<secret>"},"tree":"token_userdeviceid","value":{"device":"D","user":"@a:x"}}
        {"key":{"device":"D","user":"@a:x"},"tree":"userdeviceid_token","value":{"token":"<secret>"}}
        {"key":{"user":"@a:x"},"tree":"userid_password","value":{"hash":"<secret>"}}
        {"key":{"user":"@b:x"},"tree":"userid_password","value":{"hash":""}}
        "#);
    }

    #[test]
    fn secrets_are_shown_on_demand() {
        let all = all(true);
        assert!(all.contains("syt_a") && all.contains("$argon2"), "{all}");
    }
}
