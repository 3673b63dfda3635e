//! A row as bytes, to be kept in a file.
//!
//! A byte says what each value is. An integer follows in eight bytes; text and other bytes follow their length in four. Big endian.

use std::{io, ops::Range, sync::Arc};

use super::{Row, Value};

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BYTES: u8 = 4;
const OTHER: u8 = 5;

/// A row that was kept in a file.
#[derive(Clone, Debug)]
pub(in super::super) struct StoredRow<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) names: &'a Arc<[String]>,
}

impl Row<'_> {
    /// Appends columns to `to`.
    pub(in super::super) fn store(self, columns: Range<usize>, to: &mut Vec<u8>) {
        for index in columns {
            match self.value(index) {
                Value::Null => to.push(NULL),
                Value::Integer(number) => store_integer(number, to),
                Value::Real => to.push(REAL),
                Value::Text(text) => sized(TEXT, text.as_bytes(), to),
                Value::Bytes(bytes) => sized(BYTES, &bytes, to),
                Value::Other => to.push(OTHER),
            }
        }
    }
}

/// Appends a column that is an integer.
pub(in super::super) fn store_integer(number: i64, to: &mut Vec<u8>) {
    to.push(INTEGER);
    to.extend_from_slice(&number.to_be_bytes());
}

fn sized(kind: u8, bytes: &[u8], to: &mut Vec<u8>) {
    // No value of a database is as large as that.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.push(kind);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

impl<'a> StoredRow<'a> {
    /// Reads what [`Row::store`] appended. `names`: those of the columns.
    pub(in super::super) fn read(
        mut bytes: &'a [u8],
        names: &'a Arc<[String]>,
    ) -> io::Result<Self> {
        let mut values = Vec::with_capacity(names.len());
        while let Some((kind, rest)) = bytes.split_first() {
            bytes = rest;
            values.push(match *kind {
                NULL => Value::Null,
                INTEGER => Value::Integer(i64::from_be_bytes(take(&mut bytes)?)),
                REAL => Value::Real,
                TEXT => {
                    let text = std::str::from_utf8(take_sized(&mut bytes)?);
                    Value::Text(text.map_err(io::Error::other)?.into())
                }
                BYTES => Value::Bytes(take_sized(&mut bytes)?.into()),
                OTHER => Value::Other,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            });
        }
        Ok(Self { values, names })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> io::Result<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = rest;
    Ok(*taken)
}

fn take_sized<'a>(bytes: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let length = u32::from_be_bytes(take(bytes)?);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synapse::database::row::KeptRow;

    #[test]
    fn values_come_back_as_they_were() {
        let names: Arc<[String]> = (0..7).map(|number| number.to_string()).collect();
        let values = vec![
            Value::Text("ü".into()),
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Real,
            Value::Bytes(vec![0, 255].into()),
            Value::Other,
            Value::Text("".into()),
        ];
        let kept = KeptRow { values, names: Arc::clone(&names) };
        let mut bytes = Vec::new();
        Row::Kept(&kept).store(0..7, &mut bytes);
        let stored = StoredRow::read(&bytes, &names).unwrap();
        assert_eq!(stored.values, kept.values);
        assert_eq!(Row::Stored(&stored).text(2), i64::MIN.to_string());
        // Cut anywhere but between two values.
        let whole = (0..bytes.len()).filter(|end| StoredRow::read(&bytes[..*end], &names).is_ok());
        assert_eq!(whole.count(), 7);
        assert!(StoredRow::read(&[9], &names).is_err());
    }
}
