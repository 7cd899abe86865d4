//! What the system tells about the machine and this process.

/// The CPU's name as the system tells it.
pub fn cpu_name() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
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
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// A figure in KiB of the system's account of this process, in bytes.
fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
