//! What the system tells about the machine and this process.
//!
//! * [`Cores`]: which cores there are, and how many threads suit them.
//! * [`Sensors`]: temperatures and clocks, and whether something held them down ([`Watch`]).
//! * [`Memory`]: how much memory there is to be had.
//!
//! All of it is advice: where the system does not tell, nothing fails. What is read from files takes the root of the file system as a
//! parameter, so that tests can make up a machine.

mod clocks;
mod cores;
mod memory;

pub use clocks::{Clock, Firmware, Reading, Sensors, Watch, Weather, Zone};
pub use cores::Cores;
pub use memory::{Holder, Memory};

use std::fs;
use std::path::Path;

/// The CPU's name as the system tells it.
pub fn cpu_name() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info
        .lines()
        .find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The largest memory this process has held, mapped files included, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    status("VmHWM:")
}

/// Memory of this process that no file stands behind, now, in bytes, where the system tells.
pub fn anonymous_memory() -> Option<u64> {
    status("RssAnon:")
}

/// Lets [`peak_memory`] begin anew from what is held now; whether the system does so.
pub fn reset_peak_memory() -> bool {
    // 5 is the number of this wish (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// A figure in KiB of the system's account of this process, in bytes.
fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Bytes for people: `1.80 GiB`.
pub fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.2} {}", units[unit])
    }
}

/// The number in a file, where it holds one.
fn number<T: std::str::FromStr>(file: &Path) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The names in a folder that begin so and end in a number, with that number, in its order.
fn numbered(folder: &Path, prefix: &str) -> Vec<(usize, std::path::PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A made-up file system in a temporary folder, removed when dropped.
    pub(super) struct Root(PathBuf);

    impl Root {
        /// Files with their content, below a folder of this name.
        pub(super) fn new(name: &str, files: &[(&str, &str)]) -> Root {
            let folder = std::env::temp_dir().join(format!("smolq-{name}-{}", std::process::id()));
            let root = Root(folder);
            fs::create_dir_all(&root.0).unwrap();
            files.iter().for_each(|(path, text)| root.set(path, text));
            root
        }

        /// Writes a file.
        pub(super) fn set(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}
