//! A list that is too long for memory: kept in a nameless temporary file, one JSON document a line.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Seek, Write},
    marker::PhantomData,
};

use serde::{Serialize, de::DeserializeOwned};

use super::ApiError;

/// A list being written.
#[derive(Debug)]
pub(super) struct Spool<T> {
    file: BufWriter<File>,
    item: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Spool<T> {
    pub(super) fn new() -> Result<Self, ApiError> {
        let file = tempfile::tempfile().map_err(ApiError::Spool)?;
        Ok(Self { file: BufWriter::new(file), item: PhantomData })
    }

    pub(super) fn push(&mut self, item: &T) -> Result<(), ApiError> {
        let mut line = serde_json::to_vec(item)
            .map_err(|error| ApiError::Spool(std::io::Error::other(error)))?;
        // Raw JSON may come with line breaks between its tokens; inside strings they are always escaped.
        for byte in &mut line {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        line.push(b'\n');
        self.file.write_all(&line).map_err(ApiError::Spool)
    }

    /// Reads the list, from its beginning.
    pub(super) fn read(self) -> Result<impl Iterator<Item = Result<T, ApiError>>, ApiError> {
        let mut file =
            self.file.into_inner().map_err(|error| ApiError::Spool(error.into_error()))?;
        file.rewind().map_err(ApiError::Spool)?;
        Ok(BufReader::new(file).split(b'\n').map(|line| {
            let line = line.map_err(ApiError::Spool)?;
            serde_json::from_slice(&line)
                .map_err(|error| ApiError::Spool(std::io::Error::other(error)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::Spool;

    #[test]
    fn what_goes_in_comes_out() {
        let mut spool: Spool<Box<RawValue>> = Spool::new().unwrap();
        for text in ["{\"a\":\n 1}", "\"\\n\""] {
            spool.push(&RawValue::from_string(text.into()).unwrap()).unwrap();
        }
        let read: Vec<_> =
            spool.read().unwrap().map(|item| item.unwrap().get().to_owned()).collect();
        assert_eq!(read, ["{\"a\":  1}", "\"\\n\""]);
    }
}
