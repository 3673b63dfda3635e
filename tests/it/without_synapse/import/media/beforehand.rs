//! Files that `importer media` has copied beforehand.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use importer::verify::MediaComparison;
use serde_json::json;

use super::{Move, good, hash, prepare, rows, upload};

#[test]
fn files_that_were_copied_beforehand_are_linked_and_the_rows_are_the_same() {
    let (expected, _) = good().imported();
    let mut media = good();
    media.prepare();
    let (store, imported) = media.imported();
    assert_eq!(rows(&store), rows(&expected));
    assert_eq!((imported.linked.files, imported.linked.contents.len()), (5, 4));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let prepared = media.target.prepared.as_ref().unwrap().file(&hash("a picture"));
    assert_eq!(inode(&media.file("a picture")), inode(&prepared));
    for how in [MediaComparison::Sample, MediaComparison::All] {
        assert_eq!(media.findings_after(&store, &imported, how), Vec::<String>::new());
    }
    assert_eq!(media.findings(&store, &[]), Vec::<String>::new());
}

#[test]
fn files_that_have_changed_since_they_were_copied_are_read_again() {
    let source =
        |media: &Move, letter: char| media.path(&format!("store/local_content/AA/bb/{letter}"));
    let change = |media: &Move| {
        // Another content of the same size, another time alone, a file that is gone, a content that is not the noted one.
        fs::write(source(media, 'a'), "A picture").unwrap();
        let file = fs::File::options().write(true).open(source(media, 'b')).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        fs::remove_file(source(media, 'c')).unwrap();
    };
    let mut media = good();
    media.prepare();
    let other = good();
    for media in [&media, &other] {
        change(media);
    }
    let ((store, imported), (expected, without)) = (media.imported(), other.imported());
    assert_eq!(rows(&store), rows(&expected));
    assert_eq!(imported.tally, without.tally);
    let reasons: Vec<_> = imported.tally.skipped.iter().map(|skip| skip.reason.as_str()).collect();
    assert_eq!(reasons, ["file-damaged", "file-missing"]);
    assert_eq!(imported.linked.files, 2);
    let found = media.findings_after(&store, &imported, MediaComparison::Sample);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_file_copied_beforehand_that_is_damaged_is_found_in_the_sample_or_if_all_are_read() {
    let content = |number: usize| format!("content {number:03}");
    let path = |number: usize| format!("local_content/AA/bb/{number:03}");
    let files: Vec<_> = (0..60).map(|number| (path(number), content(number))).collect();
    let files: Vec<_> = files.iter().map(|(path, content)| (&**path, &**content)).collect();
    let record = |number: usize| {
        upload('x', json!({"media_id": format!("AAbb{number:03}"), "path": path(number)}))
    };
    let records: Vec<_> = (0..60).map(record).collect();
    let mut sorted: Vec<_> = (0..60).map(|number| (hash(&content(number)), number)).collect();
    sorted.sort();
    // Of sixty, every third is read.
    for (place, is_found) in [(0, true), (1, false), (2, false), (3, true), (59, false)] {
        let number = sorted[place].1;
        let mut media = prepare(&files, &records);
        media.prepare();
        let (store, imported) = media.imported();
        fs::write(media.file(&content(number)), "damaged 001").unwrap();
        let found = media.findings_after(&store, &imported, MediaComparison::Sample);
        assert_eq!(found.iter().any(|line| line.starts_with("V143 ")), is_found, "{found:?}");
        let found = media.findings_after(&store, &imported, MediaComparison::All);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("V143 ") && found[0].contains("has another content"));
        // The size is looked at in any case.
        fs::write(media.file(&content(number)), "short").unwrap();
        let found = media.findings_after(&store, &imported, MediaComparison::Sample);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("V143 "), "{found:?}");
    }
    // A file that is none of those which were copied beforehand is read, whatever the import says of it.
    let mut media = prepare(&files, &records);
    media.prepare();
    let (store, imported) = media.imported();
    let file = media.file(&content(sorted[1].1));
    fs::remove_file(&file).unwrap();
    fs::write(file, "another 001").unwrap();
    let found = media.findings_after(&store, &imported, MediaComparison::Sample);
    assert_eq!(found.len(), 1, "{found:?}");
    // A file of Synapse's that has changed, and looks as before.
    let mut media = prepare(&files, &records);
    media.prepare();
    let (store, imported) = media.imported();
    let source = media.path(&format!("store/{}", path(sorted[1].1)));
    let modified = fs::metadata(&source).unwrap().modified().unwrap();
    fs::write(&source, "changed 001").unwrap();
    let file = fs::File::options().write(true).open(&source).unwrap();
    file.set_modified(modified).unwrap();
    let found = media.findings_after(&store, &imported, MediaComparison::Sample);
    assert_eq!(found, Vec::<String>::new());
    let found = media.findings_after(&store, &imported, MediaComparison::All);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("V143 ") && found[0].contains("its content is"), "{found:?}");
}
