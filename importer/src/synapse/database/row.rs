//! Rows whose values are checked one by one, for both engines.

use std::{fmt, sync::Arc};

use ruma::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;
use sqlx::{
    Column as _, Decode, Postgres, Row as _, Sqlite, TypeInfo, ValueRef, postgres::PgRow,
    sqlite::SqliteRow,
};

/// A value as the database has it. SQLite's columns hold any of these, whatever they are declared as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    /// Integers and booleans.
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// A type that Synapse does not use where we read, or text that is not UTF-8.
    Other,
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    values: Vec<Value>,
    names: Arc<[String]>,
}

/// A row with a value that should not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BrokenRow {
    /// The column.
    pub(super) column: String,
    /// A stable code.
    pub(super) reason: &'static str,
    /// What the value should be.
    expected: &'static str,
}

impl BrokenRow {
    pub(super) fn new(column: &str, reason: &'static str, expected: &'static str) -> Self {
        Self { column: column.to_owned(), reason, expected }
    }
}

impl fmt::Display for BrokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "column `{}` is not {}; Synapse can't use the row either",
            self.column, self.expected
        )
    }
}

impl Row {
    /// All columns as the types of a tuple, in the order of the query.
    pub(super) fn decode<T: FromRow>(&self) -> Result<T, BrokenRow> {
        T::from_row(self)
    }

    /// The first column, which names the row in messages.
    pub(super) fn label(&self) -> String {
        match self.values.first() {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Integer(number)) => number.to_string(),
            Some(Value::Null | Value::Bytes(_) | Value::Other) | None => "?".into(),
        }
    }

    /// A column that is a number.
    pub(super) fn integer(&self, index: usize) -> Option<i64> {
        self.values.get(index).and_then(i64::from_value)
    }

    fn column<T: FromValue>(&self, index: usize) -> Result<T, BrokenRow> {
        self.values.get(index).and_then(T::from_value).ok_or_else(|| BrokenRow {
            column: self.names.get(index).cloned().unwrap_or_default(),
            reason: T::REASON,
            expected: T::EXPECTED,
        })
    }

    pub(super) fn from_sqlite(row: &SqliteRow, names: &Arc<[String]>) -> Self {
        let values = (0..row.len()).map(|index| match row.try_get_raw(index) {
            Ok(value) if value.is_null() => Value::Null,
            Ok(value) => match value.type_info().name() {
                "INTEGER" => Decode::<Sqlite>::decode(value).map_or(Value::Other, Value::Integer),
                "TEXT" => Decode::<Sqlite>::decode(value).map_or(Value::Other, Value::Text),
                "BLOB" => Decode::<Sqlite>::decode(value).map_or(Value::Other, Value::Bytes),
                _ => Value::Other,
            },
            Err(_) => Value::Other,
        });
        Self { values: values.collect(), names: Arc::clone(names) }
    }

    pub(super) fn from_postgres(row: &PgRow, names: &Arc<[String]>) -> Self {
        let values = (0..row.len()).map(|index| match row.try_get_raw(index) {
            Ok(value) if value.is_null() => Value::Null,
            Ok(value) => match value.type_info().name() {
                "BOOL" => Decode::<Postgres>::decode(value)
                    .map_or(Value::Other, |flag: bool| Value::Integer(flag.into())),
                "INT2" => Decode::<Postgres>::decode(value)
                    .map_or(Value::Other, |number: i16| Value::Integer(number.into())),
                "INT4" => Decode::<Postgres>::decode(value)
                    .map_or(Value::Other, |number: i32| Value::Integer(number.into())),
                "INT8" => Decode::<Postgres>::decode(value).map_or(Value::Other, Value::Integer),
                "BYTEA" => Decode::<Postgres>::decode(value).map_or(Value::Other, Value::Bytes),
                "TEXT" | "VARCHAR" | "CHAR" | "NAME" => {
                    Decode::<Postgres>::decode(value).map_or(Value::Other, Value::Text)
                }
                _ => Value::Other,
            },
            Err(_) => Value::Other,
        });
        Self { values: values.collect(), names: Arc::clone(names) }
    }
}

/// The columns' names, for messages.
pub(super) fn names<R: sqlx::Row>(row: &R) -> Arc<[String]> {
    row.columns().iter().map(|column| column.name().to_owned()).collect()
}

/// A type that a column can have.
pub(super) trait FromValue: Sized {
    /// The code of the skip if a value is something else.
    const REASON: &'static str = "value-invalid";
    /// What the value should be, for a message.
    const EXPECTED: &'static str;

    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    const EXPECTED: &'static str = "a number";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(number) = value { Some(*number) } else { None }
    }
}

impl FromValue for u64 {
    const EXPECTED: &'static str = "a number from 0 on";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(number) = value { Self::try_from(*number).ok() } else { None }
    }
}

/// NULL is *false*.
impl FromValue for bool {
    const EXPECTED: &'static str = "0 or 1";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(false),
            Value::Integer(number) => Some(*number != 0),
            Value::Text(_) | Value::Bytes(_) | Value::Other => None,
        }
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for Box<RawValue> {
    const REASON: &'static str = "json-invalid";
    const EXPECTED: &'static str = "JSON";

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => serde_json::from_str(text).ok(),
            Value::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
            Value::Null | Value::Integer(_) | Value::Other => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const REASON: &'static str = T::REASON;
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! matrix_id {
    ($($id:ty: $expected:literal),* $(,)?) => {$(
        impl FromValue for $id {
            const REASON: &'static str = "id-invalid";
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value) -> Option<Self> {
                if let Value::Text(text) = value { text.as_str().try_into().ok() } else { None }
            }
        }
    )*};
}

matrix_id!(
    OwnedEventId: "an event id",
    OwnedRoomAliasId: "a room alias",
    OwnedRoomId: "a room id",
    OwnedUserId: "a user id",
);

/// A tuple of columns.
pub(super) trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self, BrokenRow>;
}

macro_rules! tuple {
    ($($name:ident $index:literal),+) => {
        impl<$($name: FromValue),+> FromRow for ($($name,)+) {
            fn from_row(row: &Row) -> Result<Self, BrokenRow> {
                Ok(($(row.column::<$name>($index)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13);

#[cfg(test)]
mod tests;
