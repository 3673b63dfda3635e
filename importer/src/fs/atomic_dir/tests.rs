//! Directories on their way to their names.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let target = scratch.path().join("target");
    (scratch, target)
}

#[test]
fn the_target_appears_when_finished_and_only_its_owner_reads_it() {
    let (_scratch, target) = scratch();
    let partial = Partial::create(&target).unwrap();
    fs::write(partial.path().join("file"), "x").unwrap();
    assert!(!target.exists());
    partial.finish().unwrap();
    let names: Vec<_> = fs::read_dir(&target).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn an_empty_target_gives_way() {
    let (_scratch, target) = scratch();
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    Partial::create(&target).unwrap().finish().unwrap();
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_an_earlier_run_left_is_replaced() {
    let (_scratch, target) = scratch();
    let earlier = Partial::create(&target).unwrap();
    fs::write(earlier.path().join("old"), "x").unwrap();
    drop(earlier);
    let partial = Partial::create(&target).unwrap();
    assert!(!partial.path().join("old").exists());
}

#[test]
fn what_another_run_is_writing_stays() {
    let (_scratch, target) = scratch();
    let running = Partial::create(&target).unwrap();
    assert!(matches!(Partial::create(&target), Err(PartialError::Busy { .. })));
    running.finish().unwrap();
    assert!(target.is_dir());
}

#[test]
fn what_others_made_is_refused_and_stays() {
    let (scratch, target) = scratch();
    let foreign = scratch.path().join("target.partial");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), "x").unwrap();
    assert!(matches!(Partial::create(&target), Err(PartialError::Foreign { .. })));
    assert!(foreign.join("precious").exists());

    fs::create_dir(&target).unwrap();
    fs::write(target.join("precious"), "x").unwrap();
    assert!(matches!(Partial::create(&target), Err(PartialError::NotEmpty { .. })));
}

#[test]
fn a_target_that_appears_meanwhile_is_not_overwritten() {
    let (_scratch, target) = scratch();
    let partial = Partial::create(&target).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("precious"), "x").unwrap();
    assert!(matches!(partial.finish(), Err(PartialError::NotEmpty { .. })));
}

/// Conduit's example and Debian's package write the path so.
#[test]
fn a_slash_at_the_end_changes_nothing() {
    let (scratch, target) = scratch();
    fs::create_dir(&target).unwrap();
    let mut slash = target.clone().into_os_string();
    slash.push("/");
    let slash = Path::new(&slash);
    check(slash).unwrap();
    rehearse(slash).unwrap();
    let partial = Partial::create(slash).unwrap();
    assert_eq!(partial.path(), scratch.path().join("target.partial"));
    assert_eq!(unfinished(slash), partial.path());
    fs::write(partial.path().join("file"), "x").unwrap();
    assert_eq!(partial.finish().unwrap(), target);
    assert!(target.join("file").is_file());
}

#[test]
fn a_symbolic_link_is_followed_and_stays() {
    let (scratch, target) = scratch();
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    for real in ["other/empty", "other/absent"] {
        let real = scratch.path().join(real);
        if real.ends_with("empty") {
            fs::create_dir(&real).unwrap();
        }
        // Relative to where the link is.
        std::os::unix::fs::symlink(real.strip_prefix(scratch.path()).unwrap(), &target).unwrap();
        rehearse(&target).unwrap();
        let partial = Partial::create(&target).unwrap();
        assert_eq!(partial.path(), suffixed(&real, ".partial"));
        fs::write(partial.path().join("file"), "x").unwrap();
        assert_eq!(partial.finish().unwrap(), real);
        assert!(target.is_symlink() && target.join("file").is_file());
        fs::remove_file(&target).unwrap();
    }
    // In a circle: what is written is refused, not written elsewhere.
    std::os::unix::fs::symlink(&target, &target).unwrap();
    assert!(check(&target).is_err() || Partial::create(&target).is_err());
}

#[test]
fn paths_have_one_form() {
    let here = std::env::current_dir().unwrap();
    for (path, expected) in [
        ("/a//b/./c/", "/a/b/c"),
        ("/", "/"),
        ("/a/..", "/a/.."),
        ("/usr/..", "/"),
        ("/a/../b", "/a/../b"),
    ] {
        assert_eq!(normal(Path::new(path)), Path::new(expected), "{path}");
    }
    assert_eq!(normal(Path::new("x/")), here.join("x"));
    assert_eq!(normal(Path::new(".")), here);
}

#[test]
fn a_rehearsal_leaves_everything_as_it_was() {
    let (scratch, target) = scratch();
    rehearse(&target).unwrap();
    assert!(!target.exists());
    rehearse(&target.join("deep/er")).unwrap();
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o750)).unwrap();
    let before = fs::metadata(&target).unwrap();
    rehearse(&target).unwrap();
    let after = fs::metadata(&target).unwrap();
    let of = |metadata: &fs::Metadata| (metadata.ino(), metadata.permissions().mode());
    assert_eq!(of(&before), of(&after));
    assert_eq!(entries(scratch.path()).unwrap(), ["target"]);
    assert!(matches!(rehearse(Path::new("/proc/conduit")), Err(PartialError::Io { .. })));
}

/// What a mount point gets, entry by entry; `tests/it/disk.rs` mounts one.
#[test]
fn entries_move_one_by_one_and_the_one_that_counts_is_last() {
    let (_scratch, target) = scratch();
    let partial = target.join("importer.partial");
    fs::create_dir_all(partial.join("media")).unwrap();
    for name in [MARKER, "CURRENT", "000001.sst", "media/file"] {
        fs::write(partial.join(name), "x").unwrap();
    }
    fs::create_dir(target.join("lost+found")).unwrap();
    let place = |is_mount| Place { target: target.clone(), partial: partial.clone(), is_mount };
    assert!(place(true).is_free().unwrap());
    assert!(!place(false).is_free().unwrap());
    pour(&partial, &target).unwrap();
    let mut names = entries(&target).unwrap();
    names.sort();
    assert_eq!(names, ["000001.sst", "CURRENT", "lost+found", "media"]);
    assert!(!place(true).is_free().unwrap());
    assert!(target.join("media/file").is_file());
}
