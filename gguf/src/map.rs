//! The bytes of a file: mapped, read or given. The only module with `unsafe`.
//!
//! A mapping is the one thing here that Rust's rules cannot vouch for, since another process may change the file under
//! it. The ways that can go, and what is done about each:
//!
//! 1. *The file is cut short.* Touching a page past the new end raises SIGBUS, which kills a process without a word. A
//!    handler writes one line that names the file, then exits with status 1 (see [`sigbus`]).
//! 2. *The file is overwritten in place.* The bytes change under `&[u8]`. Readers must survive any byte anyway, since
//!    nothing that comes from a file is trusted, and a length that is read again is compared again with what is left. [`Stamp`] lets a server
//!    ask between requests whether the file is still the one it opened.
//! 3. *The file is renamed or removed.* Nothing happens: the mapping holds the file itself, not its name.
//!
//! Reading the file into memory instead (`--no-mmap`) is immune to all three.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::OpenOptions;
use crate::error::Error;

/// The alignment of memory that is read rather than mapped: a cache line, and the widest vector.
const ALIGN: usize = 64;

/// Bytes that stay where they are as long as anyone holds a clone.
#[derive(Clone)]
pub(crate) struct Bytes(Arc<Backing>);

enum Backing {
    Mapped(Mapped),
    /// The bytes, beginning at the index given.
    Owned(Vec<u8>, usize),
    Static(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Backing::Mapped(mapped) => &mapped.map,
            Backing::Owned(bytes, start) => &bytes[*start..],
            Backing::Static(bytes) => bytes,
        }
    }
}

impl Bytes {
    /// Bytes in memory, copied only if they are not aligned.
    pub(crate) fn from_vec(bytes: Vec<u8>) -> Bytes {
        if bytes.as_ptr().align_offset(ALIGN) == 0 {
            return Bytes(Arc::new(Backing::Owned(bytes, 0)));
        }
        let mut copy: Vec<u8> = Vec::with_capacity(bytes.len() + ALIGN);
        let start = copy.as_ptr().align_offset(ALIGN).min(ALIGN);
        copy.resize(start, 0);
        copy.extend_from_slice(&bytes);
        Bytes(Arc::new(Backing::Owned(copy, start)))
    }

    /// Bytes that live as long as the program, used in place.
    pub(crate) fn from_static(
        name: &Path,
        bytes: &'static [u8],
        options: &OpenOptions,
    ) -> Result<Bytes, Error> {
        let bytes = Bytes(Arc::new(Backing::Static(bytes)));
        if options.mlock {
            bytes.lock(name)?;
        }
        Ok(bytes)
    }

    /// Whether they are a file's own pages.
    pub(crate) fn mapped(&self) -> bool {
        matches!(*self.0, Backing::Mapped(_))
    }

    /// Asks the system to read a mapped file from beginning to end. It is advice: that it cannot be taken is no error. It may wait for
    /// the device.
    pub(crate) fn will_need(&self) {
        #[cfg(unix)]
        if let Backing::Mapped(mapped) = &*self.0 {
            // Linux takes up no more of one wish than the device's largest request, often 512 KiB or 1 MiB, and forgets the rest.
            const PIECE: usize = 512 << 10;
            let len = mapped.map.len();
            for start in (0..len).step_by(PIECE) {
                let piece = PIECE.min(len - start);
                drop(
                    mapped
                        .map
                        .advise_range(memmap2::Advice::WillNeed, start, piece),
                );
            }
        }
    }

    /// Lets go of the pages of the first `len` bytes of a mapping. They come again when they are needed.
    pub(crate) fn release(&self, len: usize) {
        #[cfg(unix)]
        if let Backing::Mapped(mapped) = &*self.0 {
            // SAFETY: the mapping is read-only and of a file, so no content is lost: a page that is touched again is filled from the
            // file. That the file may have changed is the risk of every mapping (see the module's text).
            let released = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                mapped
                    .map
                    .unchecked_advise_range(advice, 0, len.min(mapped.map.len()))
            };
            // Locked pages stay.
            drop(released);
        }
        #[cfg(not(unix))]
        let _ = len;
    }

    /// The bytes of a file, and the means to tell later whether it is still the same.
    pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<(Bytes, Stamp), Error> {
        let failed = |action| {
            move |source| Error::Io {
                path: path.to_owned(),
                action,
                source,
            }
        };
        let mut file = open_regular(path)?;
        let stamp = State::of(&file).map_err(failed("examine"))?;
        // The length is taken once; what the file becomes later is the business of the handler and the stamp.
        let len = usize::try_from(stamp.len)
            .ok()
            .filter(|&len| len < isize::MAX as usize - ALIGN)
            .ok_or_else(|| {
                failed("open")(io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    format!(
                        "{} bytes do not fit the address space of this {}-bit program",
                        stamp.len,
                        usize::BITS
                    ),
                ))
            })?;
        let bytes = if options.mmap && len > 0 {
            Bytes(Arc::new(Backing::Mapped(
                Mapped::new(path, &file, len).map_err(failed("map"))?,
            )))
        } else {
            read_aligned(&mut file, len).map_err(failed("read"))?
        };
        if options.mlock {
            bytes.lock(path)?;
        }
        Ok((
            bytes,
            Stamp {
                file,
                opened: stamp,
            },
        ))
    }

    /// Keeps the bytes in memory.
    fn lock(&self, path: &Path) -> Result<(), Error> {
        self.try_lock().map_err(|source| Error::Io {
            path: path.to_owned(),
            action: "lock in memory",
            source,
        })
    }

    #[cfg(unix)]
    fn try_lock(&self) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // SAFETY: the range is that of a live slice; locking pages changes none of them. The lock ends when the pages
        // are unmapped or the process ends.
        if unsafe { libc::mlock(self.as_ptr().cast(), self.len()) } == 0 {
            return Ok(());
        }
        // Of no kind: the advice for other actions would be wrong here.
        Err(io::Error::other(format!(
            "{}; {} bytes are needed, raise the limit (ulimit -l) or do without --mlock",
            io::Error::last_os_error(),
            self.len()
        )))
    }

    #[cfg(not(unix))]
    fn try_lock(&self) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "not available on this system, do without --mlock",
        ))
    }
}

/// Reads `len` bytes into aligned memory.
fn read_aligned(file: &mut File, len: usize) -> io::Result<Bytes> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(len + ALIGN).map_err(|_| {
        io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("no memory for {len} bytes, do without --no-mmap"),
        )
    })?;
    let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
    bytes.resize(start, 0);
    file.take(len as u64).read_to_end(&mut bytes)?;
    if bytes.len() != start + len {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!(
                "got {} of {len} bytes, the file was changed while it was read",
                bytes.len() - start
            ),
        ));
    }
    Ok(Bytes(Arc::new(Backing::Owned(bytes, start))))
}

/// Opens a regular file, and nothing else: opening a FIFO would wait for a writer, opening a device may do anything.
fn open_regular(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        action: "open",
        source,
    };
    let not_a_file = |metadata: &std::fs::Metadata| Error::NotAFile {
        path: path.to_owned(),
        found: file_type(metadata),
    };

    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(not_a_file(&metadata));
    }
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Should the path have become a FIFO since: do not wait for it.
        options.custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY);
    }
    let file = options.open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(not_a_file(&metadata));
    }
    Ok(file)
}

fn file_type(metadata: &std::fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "FIFO";
        } else if kind.is_socket() {
            return "socket";
        } else if kind.is_block_device() || kind.is_char_device() {
            return "device";
        }
    }
    if kind.is_dir() {
        "directory"
    } else {
        "special file"
    }
}

/// What tells a file from a changed one.
#[derive(PartialEq, Eq)]
struct State {
    len: u64,
    modified: Option<SystemTime>,
    /// Device and inode.
    identity: (u64, u64),
}

impl State {
    fn of(file: &File) -> io::Result<State> {
        let metadata = file.metadata()?;
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let identity = (0, 0);
        Ok(State {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            identity,
        })
    }
}

/// An open file and its state when it was opened.
pub(crate) struct Stamp {
    file: File,
    opened: State,
}

impl Stamp {
    /// Whether size, modification time and identity are still those at opening.
    pub(crate) fn unchanged(&self) -> bool {
        State::of(&self.file).is_ok_and(|now| now == self.opened)
    }
}

/// A mapping, announced to the SIGBUS handler for as long as it lives.
struct Mapped {
    // Withdrawn before the mapping goes: fields drop in order of declaration.
    #[cfg(unix)]
    _guard: Option<sigbus::Guard>,
    map: memmap2::Mmap,
}

impl Mapped {
    fn new(path: &Path, file: &File, len: usize) -> io::Result<Mapped> {
        // SAFETY: the mapping is read-only and private to us; that another process may change the file is the risk that
        // every mapping takes, met as the module's text says: the length is fixed here, every reader tolerates any
        // bytes at any time, and a vanished page ends the process in an orderly way.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        #[cfg(not(unix))]
        let _ = path;
        Ok(Mapped {
            #[cfg(unix)]
            _guard: sigbus::Guard::new(path, &map),
            map,
        })
    }
}

/// A readable end for a process whose model file was cut short.
///
/// ```text
/// mapping made     claim a free slot of the table, write message, begin, end into it
/// mapping dropped  clear the slot
/// SIGBUS           find the slot that holds the faulting address
///                  found:      write its message, exit with status 1
///                  not found:  not ours: put the previous action back and return; the fault repeats and meets it
/// ```
///
/// A signal handler may interrupt any code anywhere, so it takes no lock, allocates nothing and calls only `write`,
/// `_exit`, `sigaction` and `raise`. The messages are made beforehand and never freed (one per distinct path).
#[cfg(unix)]
mod sigbus {
    use std::collections::BTreeMap;
    use std::ffi::{c_int, c_void};
    use std::mem;
    use std::path::{Path, PathBuf};
    use std::ptr;
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// One announced mapping; free while `begin` is zero. `end` is zero while the slot is being filled or cleared.
    struct Slot {
        begin: AtomicUsize,
        end: AtomicUsize,
        message: AtomicPtr<u8>,
        message_len: AtomicUsize,
    }

    /// More mappings than this at a time go unannounced; the largest models have some hundred shards.
    const SLOTS: usize = 1024;

    static TABLE: [Slot; SLOTS] = [const {
        Slot {
            begin: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            message: AtomicPtr::new(ptr::null_mut()),
            message_len: AtomicUsize::new(0),
        }
    }; SLOTS];

    /// The action that was there before ours.
    static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

    /// A slot of the table, cleared when dropped.
    pub(super) struct Guard(&'static Slot);

    impl Guard {
        /// Announces a mapping of the file `path`. None if the table is full.
        pub(super) fn new(path: &Path, map: &[u8]) -> Option<Guard> {
            install();
            let begin = map.as_ptr().addr();
            let slot = TABLE.iter().find(|slot| {
                slot.begin
                    .compare_exchange(0, begin, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            })?;
            let message = message(path);
            slot.message_len.store(message.len(), Ordering::Relaxed);
            slot.message
                .store(message.as_ptr().cast_mut(), Ordering::Relaxed);
            slot.end.store(begin + map.len(), Ordering::Release);
            Some(Guard(slot))
        }
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.end.store(0, Ordering::Release);
            self.0.begin.store(0, Ordering::Release);
        }
    }

    /// The line for a file, the same each time it is opened, so that opening again and again does not add up.
    fn message(path: &Path) -> &'static [u8] {
        static MESSAGES: Mutex<BTreeMap<PathBuf, &'static [u8]>> = Mutex::new(BTreeMap::new());
        let mut messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        messages.entry(path.to_owned()).or_insert_with(|| {
            let line = format!(
                "smolq: model file changed on disk while in use: {}; start again, and replace model files by renaming, \
                 not by overwriting; --no-mmap keeps a copy in memory instead\n",
                crate::error::show_path(path)
            );
            Box::leak(line.into_bytes().into_boxed_slice())
        })
    }

    /// Puts the handler in place, once per process.
    fn install() {
        static ONCE: OnceLock<()> = OnceLock::new();
        ONCE.get_or_init(|| {
            // SAFETY: both structures are plain data that may be zero, and live through the calls. `handler` has the
            // signature that SA_SIGINFO asks for and does only what a handler may do. PREVIOUS is set before the
            // handler, which reads it, can run.
            unsafe {
                let mut previous: libc::sigaction = mem::zeroed();
                if libc::sigaction(libc::SIGBUS, ptr::null(), &mut previous) != 0
                    || PREVIOUS.set(previous).is_err()
                {
                    return;
                }
                let mut action: libc::sigaction = mem::zeroed();
                let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handler;
                action.sa_sigaction = handler as libc::sighandler_t;
                // ONSTACK: Rust gives each thread a small stack for signals, which works even if the stack is the fault.
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
            }
        });
    }

    extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
        // SAFETY: the system passes a valid siginfo, whose address is meaningful for a fault (si_code > 0). A message
        // pointer and its length were stored before `end` was and point to memory that is never freed; should the slot
        // change hands between the reads, the worst is the message of another file cut at the wrong length, and that
        // cannot happen for the faulting mapping itself, which the faulting thread keeps alive. The calls are all
        // async-signal-safe.
        unsafe {
            let is_fault = (*info).si_code > 0;
            if is_fault {
                let address = (*info).si_addr().addr();
                for slot in &TABLE {
                    let end = slot.end.load(Ordering::Acquire);
                    if address < end && address >= slot.begin.load(Ordering::Acquire) {
                        let message = slot.message.load(Ordering::Relaxed);
                        let len = slot.message_len.load(Ordering::Relaxed);
                        libc::write(libc::STDERR_FILENO, message.cast(), len);
                        libc::_exit(1);
                    }
                }
            }
            if let Some(previous) = PREVIOUS.get() {
                libc::sigaction(signal, previous, ptr::null_mut());
            }
            if !is_fault {
                // Sent by a process rather than raised by an instruction: it will not repeat by itself.
                libc::raise(signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_bytes_are_aligned() {
        for len in [0, 1, 63, 64, 65, 4096, 100_003] {
            let given: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let bytes = Bytes::from_vec(given.clone());
            assert_eq!(*bytes, *given);
            assert!(len == 0 || bytes.as_ptr().addr().is_multiple_of(ALIGN));
        }
    }
}
