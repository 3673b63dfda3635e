//! Rows whose values are checked one by one, for both engines.

mod stored;

use std::{borrow::Cow, fmt, sync::Arc};

use ruma::{OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId};
use rusqlite::types::ValueRef;
use serde_json::value::RawValue;
use sqlx::{Column as _, Decode, Postgres, Row as _, TypeInfo, ValueRef as _, postgres::PgRow};

pub(super) use self::stored::{StoredRow, store_integer};

/// A value as the database has it. SQLite's columns hold any of these, whatever they are declared as.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    /// Integers and booleans; numbers of other types that are whole.
    Integer(i64),
    /// A number that is not whole, or too large.
    Real,
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// A type that Synapse does not use where we read, or text that is not UTF-8.
    Other,
}

/// A row while its query is read.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a PgRow),
    Kept(&'a KeptRow),
    Stored(&'a StoredRow<'a>),
}

/// A row that outlives its query.
#[derive(Clone, Debug)]
pub(super) struct KeptRow {
    values: Vec<Value<'static>>,
    names: Arc<[String]>,
}

/// A row with a value that should not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BrokenRow {
    /// The column.
    pub(super) column: String,
    /// A stable code.
    pub(super) reason: &'static str,
    /// What the value should be; a sentence if no column is named.
    expected: &'static str,
}

impl BrokenRow {
    pub(super) fn new(column: &str, reason: &'static str, expected: &'static str) -> Self {
        Self { column: column.to_owned(), reason, expected }
    }

    /// A row that is broken as a whole, in a sentence.
    pub(super) fn whole(reason: &'static str, sentence: &'static str) -> Self {
        Self { column: String::new(), reason, expected: sentence }
    }
}

impl fmt::Display for BrokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.column.is_empty() {
            return f.write_str(self.expected);
        }
        write!(f, "column `{}` is not {}, so the row can't be moved", self.column, self.expected)
    }
}

impl<'a> Row<'a> {
    /// All columns, in the order of the query.
    pub(super) fn decode<T: FromRow>(self) -> Result<T, BrokenRow> {
        T::from_row(self)
    }

    /// The first column, which names the row in messages.
    pub(super) fn label(self) -> String {
        self.text(0)
    }

    /// A column in words, for messages.
    pub(super) fn text(self, index: usize) -> String {
        match self.value(index) {
            Value::Text(text) => text.into_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Null | Value::Real | Value::Bytes(_) | Value::Other => "?".into(),
        }
    }

    /// A column that is text.
    pub(super) fn as_text(self, index: usize) -> Option<Cow<'a, str>> {
        if let Value::Text(text) = self.value(index) { Some(text) } else { None }
    }

    /// Whether a column is NULL.
    pub(super) fn is_null(self, index: usize) -> bool {
        self.value(index) == Value::Null
    }

    /// A column that is a number.
    pub(super) fn integer(self, index: usize) -> Option<i64> {
        i64::from_value(&self.value(index))
    }

    /// The row, to stay.
    pub(super) fn keep(self, names: &Arc<[String]>) -> KeptRow {
        let values = (0..names.len()).map(|index| self.value(index).into_owned()).collect();
        KeptRow { values, names: Arc::clone(names) }
    }

    /// The columns' names, for messages.
    pub(super) fn names(self) -> Arc<[String]> {
        match self {
            Self::Sqlite(row) => {
                row.as_ref().column_names().iter().map(ToString::to_string).collect()
            }
            Self::Postgres(row) => {
                row.columns().iter().map(|column| column.name().to_owned()).collect()
            }
            Self::Kept(row) => Arc::clone(&row.names),
            Self::Stored(row) => Arc::clone(row.names),
        }
    }

    fn column<T: FromValue>(self, index: usize) -> Result<T, BrokenRow> {
        T::from_value(&self.value(index)).ok_or_else(|| BrokenRow {
            column: self.names().get(index).cloned().unwrap_or_default(),
            reason: T::REASON,
            expected: T::EXPECTED,
        })
    }

    /// A value. A column that the row does not have is NULL's opposite: it is nothing that decodes.
    fn value(self, index: usize) -> Value<'a> {
        match self {
            Self::Sqlite(row) => of_sqlite(row, index),
            Self::Postgres(row) => of_postgres(row, index),
            Self::Kept(row) => row.values.get(index).map_or(Value::Other, Value::borrowed),
            Self::Stored(row) => row.values.get(index).map_or(Value::Other, Value::borrowed),
        }
    }
}

impl KeptRow {
    /// [`Row::decode`].
    pub(super) fn decode<T: FromRow>(&self) -> Result<T, BrokenRow> {
        Row::Kept(self).decode()
    }

    /// [`Row::label`].
    pub(super) fn label(&self) -> String {
        Row::Kept(self).label()
    }

    /// The last column, as text.
    pub(super) fn owner(&self) -> String {
        match self.values.last() {
            Some(Value::Text(text)) => text.clone().into_owned(),
            _ => String::new(),
        }
    }

    /// [`Row::integer`].
    pub(super) fn integer(&self, index: usize) -> Option<i64> {
        Row::Kept(self).integer(index)
    }
}

impl Value<'_> {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Real => Value::Real,
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Self::Other => Value::Other,
        }
    }

    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(number),
            Self::Real => Value::Real,
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::Other => Value::Other,
        }
    }
}

fn of_sqlite<'a>(row: &'a rusqlite::Row<'a>, index: usize) -> Value<'a> {
    match row.get_ref(index) {
        Ok(ValueRef::Null) => Value::Null,
        Ok(ValueRef::Integer(number)) => Value::Integer(number),
        Ok(ValueRef::Text(text)) => {
            std::str::from_utf8(text).map_or(Value::Other, |text| Value::Text(text.into()))
        }
        Ok(ValueRef::Blob(bytes)) => Value::Bytes(bytes.into()),
        Ok(ValueRef::Real(number)) => real(number),
        Err(_) => Value::Other,
    }
}

fn of_postgres(row: &PgRow, index: usize) -> Value<'_> {
    fn integer<'a>(number: Result<impl Into<i64>, sqlx::error::BoxDynError>) -> Value<'a> {
        number.map_or(Value::Other, |number| Value::Integer(number.into()))
    }
    let Ok(value) = row.try_get_raw(index) else { return Value::Other };
    if value.is_null() {
        return Value::Null;
    }
    let kind = value.type_info();
    match kind.name() {
        // The most frequent ones first: the names are compared one by one.
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" => <&str as Decode<'_, Postgres>>::decode(value)
            .map_or(Value::Other, |text| Value::Text(text.into())),
        "INT8" => integer(<i64 as Decode<'_, Postgres>>::decode(value)),
        "BOOL" => integer(<bool as Decode<'_, Postgres>>::decode(value)),
        "INT2" => integer(<i16 as Decode<'_, Postgres>>::decode(value)),
        "INT4" => integer(<i32 as Decode<'_, Postgres>>::decode(value)),
        "FLOAT4" => <f32 as Decode<'_, Postgres>>::decode(value)
            .map_or(Value::Other, |number| real(number.into())),
        "FLOAT8" => <f64 as Decode<'_, Postgres>>::decode(value).map_or(Value::Other, real),
        "NUMERIC" => value.as_bytes().ok().and_then(numeric).map_or(Value::Real, Value::Integer),
        "BYTEA" => <&[u8] as Decode<'_, Postgres>>::decode(value)
            .map_or(Value::Other, |bytes| Value::Bytes(bytes.into())),
        _ => Value::Other,
    }
}

/// A number with a point; whole ones are what Synapse wrote, in a column that has become another type.
fn real<'a>(number: f64) -> Value<'a> {
    // A whole number is written without a fraction, and reads as an integer unless it is too large for one.
    number.to_string().parse().map_or(Value::Real, Value::Integer)
}

/// PostgreSQL's `numeric`, if it is whole and no larger than an integer: how many digits to the base 10,000 follow, the power
/// of the first one, sign, digits after the point, the digits (<https://www.postgresql.org/docs/current/protocol-message-formats.html>,
/// `numeric_send`).
fn numeric(bytes: &[u8]) -> Option<i64> {
    let mut words = bytes.chunks_exact(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    let (digits, weight, sign, _scale) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let weight = i16::from_be_bytes(weight.to_be_bytes());
    let mut number: i64 = 0;
    for (place, digit) in (0_i16..).zip(words.take(digits.into())) {
        if place > weight {
            // What follows the point.
            if digit > 0 {
                return None;
            }
            continue;
        }
        number = number.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    // Zeros at the end are left out.
    for _ in i32::from(digits)..=i32::from(weight) {
        number = number.checked_mul(10_000)?;
    }
    match sign {
        0 => Some(number),
        0x4000 => number.checked_neg(),
        _ => None,
    }
}

/// A type that a column can have.
pub(super) trait FromValue: Sized {
    /// The code of the skip if a value is something else.
    const REASON: &'static str = "value-invalid";
    /// What the value should be, for a message.
    const EXPECTED: &'static str;

    fn from_value(value: &Value<'_>) -> Option<Self>;
}

impl FromValue for i64 {
    const EXPECTED: &'static str = "a number";

    fn from_value(value: &Value<'_>) -> Option<Self> {
        if let Value::Integer(number) = value { Some(*number) } else { None }
    }
}

impl FromValue for u64 {
    const EXPECTED: &'static str = "a number from 0 on";

    fn from_value(value: &Value<'_>) -> Option<Self> {
        if let Value::Integer(number) = value { Self::try_from(*number).ok() } else { None }
    }
}

/// As Synapse takes it: NULL, zero and what is empty are *false*.
impl FromValue for bool {
    const EXPECTED: &'static str = "0 or 1";

    fn from_value(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(false),
            Value::Integer(number) => Some(*number != 0),
            Value::Real => Some(true),
            Value::Text(text) => Some(!text.is_empty()),
            Value::Bytes(bytes) => Some(!bytes.is_empty()),
            Value::Other => None,
        }
    }
}

/// Something of no great importance, such as a time: what is of another type than it should be is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known<T>(pub(super) Option<T>);

impl<T: FromValue> FromValue for Known<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value<'_>) -> Option<Self> {
        Some(Self(T::from_value(value)))
    }
}

/// Whether there is something, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present(pub(super) bool);

impl FromValue for Present {
    const EXPECTED: &'static str = "anything";

    fn from_value(value: &Value<'_>) -> Option<Self> {
        Some(Self(*value != Value::Null))
    }
}

impl FromValue for String {
    const EXPECTED: &'static str = "text";

    fn from_value(value: &Value<'_>) -> Option<Self> {
        if let Value::Text(text) = value { Some(text.clone().into_owned()) } else { None }
    }
}

impl FromValue for Box<RawValue> {
    const REASON: &'static str = "json-invalid";
    const EXPECTED: &'static str = "JSON";

    fn from_value(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Text(text) => serde_json::from_str(text).ok(),
            Value::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
            Value::Null | Value::Integer(_) | Value::Real | Value::Other => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const REASON: &'static str = T::REASON;
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: &Value<'_>) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! matrix_id {
    ($($id:ty: $expected:literal),* $(,)?) => {$(
        impl FromValue for $id {
            const REASON: &'static str = "id-invalid";
            const EXPECTED: &'static str = $expected;

            fn from_value(value: &Value<'_>) -> Option<Self> {
                if let Value::Text(text) = value { text.as_ref().try_into().ok() } else { None }
            }
        }
    )*};
}

matrix_id!(
    OwnedEventId: "an event id",
    OwnedRoomAliasId: "a room alias",
    OwnedRoomId: "a room id",
    OwnedServerName: "a server name",
    OwnedUserId: "a user id",
);

/// What the columns of a query become, in their order.
pub(super) trait FromRow: Sized {
    fn from_row(row: Row<'_>) -> Result<Self, BrokenRow>;
}

/// The columns of a row, from the first one on.
pub(super) struct Columns<'a> {
    row: Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: Row<'a>) -> Self {
        Self { row, next: 0 }
    }

    /// Decodes the next column.
    pub(super) fn decode<T: FromValue>(&mut self) -> Result<T, BrokenRow> {
        let index = self.next;
        self.next = index.saturating_add(1);
        self.row.column(index)
    }
}

/// Declares the row of a query: a struct whose fields are the selected columns, in the order of the query.
macro_rules! row {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$column_meta:meta])* $column_visibility:vis $column:ident: $type:ty,)+
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[$column_meta])* $column_visibility $column: $type,)+
        }

        impl $crate::synapse::database::row::FromRow for $name {
            fn from_row(
                row: $crate::synapse::database::row::Row<'_>,
            ) -> Result<Self, $crate::synapse::database::row::BrokenRow> {
                let mut columns = $crate::synapse::database::row::Columns::of(row);
                Ok(Self { $($column: columns.decode()?,)+ })
            }
        }
    };
}

pub(super) use row;

/// Short rows are tuples.
macro_rules! tuple {
    ($($column:ident),+) => {
        impl<$($column: FromValue),+> FromRow for ($($column,)+) {
            fn from_row(row: Row<'_>) -> Result<Self, BrokenRow> {
                let mut columns = Columns::of(row);
                Ok(($(columns.decode::<$column>()?,)+))
            }
        }
    };
}

tuple!(A);
tuple!(A, B);
tuple!(A, B, C);
tuple!(A, B, C, D);

#[cfg(test)]
mod tests;
