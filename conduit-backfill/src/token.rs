//! Access tokens as Synapse makes them.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// The localpart of the user whom a token of Synapse (since 1.29) was given: `syt_<localpart in unpadded base64>_…`.
///
/// A hint, not a proof: anybody can make up such a token.
pub fn localpart(token: &str) -> Option<String> {
    let (localpart, _) = token.strip_prefix("syt_")?.split_once('_')?;
    let localpart = STANDARD_NO_PAD.decode(localpart).ok()?;
    String::from_utf8(localpart).ok()
}

#[cfg(test)]
mod tests {
    use super::localpart;

    #[test]
    fn a_token_names_its_user() {
        assert_eq!(localpart("syt_YWxpY2U_KsPyDDTRvXGlXaoctwiE_1pPVo5").unwrap(), "alice");
        for other in ["", "syt_", "syt_YWxpY2U", "syt_*_x_y", "syt_/w_x_y", "mat_YWxpY2U_x_y"] {
            assert_eq!(localpart(other), None, "{other}");
        }
    }
}
