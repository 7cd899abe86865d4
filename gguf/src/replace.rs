//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes collected before they are written.
const BUFFER: usize = 256 << 10;

/// More symbolic links than this, one behind the other, are taken for a circle.
const MAX_LINKS: usize = 40;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever may read any new file of this process.
    Usual,
    /// The owner alone.
    Owner,
}

/// Puts what `write` writes in place of the file at `path`, or leaves everything as it was.
///
/// It is written beside the old file as `.smolq-PROCESS-N.tmp`, brought to the disk and then renamed: whoever has the old one mapped keeps it, and
/// whatever fails, or dies, leaves no half of a file. A symbolic link stays one, and what it points to is replaced. What is no file but
/// can be written to, such as a pipe or a device, is written to.
///
/// # Errors
/// What `write` gives, and `failed` of what the system says.
pub fn replace<T, E>(
    path: &Path,
    access: Access,
    failed: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = OpenOptions::new().write(true).open(path).map_err(&failed)?;
        return write(&mut file);
    }
    let target = behind_links(path).map_err(&failed)?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (file, temporary) = Temporary::create(folder, access).map_err(&failed)?;
    let mut out = BufWriter::with_capacity(BUFFER, &file);
    let written = write(&mut out)?;
    let end = || -> io::Result<()> {
        out.flush()?;
        drop(out);
        file.sync_all()?;
        temporary.rename(&target)
    };
    end().map_err(&failed)?;
    // So that the new name survives a crash, too. Not all file systems can; the file is whole either way.
    #[cfg(unix)]
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(written)
}

/// Where `path` leads, whether there is something or not.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(to) => target = target.with_file_name("").join(to),
            // No link, or nothing at all.
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// The files that are being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the files that [`replace`] is writing, for a process that ends without going back through it.
pub fn remove_unfinished() {
    // Whoever holds the list is at its beginning or its end.
    if let Ok(mut unfinished) = UNFINISHED.try_lock() {
        for path in unfinished.drain(..) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that is removed unless it is renamed.
struct Temporary(Option<PathBuf>);

fn listed() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Temporary {
    /// A new file in `folder`.
    fn create(folder: &Path, access: Access) -> io::Result<(File, Temporary)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if access == Access::Owner {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        #[cfg(not(unix))]
        let _ = access;
        loop {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".smolq-{}-{n}.tmp", std::process::id()));
            match options.open(&path) {
                Ok(file) => {
                    listed().push(path.clone());
                    return Ok((file, Temporary(Some(path))));
                }
                // Left by a process that died and had our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && n < 1 << 20 => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.0 {
            fs::rename(path, target)?;
            listed().retain(|other| other != path);
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // There is nothing more to do about one that cannot be removed.
            let _ = fs::remove_file(path);
            listed().retain(|other| other != path);
        }
    }
}
