use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    time::SystemTime,
};

use super::*;
use crate::{
    fs::{files_below, hash},
    progress::Progress,
};

/// A media store, and the place for its prepared files.
struct Scratch(tempfile::TempDir);

impl Scratch {
    /// With these files and contents.
    fn with(files: &[(&str, &str)]) -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            scratch.write(name, content);
        }
        scratch
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("conduit.prepared-media")
    }

    fn index(&self) -> PathBuf {
        self.path().join("index.jsonl")
    }

    fn source(&self, name: &str) -> PathBuf {
        self.0.path().join("store").join(below(name))
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.source(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn store(&self) -> MediaStore {
        MediaStore::of_synapse(vec![self.0.path().join("store")])
    }

    fn origin(&self) -> PreparedOrigin {
        PreparedOrigin::of("own.test", &self.store()).unwrap()
    }

    fn update(&self, wanted: &[&str]) -> Result<Updated, PreparedError> {
        let wanted = wanted.iter().map(|name| below(name)).collect();
        let (path, origin) = (self.path(), self.origin());
        PreparedMedia::update(&path, &origin, &self.store(), wanted, Progress::Hidden)
    }

    fn open(&self) -> Result<Option<PreparedMedia>, PreparedError> {
        PreparedMedia::open(&self.path(), &self.origin())
    }

    /// Contents that are prepared, whether or not anything names them.
    fn contents(&self) -> Vec<String> {
        let files = files_below(&self.path().join(FILES));
        let mut contents: Vec<_> =
            files.map(|file| fs::read_to_string(file.unwrap()).unwrap()).collect();
        contents.sort();
        contents
    }

    /// What is known of a file.
    fn content(&self, name: &str) -> Option<ContentHash> {
        let now = self.source(name).metadata().unwrap();
        self.open().unwrap().unwrap().content(&below(name), &now)
    }
}

fn below(name: &str) -> String {
    format!("local_content/AA/bb/{name}")
}

fn hash_of(content: &str) -> ContentHash {
    hash(&mut content.as_bytes()).unwrap().0
}

fn text<T: std::fmt::Debug>(result: Result<T, PreparedError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_is_unchanged_is_copied_once_and_what_has_changed_again() {
    let scratch = Scratch::with(&[("a", "one"), ("b", "two"), ("c", "two"), ("d", "three")]);
    let all = ["a", "b", "c", "d", "absent"];
    let first = scratch.update(&all).unwrap();
    let expected =
        Updated { files: 4, bytes: 14, copied: 4, copied_bytes: 14, removed: 0, left: 1 };
    assert_eq!(first, expected);
    assert_eq!(scratch.contents(), ["one", "three", "two"]);

    let index = fs::read(scratch.index()).unwrap();
    let again = scratch.update(&all).unwrap();
    assert_eq!(again, Updated { copied: 0, copied_bytes: 0, ..expected });
    assert_eq!(fs::read(scratch.index()).unwrap(), index);

    // The same size, another time.
    scratch.write("a", "ONE");
    let file = File::options().write(true).open(scratch.source("a")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(scratch.content("a"), None);
    // Another size. And one that nobody wants any more, whose content another one has.
    scratch.write("d", "four");
    let changed = scratch.update(&["a", "b", "d"]).unwrap();
    let expected = Updated { files: 3, bytes: 10, copied: 2, copied_bytes: 7, removed: 1, left: 0 };
    assert_eq!(changed, expected);
    assert_eq!(scratch.contents(), ["ONE", "four", "two"]);
    assert_eq!(scratch.content("a"), Some(hash_of("ONE")));
}

#[test]
fn the_directory_and_its_files_are_their_owners_alone() {
    let scratch = Scratch::with(&[("a", "one")]);
    scratch.update(&["a"]).unwrap();
    for path in [scratch.path(), scratch.path().join(FILES)] {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
    }
    let file = scratch.open().unwrap().unwrap().file(&hash_of("one"));
    assert_eq!(file.metadata().unwrap().mode() & 0o077, 0);
}

#[test]
fn a_torn_index_and_rests_of_a_killed_run_cost_only_what_they_lack() {
    let scratch = Scratch::with(&[("a", "one"), ("b", "two")]);
    scratch.update(&["a", "b"]).unwrap();
    let index = fs::read_to_string(scratch.index()).unwrap();
    assert_eq!(index.lines().count(), 3);
    let torn = index.rsplit_once("\"sha256\"").unwrap().0;
    fs::write(scratch.index(), torn).unwrap();
    fs::write(scratch.path().join(FILES).join(".tmpXYZ"), "half of a").unwrap();
    assert_eq!(scratch.content("a"), Some(hash_of("one")));
    assert_eq!(scratch.content("b"), None);

    let updated = scratch.update(&["a", "b"]).unwrap();
    assert_eq!((updated.files, updated.copied), (2, 1));
    assert_eq!(fs::read_to_string(scratch.index()).unwrap(), index);
    assert_eq!(scratch.contents(), ["one", "two"]);
}

#[test]
fn an_update_that_had_just_begun_is_none() {
    let scratch = Scratch::with(&[("a", "one")]);
    fs::create_dir(scratch.path()).unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(scratch.open().unwrap().is_none());
    fs::write(scratch.path().join("index.jsonl.new"), "{\"vers").unwrap();
    assert!(scratch.open().unwrap().is_none());
    assert_eq!(scratch.update(&["a"]).unwrap().copied, 1);
}

#[test]
fn a_content_that_is_gone_or_cut_off_is_copied_again() {
    let scratch = Scratch::with(&[("a", "one"), ("b", "two")]);
    scratch.update(&["a", "b"]).unwrap();
    let prepared = scratch.open().unwrap().unwrap();
    fs::remove_file(prepared.file(&hash_of("one"))).unwrap();
    fs::write(prepared.file(&hash_of("two")), "tw").unwrap();
    let goal = ContentDirectory::new(scratch.0.path().join("media"), Layout::Flat);
    for name in ["a", "b"] {
        let now = scratch.source(name).metadata().unwrap();
        assert_eq!(prepared.link(&below(name), &now, None, &goal), None);
    }
    drop(prepared);
    assert_eq!(scratch.update(&["a", "b"]).unwrap().copied, 2);
    assert_eq!(scratch.contents(), ["one", "two"]);
}

#[test]
fn a_file_is_linked_if_it_is_as_it_was_and_should_be() {
    let scratch = Scratch::with(&[("a", "one")]);
    scratch.update(&["a"]).unwrap();
    let prepared = scratch.open().unwrap().unwrap();
    let now = scratch.source("a").metadata().unwrap();
    let goal = ContentDirectory::new(scratch.0.path().join("media"), Layout::Flat);
    let link = |noted| prepared.link(&below("a"), &now, noted, &goal);
    assert_eq!(link(Some(hash_of("another"))), None);
    assert!(!goal.file(&hash_of("one")).exists());
    for noted in [None, Some(hash_of("one"))] {
        assert_eq!(link(noted), Some(hash_of("one")));
    }
    let inode = |path: PathBuf| path.metadata().unwrap().ino();
    assert_eq!(inode(goal.file(&hash_of("one"))), inode(prepared.file(&hash_of("one"))));
    assert_eq!(prepared.link(&below("b"), &now, None, &goal), None);
    prepared.remove().unwrap();
    assert_eq!(fs::read_to_string(goal.file(&hash_of("one"))).unwrap(), "one");
    assert!(!scratch.path().exists());
}

#[test]
fn sizes_are_those_of_the_homeservers_own_files() {
    let scratch = Scratch::with(&[("a", "one"), ("b", "two")]);
    let remote = scratch.0.path().join("store/remote_content/x.test/AA");
    fs::create_dir_all(&remote).unwrap();
    fs::write(remote.join("r"), "remote").unwrap();
    let wanted = vec![below("a"), below("b"), "remote_content/x.test/AA/r".to_owned()];
    let (path, origin, store) = (scratch.path(), scratch.origin(), scratch.store());
    let updated = PreparedMedia::update(&path, &origin, &store, wanted, Progress::Hidden).unwrap();
    assert_eq!(updated.bytes, 12);
    assert_eq!(scratch.open().unwrap().unwrap().local_bytes(), 6);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let scratch = Scratch::with(&[("a", "one")]);
    scratch.update(&["a"]).unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    for said in [text(scratch.open()), text(scratch.update(&["a"]))] {
        assert!(said.contains("others have rights to it") && said.contains("remove it"), "{said}");
    }
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let scratch = Scratch::with(&[("a", "one")]);
    scratch.update(&["a"]).unwrap();
    let path = scratch.path();
    let other = PreparedOrigin { server_name: "other.test".into(), ..scratch.origin() };
    let said = text(PreparedMedia::open(&path, &other));
    assert!(said.contains("files of `own.test`, not of `other.test`"), "{said}");
    let other = PreparedOrigin { stores: vec!["/elsewhere".into()], ..scratch.origin() };
    let said = text(PreparedMedia::look(&path, &other));
    assert!(said.contains("store`, not of the media store `/elsewhere`; remove it"), "{said}");

    let index = fs::read_to_string(scratch.index()).unwrap();
    fs::write(scratch.index(), index.replacen("\"version\":1", "\"version\":2", 1)).unwrap();
    let said = text(scratch.open());
    assert!(said.contains("another version of the importer"), "{said}");
    for head in ["", "hello\n"] {
        fs::write(scratch.index(), head).unwrap();
        let said = text(scratch.open());
        assert!(said.contains("was not made by `importer media`"), "{said}");
    }
    fs::remove_file(scratch.index()).unwrap();
    assert!(text(scratch.update(&["a"])).contains("was not made by `importer media`"));
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    assert!(text(scratch.open()).contains("was not made by `importer media`"));
}

#[test]
fn one_importer_at_a_time_uses_the_directory() {
    let scratch = Scratch::with(&[("a", "one")]);
    scratch.update(&["a"]).unwrap();
    let used = scratch.open().unwrap().unwrap();
    assert!(text(scratch.open()).contains("another importer uses"));
    assert!(text(scratch.update(&["a"])).contains("another importer uses"));
    assert!(PreparedMedia::look(&scratch.path(), &scratch.origin()).unwrap().is_some());
    drop(used);
    assert!(scratch.open().unwrap().is_some());
}

#[test]
fn a_store_that_is_not_there_removes_nothing() {
    let scratch = Scratch::with(&[("a", "one")]);
    scratch.update(&["a"]).unwrap();
    let store = scratch.0.path().join("store");
    fs::rename(&store, scratch.0.path().join("away")).unwrap();
    let said = text(scratch.update(&["a"]));
    assert!(said.contains("is not on this machine"), "{said}");
    assert_eq!(scratch.contents(), ["one"]);
}

/// Such as that of a store that is not mounted, of which an empty directory is left.
#[test]
fn a_file_that_is_away_for_a_while_is_not_copied_again() {
    let scratch = Scratch::with(&[("a", "one"), ("b", "two")]);
    scratch.update(&["a", "b"]).unwrap();
    let (store, away) = (scratch.0.path().join("store"), scratch.0.path().join("away"));
    fs::rename(&store, &away).unwrap();
    fs::create_dir(&store).unwrap();
    let updated = scratch.update(&["a", "b"]).unwrap();
    assert_eq!(updated, Updated { left: 2, ..Updated::default() });
    assert_eq!(scratch.contents(), ["one", "two"]);
    fs::remove_dir(&store).unwrap();
    fs::rename(&away, &store).unwrap();
    let updated = scratch.update(&["a", "b"]).unwrap();
    assert_eq!((updated.files, updated.copied, updated.left), (2, 0, 0));
}

#[test]
fn prepared_files_are_where_the_media_directory_is_written() {
    for (media, expected) in [
        ("/srv/conduit/media", "/srv/conduit.prepared-media"),
        ("/srv/conduit/a/b", "/srv/conduit.prepared-media"),
        ("/mnt/media", "/mnt/media.prepared-media"),
        ("/srv/conduit-media", "/srv/conduit-media.prepared-media"),
    ] {
        let place = PreparedMedia::place(Path::new(media), Path::new("/srv/conduit"));
        assert_eq!(place, Path::new(expected));
    }
}
