//! Paths of media files below Synapse's media store, as `synapse/media/filepath.py` makes them.

use crate::dump::media_store::is_plain;

/// The path of an upload below the store, as Synapse makes it; `None` for an id of which it makes none.
pub(super) fn local_path(media_id: &str) -> Option<String> {
    Some(format!("local_content/{}", split(media_id)?))
}

/// The path of another server's file below the store; `None` for names of which Synapse makes none.
pub(super) fn remote_path(server: &str, file_id: &str) -> Option<String> {
    is_plain(server).then_some(())?;
    Some(format!("remote_content/{server}/{}", split(file_id)?))
}

fn split(id: &str) -> Option<String> {
    let parts = [id.get(..2)?, id.get(2..4)?, id.get(4..)?];
    parts.iter().all(|part| is_plain(part)).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{local_path, remote_path};

    #[test]
    fn paths_are_synapses_and_never_lead_out() {
        assert_eq!(local_path("AbCdEfGh"), Some("local_content/Ab/Cd/EfGh".into()));
        assert_eq!(
            remote_path("[::1]:8448", "AbCdE"),
            Some("remote_content/[::1]:8448/Ab/Cd/E".into())
        );
        for id in [
            "", "A", "AbCd", "../../x", "..../x", "Ab/dEf", "AbCd..", "AbCdE\0", "äbcdef",
            "ab\ncdef",
        ] {
            let path = local_path(id);
            assert!(path.is_none() || !path.as_ref().unwrap().contains("/../"), "{id:?}: {path:?}");
        }
        assert_eq!(local_path("AbCd.."), None);
        assert_eq!(local_path("....secret"), None);
        assert_eq!(remote_path("..", "AbCdE"), None);
        assert_eq!(remote_path("a/b", "AbCdE"), None);
    }
}
