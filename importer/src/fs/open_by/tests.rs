use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::holder;

/// Another process that has a file open; it is ended when this is dropped.
pub(crate) struct Other(Child);

impl Other {
    /// Has a file open, without any lock.
    pub(crate) fn reading(file: &Path) -> Self {
        let script = "exec < \"$1\"; echo open; exec sleep 60";
        Self::started(Command::new("sh").args(["-c", script, "sh"]).arg(file))
    }

    /// Holds the lock of a connection in WAL mode on a file.
    fn locking(file: &Path) -> Self {
        let script = "import fcntl, sys, time\n\
                      file = open(sys.argv[1])\n\
                      fcntl.lockf(file, fcntl.LOCK_SH, 510, 0x40000002)\n\
                      print('open', flush=True)\n\
                      time.sleep(60)";
        Self::started(Command::new("python3").args(["-c", script]).arg(file))
    }

    fn started(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // A failure has no one to go to.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn whoever_has_a_database_open_is_found() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"SQLite format 3").unwrap();
    // This process has it open, which is no other one.
    assert_eq!(holder(file.path()).unwrap(), None);
    for start in [Other::reading, Other::locking] {
        let other = start(file.path());
        assert_eq!(holder(file.path()).unwrap(), Some(format!("process {}", other.id())));
        drop(other);
        assert_eq!(holder(file.path()).unwrap(), None);
    }
    assert!(holder(Path::new("/nowhere")).is_err());
}

#[test]
fn another_file_of_the_same_content_is_not_the_one() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    std::fs::write(&one, "x").unwrap();
    std::fs::write(&other, "x").unwrap();
    let _reader = Other::reading(&other);
    assert_eq!(holder(&one).unwrap(), None);
}
