//! What a disk can do to a dump and an import: nothing that looks finished may be left.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use importer::fs::files_below;
use migration_tests::{command, lab::Lab, skip};

/// A file system in memory; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one of that size. `None`, which is said: only root may.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let options = format!("size={size},mode=755");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        skip::skipped("this user can't mount a file system");
        None
    }

    /// Mounts one on which files can share their blocks. `None`, which is said, where that can't be.
    fn that_shares(at: PathBuf) -> Option<Self> {
        let image = at.with_extension("image");
        fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        let make = Command::new("mkfs.btrfs").arg("-q").arg(&image).output();
        let mount = Command::new("mount").args(["-o", "loop"]).args([&image, &at]).output();
        if make.is_ok() && mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        skip::skipped("mkfs.btrfs is not here, or this user can't mount what it makes");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read_only(&self) {
        let remounted =
            Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(remounted.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

/// Arguments of a dump of the database.
fn dump(lab: &Lab, directory: &Path) -> Vec<String> {
    let mut arguments = vec!["dump".to_owned()];
    arguments.extend(lab.by_database());
    arguments.extend(["--dump".to_owned(), directory.to_string_lossy().into_owned()]);
    arguments
}

#[test]
fn a_disk_that_is_full() {
    let lab = Lab::stopped().unwrap();
    let Some(small) = Disk::mount(lab.path("small"), "256k") else { return };
    let target = small.path("dump");
    command::fails(
        dump(&lab, &target),
        5,
        &["small/dump.partial", "no space left", "another disk"],
    )
    .unwrap();
    assert!(!target.exists());
    drop(small);

    let whole = lab.path("dump");
    command::dump(&lab.by_database(), &whole).unwrap();
    for backend in ["rocksdb", "sqlite"] {
        let disk = Disk::mount(lab.path(backend), "700k").unwrap();
        let target = disk.path("conduit");
        let import = command::import_arguments(&whole, &target, backend);
        command::fails(import, 5, &["conduit.partial", "no space left", "another disk"]).unwrap();
        assert!(!target.exists(), "{backend}");
        assert!(!disk.path("conduit.partial/manifest.json").exists());
    }
}

#[test]
fn a_report_without_space_and_the_migration_run_again() {
    let lab = Lab::stopped().unwrap();
    let Some(small) = Disk::mount(lab.path("small"), "64k") else { return };
    let database = lab.path("conduit");
    let migrate = |report: &Path| {
        let [database, report] =
            [&database, report].map(|path| path.to_string_lossy().into_owned());
        let mut arguments = lab.by_database();
        for argument in
            ["--accept", "C301", "--reuse-dump", "--database", &database, "--report", &report]
        {
            arguments.push(argument.to_owned());
        }
        command::run([vec!["migrate".to_owned()], arguments].concat()).unwrap()
    };
    let report = small.path("report");
    let next =
        ["small/report", "no space left", "`--report`", "next: the dump in", "`--reuse-dump`"];
    migrate(&report).failed(5, &next).unwrap();
    assert!(!database.exists());
    assert_eq!(fs::read_dir(&report).unwrap().count(), 0);

    let report = lab.path("report");
    let outcome = migrate(&report).json().unwrap();
    assert_eq!(outcome["report"], report.to_str().unwrap());
    assert!(database.exists() && report.join("report.html").exists());
}

#[test]
fn a_file_system_that_is_read_only() {
    let lab = Lab::stopped().unwrap();
    let Some(disk) = Disk::mount(lab.path("disk"), "10m") else { return };
    disk.read_only();
    let target = disk.path("dump");
    command::fails(dump(&lab, &target), 5, &["dump.partial", "on a file system that can"]).unwrap();
    command::fails(dump(&lab, &lab.path("disk")), 5, &["disk", "on a file system that can"])
        .unwrap();
}

/// Files of some size below a directory, and which of them share blocks with other files.
fn sharing(directory: &Path) -> BTreeMap<PathBuf, bool> {
    let files = files_below(directory).map(Result::unwrap);
    let files = files.filter(|file| file.metadata().unwrap().len() >= 16 << 10);
    let is_shared = |file: &PathBuf| {
        let output = Command::new("filefrag").args(["-s", "-v"]).arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("shared")
    };
    files.map(|file| (file.clone(), is_shared(&file))).collect()
}

#[test]
fn files_share_their_blocks_with_synapses_where_the_disk_can_do_that() {
    let lab = Lab::stopped().unwrap();
    let Some(disk) = Disk::that_shares(lab.path("btrfs")) else { return };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let store = disk.path("media");
    let copied = Command::new("cp").arg("-r").arg(lab.path("media")).arg(&store).status().unwrap();
    assert!(copied.success());
    let dumped = lab.path("dump");
    command::dump(&lab.by_database(), &dumped).unwrap();
    for (database, shares) in [(disk.path("conduit"), true), (lab.path("conduit"), false)] {
        let arguments =
            ["import", "--dump", &path(&dumped), "--media-store", &path(&store), "--database"];
        command::run(arguments.into_iter().chain([path(&database).as_str()]))
            .unwrap()
            .json()
            .unwrap();
        let files = sharing(&database.join("media"));
        assert!(!files.is_empty() && files.values().all(|shared| *shared == shares), "{files:?}");
    }
}

/// Disks of their own, as virtual machines and containers have them for dump and database.
#[test]
fn mount_points_are_filled_and_stay() {
    let lab = Lab::stopped().unwrap();
    let [dumped, database] = ["dump", "conduit"].map(|name| lab.path(name));
    let Some(first) = Disk::mount(dumped.clone(), "30m") else { return };
    let second = Disk::mount(database.clone(), "200m").unwrap();
    fs::create_dir(second.path("lost+found")).unwrap();
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec!["migrate".to_owned()];
    arguments.extend(lab.by_database());
    let mut media = vec!["media".to_owned()];
    media.extend(lab.by_database());
    media.extend(["--database".to_owned(), path(&database)]);
    let prepared = command::run(&media).unwrap().json().unwrap();
    assert_eq!(prepared["directory"], path(&second.path("importer.prepared-media")));
    for argument in ["--accept", "C301", "--dump", &path(&dumped), "--database", &path(&database)] {
        arguments.push(argument.to_owned());
    }
    let moved = command::run(&arguments).unwrap().json().unwrap();
    assert_eq!(moved["prepared_media"], prepared["files"]);
    assert!(!second.path("importer.prepared-media").exists());
    for (disk, file) in [(&first, "manifest.json"), (&second, "CURRENT"), (&second, "lost+found")] {
        assert!(disk.path(file).exists(), "{file}");
        assert!(!disk.path("importer.partial").exists());
        assert_eq!(fs::metadata(&disk.0).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let verify = ["verify", "--dump", &path(&dumped), "--database", &path(&database)];
    command::run(verify).unwrap().json().unwrap();
    // And it is in use now.
    let again = command::run(&arguments).unwrap();
    assert!(again.code == 10 && again.out.contains("C503") && again.out.contains("C507"));
}

/// Conduit's own example and Debian's package write `database_path` with a slash at its end; and a link, to another disk.
#[test]
fn paths_as_conduits_example_and_debians_package_write_them() {
    let lab = Lab::stopped().unwrap();
    let other = lab.path("other");
    fs::create_dir_all(other.join("real")).unwrap();
    for (name, is_made) in [("absent", false), ("empty", true), ("link", false)] {
        let database = lab.path(name);
        if is_made {
            fs::create_dir(&database).unwrap();
        }
        if name == "link" {
            std::os::unix::fs::symlink(other.join("real"), &database).unwrap();
        }
        let config = lab.path("conduit.toml");
        let text = format!(
            "[global]\nserver_name = \"{}\"\ndatabase_backend = \"rocksdb\"\ndatabase_path = \"{}/\"\nport = 1\n\
             allow_federation = true\n",
            lab.note("server_name"),
            database.display()
        );
        fs::write(&config, text).unwrap();
        let config = config.to_string_lossy();
        let run = |first: &str| {
            let mut arguments = vec![first.to_owned()];
            arguments.extend(lab.by_database());
            let more = ["--accept", "C301", "--conduit-config", &config];
            arguments.extend(more.map(ToOwned::to_owned));
            command::run(arguments).unwrap()
        };
        assert_eq!(run("check").code, 11, "{name}");
        assert_eq!(run("migrate").code, 11, "{name}");
        let beside = if name == "link" { other.join("real") } else { database.clone() };
        for suffix in [".dump", ".report"] {
            let mut path = beside.clone().into_os_string();
            path.push(suffix);
            assert!(Path::new(&path).is_dir(), "{name}{suffix}");
        }
        assert!(database.join("CURRENT").is_file() && database.join("media").is_dir());
        assert_eq!(database.is_symlink(), name == "link");
    }
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn rights_that_are_missing() {
    let lab = Lab::stopped().unwrap();
    let open = tempfile::tempdir().unwrap();
    permit(open.path(), 0o777);
    // A place that everybody can come to, unlike that of the sources.
    let here = open.path().join("lab");
    fs::create_dir(&here).unwrap();
    for name in ["homeserver.yaml", "signing.key", "homeserver.db", "bridge.yaml"] {
        fs::copy(lab.path(name), here.join(name)).unwrap();
        permit(&here.join(name), 0o644);
    }
    let config = here.join("homeserver.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&*lab.directory().to_string_lossy(), &here.to_string_lossy()))
        .unwrap();
    let of = |target: &str| {
        let [config, target] =
            [&config, &open.path().join(target)].map(|path| path.to_string_lossy().into_owned());
        let arguments = ["dump", "--synapse-config", &config, "--dump", &target];
        command::run_as_nobody(arguments).unwrap()
    };

    // SQLite must make files beside a database in WAL mode, and may not.
    let Some(run) = of("dump") else {
        skip::skipped("this user can't become another one");
        return;
    };
    run.failed(3, &["homeserver.db", "as Synapse's user", "write access to its directory"])
        .unwrap();
    permit(&here, 0o777);
    assert_eq!(of("dump").unwrap().code, 0);

    // A directory that exists and is empty becomes its owner's alone.
    let dump = open.path().join("dump");
    assert_eq!(fs::metadata(&dump).unwrap().permissions().mode() & 0o777, 0o700);
    permit(open.path(), 0o755);
    of("other").unwrap().failed(5, &["other.partial", "as a user who may"]).unwrap();

    permit(&here.join("signing.key"), 0o600);
    of("other").unwrap().failed(3, &["signing.key", "as Synapse's user"]).unwrap();
    permit(&config, 0o600);
    of("other").unwrap().failed(3, &["homeserver.yaml", "as Synapse's user"]).unwrap();
}

#[test]
fn an_empty_directory_becomes_its_owners_alone() {
    let lab = Lab::stopped().unwrap();
    let [dumped, rocksdb, sqlite] = ["dump", "rocksdb", "sqlite"].map(|name| lab.path(name));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in [&dumped, &rocksdb, &sqlite] {
        fs::create_dir(path).unwrap();
        permit(path, 0o755);
    }
    command::dump(&lab.by_database(), &dumped).unwrap();
    command::import(&dumped, &rocksdb, "rocksdb").unwrap();
    command::import(&dumped, &sqlite, "sqlite").unwrap();
    assert_eq!([&dumped, &rocksdb, &sqlite].map(|path| mode(path)), [0o700; 3]);
}
