//! Files that people write by hand.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

/// Bytes that a configuration may have.
const LIMIT: u64 = 16 << 20;

/// Reads a configuration, a key or a token. What has no end, such as a device, is an error.
pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(LIMIT.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= LIMIT) {
        Ok(bytes)
    } else {
        Err(io::Error::new(ErrorKind::InvalidData, "it is larger than 16 MiB"))
    }
}

/// Reads one that is text.
pub(crate) fn read_small_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_small(path)?)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_an_error() {
        let error = read_small("/dev/zero".as_ref()).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 16 MiB");
        assert!(read_small("/dev/null".as_ref()).unwrap().is_empty());
    }
}
