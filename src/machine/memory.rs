//! How much memory there is to be had.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What bounds the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The machine has no more.
    Machine,
    /// A control group allows no more: a container, a service, a batch job.
    Group,
}

/// Memory that this process can still take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of the machine's.
    pub total: u64,
    /// What is free or given back at once, such as cached files; not more than a control group leaves.
    pub room: u64,
    /// What sets `room`.
    pub holder: Holder,
}

impl Memory {
    /// That of this machine and process; `None` where the system does not tell.
    pub fn here() -> Option<Memory> {
        Memory::at(Path::new("/"))
    }

    /// The same by the files below `root`: `proc/meminfo`, `proc/self/cgroup` and the control groups in `sys/fs/cgroup`, of version 1
    /// and 2.
    pub fn at(root: &Path) -> Option<Memory> {
        let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1 << 10)
        };
        let total = field("MemTotal:")?;
        // Kernels before 3.14 do not sum it up.
        let available = field("MemAvailable:")
            .or_else(|| Some(field("MemFree:")?.saturating_add(field("Cached:")?)))?;
        let machine = Memory {
            total,
            room: available.min(total),
            holder: Holder::Machine,
        };
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let rooms = groups
            .lines()
            .filter_map(|line| group(root, line))
            .flat_map(|(folder, up_to, version)| levels(&folder, &up_to, version));
        Some(match rooms.min() {
            Some(room) if room < machine.room => Memory {
                room,
                holder: Holder::Group,
                ..machine
            },
            _ => machine,
        })
    }
}

/// Names of a version's files and of the figures in `memory.stat` that count the files cached for a group.
struct Version {
    limit: &'static str,
    usage: &'static str,
    cached: [&'static str; 2],
}

const V1: &Version = &Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cached: ["total_inactive_file ", "total_active_file "],
};

const V2: &Version = &Version {
    limit: "memory.max",
    usage: "memory.current",
    cached: ["inactive_file ", "active_file "],
};

/// The folder of a line of `/proc/self/cgroup`, the one that it is below of, and the version, if it is about memory.
fn group(root: &Path, line: &str) -> Option<(PathBuf, PathBuf, &'static Version)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let mounts = root.join("sys/fs/cgroup");
    let (mount, version) = if number == "0" && controllers.is_empty() {
        // Beside version 1, version 2 has a folder of its own.
        let unified = mounts.join("unified");
        (if unified.is_dir() { unified } else { mounts }, V2)
    } else if controllers.split(',').any(|name| name == "memory") {
        (mounts.join("memory"), V1)
    } else {
        return None;
    };
    let mut folder = mount.clone();
    // What leads out of the part that this process sees (`/../..`) leads nowhere here.
    folder.extend(
        Path::new(path)
            .components()
            .filter(|part| matches!(part, Component::Normal(_))),
    );
    Some((folder, mount, version))
}

/// What each group leaves, from `folder` up to `up_to`: a limit holds for all that is below it. In a container, the path of the group
/// may be that of the world outside; then the files of its own lie at the top.
fn levels(folder: &Path, up_to: &Path, version: &'static Version) -> Vec<u64> {
    folder
        .ancestors()
        .take_while(|level| level.starts_with(up_to))
        .filter_map(|level| left(level, version))
        .collect()
}

/// What a group leaves: its limit but for what is used, of which cached files are given back. `None` where there is no limit.
fn left(folder: &Path, version: &Version) -> Option<u64> {
    // "max" is no number; version 1 has a number near 2^63 instead, which is more than any machine's.
    let limit: u64 = super::number(&folder.join(version.limit))?;
    let usage: u64 = super::number(&folder.join(version.usage)).unwrap_or(0);
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cached = version.cached.iter().filter_map(|name| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    });
    let cached = cached.fold(0, u64::saturating_add);
    Some(limit.saturating_sub(usage.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Root;
    use super::*;

    const INFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:        4000000 kB\nMemFree:          100000 kB\nMemAvailable:    3000000 kB\nCached:          2000000 kB",
    );

    #[test]
    fn without_groups_it_is_the_machines() {
        let root = Root::new("memory-plain", &[INFO]);
        let memory = Memory::at(root.path()).unwrap();
        assert_eq!(memory.total, 4_000_000 << 10);
        assert_eq!(memory.room, 3_000_000 << 10);
        assert_eq!(memory.holder, Holder::Machine);
        // An old kernel.
        root.set(
            "proc/meminfo",
            "MemTotal: 4000 kB\nMemFree: 100 kB\nCached: 200 kB",
        );
        assert_eq!(Memory::at(root.path()).unwrap().room, 300 << 10);
        for broken in ["", "MemTotal: x kB", "MemTotal: 99999999999999999999 kB"] {
            root.set("proc/meminfo", broken);
            assert_eq!(Memory::at(root.path()), None, "{broken}");
        }
    }

    #[test]
    fn the_narrowest_group_of_version_2_counts() {
        let root = Root::new(
            "memory-v2",
            &[
                INFO,
                ("proc/self/cgroup", "0::/user.slice/box"),
                ("sys/fs/cgroup/user.slice/memory.max", "1000000000"),
                ("sys/fs/cgroup/user.slice/memory.current", "700000000"),
                (
                    "sys/fs/cgroup/user.slice/memory.stat",
                    "anon 300000000\ninactive_file 250000000\nactive_file 50000000",
                ),
                ("sys/fs/cgroup/user.slice/box/memory.max", "max"),
                ("sys/fs/cgroup/user.slice/box/memory.current", "600000000"),
            ],
        );
        let memory = Memory::at(root.path()).unwrap();
        assert_eq!((memory.room, memory.holder), (600_000_000, Holder::Group));
        // The inner one is narrower, and over its limit.
        root.set("sys/fs/cgroup/user.slice/box/memory.max", "500000000");
        assert_eq!(Memory::at(root.path()).unwrap().room, 0);
        // A group that allows more than there is does not count.
        root.set("sys/fs/cgroup/user.slice/box/memory.max", "max");
        root.set("sys/fs/cgroup/user.slice/memory.max", "9000000000");
        assert_eq!(Memory::at(root.path()).unwrap().holder, Holder::Machine);
    }

    #[test]
    fn groups_of_version_1_count_in_containers_too() {
        let root = Root::new(
            "memory-v1",
            &[
                INFO,
                (
                    "proc/self/cgroup",
                    "5:cpu,cpuacct:/a\n4:memory:/docker/0123\n0::/",
                ),
                // The container sees its group at the top.
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "200000000"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "150000000"),
                (
                    "sys/fs/cgroup/memory/memory.stat",
                    "inactive_file 1\ntotal_inactive_file 40000000\ntotal_active_file 10000000",
                ),
                ("sys/fs/cgroup/unified/cgroup.procs", "1"),
            ],
        );
        let memory = Memory::at(root.path()).unwrap();
        assert_eq!((memory.room, memory.holder), (100_000_000, Holder::Group));
        // No limit is a large number.
        root.set(
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712",
        );
        assert_eq!(Memory::at(root.path()).unwrap().holder, Holder::Machine);
        // A path leads nowhere outside of the folder.
        root.set("etc/memory.limit_in_bytes", "5");
        root.set("proc/self/cgroup", "4:memory:/../../../../etc");
        assert_eq!(Memory::at(root.path()).unwrap().holder, Holder::Machine);
    }
}
