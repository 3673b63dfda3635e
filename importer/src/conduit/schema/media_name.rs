//! What Continuwuity calls a media file: its row in `mediaid_file`, and its name on disk, which is made of that row's key
//! (src/service/media/mod.rs:405-438 there).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};
use sha2::{Digest as _, Sha256};

use super::{shapes::MediaFile, trees::MEDIAID_FILE};

/// The name of a file in the directory `media`, from the key of its row: SHA-256 in base64url, 43 characters.
pub fn on_disk(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}

/// The key of the row of an original.
pub fn key(mxc: &str, file_name: &str, content_type: &str) -> Vec<u8> {
    let content_disposition = disposition(file_name);
    MEDIAID_FILE.key_of(&MediaFile {
        mxc,
        width: 0,
        height: 0,
        content_disposition: &content_disposition,
        content_type,
    })
}

/// The beginning of the keys of an id's original, of which there is one.
pub fn prefix(mxc: &str) -> Vec<u8> {
    [mxc.as_bytes(), b"\xff\0\0\0\0\0\0\0\0\xff"].concat()
}

/// The header `Content-Disposition`, of which Continuwuity takes the file's name when it gives the file out
/// (src/api/client/media.rs:107 there). It finds no file whose header does not parse.
fn disposition(file_name: &str) -> String {
    let kept = |c: &char| !c.is_control() && !['/', '\\'].contains(c);
    let name: String = file_name.chars().filter(kept).collect();
    let name = Some(name).filter(|name| !name.is_empty());
    let header = ContentDisposition::new(ContentDispositionType::Attachment).with_filename(name);
    let header = header.to_string();
    match ContentDisposition::try_from(header.as_bytes()) {
        Ok(_) => header,
        Err(_) => ContentDispositionType::Attachment.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conduit::schema::table::Shape as _;

    #[test]
    fn a_file_is_named_by_its_whole_key() {
        let key = key("mxc://a.test/id", "Grüße.txt", "text/plain");
        let shown = String::from_utf8_lossy(&key).into_owned();
        assert_eq!(
            shown,
            "mxc://a.test/id\u{fffd}\0\0\0\0\0\0\0\0\u{fffd}attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt\u{fffd}text/plain"
        );
        assert!(key.starts_with(&prefix("mxc://a.test/id")));
        assert_eq!(on_disk(b"").as_str(), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(disposition(""), "attachment");
    }

    proptest! {
        #[test]
        fn whatever_a_file_is_called_its_header_parses(name in "\\PC{0,20}|[\\x00-\\x7f]{0,20}") {
            let header = disposition(&name);
            let parsed = ContentDisposition::try_from(header.as_bytes()).unwrap();
            let kept = |c: &char| !c.is_control() && !['/', '\\'].contains(c);
            let expected: String = name.chars().filter(kept).collect();
            prop_assert_eq!(parsed.filename.unwrap_or_default(), expected, "{}", header);
            let row = key("mxc://a.test/id", &name, "");
            prop_assert!(MediaFile::read(&row).is_some(), "{:?}", row);
        }
    }
}
