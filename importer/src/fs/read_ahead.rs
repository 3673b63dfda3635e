//! Has the operating system read a file in its order, before others read it in theirs.

use std::{
    fs::{self, File},
    io,
    num::NonZeroU64,
    path::Path,
    thread,
};

use rustix::fs::{Advice, fadvise};

/// Bytes that are asked for at once.
const STEP: u64 = 4 << 20;

/// Begins to have a file read into the system's cache, if it has no more than half of the memory that is available. A file that is there
/// already costs next to nothing.
pub(crate) fn read_ahead(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    if available().is_none_or(|available| size > available / 2) {
        return;
    }
    let read = move || {
        let mut at = 0;
        while at < size && fadvise(&file, at, NonZeroU64::new(STEP), Advice::WillNeed).is_ok() {
            at = at.saturating_add(STEP);
        }
    };
    // Whoever reads the file does so in any case.
    let _thread: io::Result<_> = thread::Builder::new().name("ahead".into()).spawn(read);
}

/// Bytes of memory that this process can use, its cache included.
fn available() -> Option<u64> {
    let system = available_of_system(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |file: String| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    Some(limits(&groups).into_iter().filter_map(limit).fold(system, u64::min))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available_of_system(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Files with the limits of control groups and those around them, by `/proc/self/cgroup`: of version 2, whose groups have no number, and
/// of the controller `memory` of version 1 (cgroups(7)). In a container the group's own is at the top.
fn limits(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        files.extend(Path::new(path).ancestors().map(|group| {
            let group = group.to_string_lossy();
            format!("{root}{}/{name}", group.trim_end_matches('/'))
        }));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_all_groups_around_the_process() {
        assert_eq!(
            limits("0::/system.slice/a.service\n"),
            [
                "/sys/fs/cgroup/system.slice/a.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            limits("5:cpu,cpuacct:/b\n4:memory:/b\nnonsense\n"),
            [
                "/sys/fs/cgroup/memory/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        let system = "MemTotal:  9 kB\nMemAvailable:     4 kB\n";
        assert_eq!(available_of_system(system), Some(4096));
        assert_eq!(available_of_system("MemTotal:  9 kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 0));
    }
}
