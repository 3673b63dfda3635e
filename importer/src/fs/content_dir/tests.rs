use std::{fs, io::Cursor};

use crate::fs::{content_dir::*, files_below};

fn directory(layout: Layout) -> (tempfile::TempDir, ContentDirectory) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = ContentDirectory::new(scratch.path().join("media"), layout);
    directory.create().unwrap();
    (scratch, directory)
}

fn names(directory: &ContentDirectory) -> Vec<String> {
    files_below(directory.path())
        .map(|file| {
            let file = file.unwrap();
            file.strip_prefix(directory.path()).unwrap().display().to_string()
        })
        .collect()
}

#[test]
fn a_content_has_conduits_name_and_is_kept_once() {
    // SHA-256 of "abc", from FIPS 180-2.
    let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let deep =
        |length: u8, depth: u8| Layout::deep(length.try_into().unwrap(), depth.try_into().unwrap());
    for (layout, expected) in [
        (Layout::Flat, name.to_owned()),
        (Layout::default(), format!("ba/78/{}", name.split_at(4).1)),
        (deep(1, 3).unwrap(), format!("b/a/7/{}", name.split_at(3).1)),
        (deep(63, 1).unwrap(), format!("{}/d", name.split_at(63).0)),
    ] {
        let (_scratch, directory) = directory(layout);
        for _ in 0..2 {
            let (hash, bytes) = directory.put(&mut "abc".as_bytes(), None).unwrap();
            assert_eq!((hash.to_string().as_str(), bytes), (name, 3));
            assert_eq!(directory.name(&hash), expected);
        }
        assert_eq!(names(&directory), [expected]);
    }
    assert_eq!(deep(8, 8), Err(LayoutError));
    assert_eq!(deep(200, 2), Err(LayoutError));
}

#[test]
fn a_content_other_than_noted_is_not_kept() {
    let (scratch, directory) = directory(Layout::default());
    let noted = hash(&mut "other".as_bytes()).unwrap().0;
    let put = directory.put(&mut "abc".as_bytes(), Some(noted));
    assert!(matches!(put, Err(PutError::Other)), "{put:?}");
    let real = scratch.path().join("file");
    fs::write(&real, "abc").unwrap();
    let linked = directory.link(&mut Cursor::new("abc"), &real, Some(noted));
    assert!(matches!(linked, Err(PutError::Other)), "{linked:?}");
    assert_eq!(names(&directory), Vec::<String>::new());
}

#[test]
fn what_breaks_off_leaves_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad sector"))
        }
    }
    let (_scratch, directory) = directory(Layout::default());
    let put = directory.put(&mut Read::chain("abc".as_bytes(), Broken), None);
    assert!(matches!(put, Err(PutError::Read(_))), "{put:?}");
    assert_eq!(names(&directory), Vec::<String>::new());
}

#[test]
fn what_can_not_be_linked_is_copied() {
    let (scratch, directory) = directory(Layout::default());
    let nowhere = scratch.path().join("nowhere");
    let (hash, _) = directory.link(&mut Cursor::new("abc"), &nowhere, None).unwrap();
    assert_eq!(fs::read_to_string(directory.file(&hash)).unwrap(), "abc");
}

#[test]
fn a_known_content_is_linked_without_being_read() {
    let (scratch, directory) = directory(Layout::default());
    let real = scratch.path().join("file");
    fs::write(&real, "abc").unwrap();
    let hash = hash(&mut "abc".as_bytes()).unwrap().0;
    for _ in 0..2 {
        directory.adopt(&hash, &real).unwrap();
    }
    assert_eq!(names(&directory), [directory.name(&hash)]);
    assert_eq!(fs::read_to_string(directory.file(&hash)).unwrap(), "abc");
    let other = super::hash(&mut "other".as_bytes()).unwrap().0;
    let absent = directory.adopt(&other, &scratch.path().join("nowhere")).unwrap_err();
    assert_eq!(absent.kind(), io::ErrorKind::NotFound);
}
