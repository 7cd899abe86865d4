//! Programs that run for a while, with bounds on their time and output. Each leads a process group of its own, and nothing of the group
//! outlives the call: a shell's children would otherwise hold its pipes open. Groups that live are listed, so that a process that ends
//! without going back through its calls takes them along.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// How often `cancel` is looked at.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Output that is read and thrown away before a program counts as flooding.
const FLOOD: u64 = 64 << 20;

/// The end of stderr that is kept.
pub(super) const STDERR_KEPT: usize = 2048;

/// What a program may take.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// Bytes of stdout that are kept.
    pub(super) max_output: usize,
}

/// How a program ended.
#[derive(Debug)]
pub(super) enum End {
    Exit(ExitStatus),
    Timeout,
    Cancelled,
    Flood,
}

/// What a program left behind.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: End,
    pub(super) stdout: Head,
    pub(super) stderr: Tail,
}

impl Outcome {
    /// What went wrong, as the rest of a sentence that begins with the program's name; `None` if it succeeded.
    pub(super) fn failure(&self, limits: &Limits) -> Option<String> {
        let told = match &self.end {
            End::Exit(status) if status.success() => return None,
            End::Exit(status) => format!("failed: {}", exit(*status)),
            End::Timeout => format!(
                "was ended because it took longer than {} s",
                limits.timeout.as_secs_f64()
            ),
            End::Cancelled => "was cancelled".into(),
            End::Flood => format!("was ended because it wrote more than {} MiB", FLOOD >> 20),
        };
        Some(told)
    }
}

/// An exit status in words.
pub(super) fn exit(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = rustix::process::Signal::from_named_raw(signal).map(|name| format!("{name:?}"));
        return match name {
            Some(name) => format!(
                "ended by signal {signal} ({})",
                name.trim_start_matches("Signal::")
            ),
            None => format!("ended by signal {signal}"),
        };
    }
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "ended".into(),
    }
}

/// The beginning of an output.
#[derive(Debug)]
pub(super) struct Head {
    kept: Vec<u8>,
    most: usize,
    total: u64,
}

impl Head {
    pub(super) fn new(most: usize) -> Head {
        Head {
            kept: Vec::new(),
            most,
            total: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.most - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The text, with a last line that says so if it is not all.
    pub(super) fn text(&self) -> String {
        let cut = self.total > self.kept.len() as u64;
        let kept = match std::str::from_utf8(&self.kept) {
            // The cut went through a character.
            Err(e) if cut && e.error_len().is_none() => &self.kept[..e.valid_up_to()],
            _ => &self.kept,
        };
        let mut text = String::from_utf8_lossy(kept).into_owned();
        if cut {
            text += &format!("\n[cut: the first {} of {} bytes]", kept.len(), self.total);
        }
        text
    }
}

/// The end of an output.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Vec<u8>,
    cut: bool,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_KEPT)..];
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > STDERR_KEPT {
            self.cut = true;
            self.kept.drain(..self.kept.len() - STDERR_KEPT);
        }
    }

    /// The text, from the first whole line on where it is cut.
    pub(super) fn text(&self) -> String {
        let mut kept = self.kept.as_slice();
        if self.cut {
            if let Some(line) = kept.iter().position(|&b| b == b'\n')
                && line + 1 < kept.len()
            {
                kept = &kept[line + 1..];
            }
            // A cut through a character leaves its last bytes.
            let rest = kept.iter().take(3).take_while(|&&b| b & 0xc0 == 0x80);
            kept = &kept[rest.count()..];
        }
        String::from_utf8_lossy(kept).trim().to_owned()
    }
}

/// The groups that live.
#[cfg(unix)]
mod live {
    use rustix::process::{Pid, Signal, kill_process_group};
    use std::io;
    use std::process::{Child, Command};
    use std::sync::{Mutex, PoisonError, TryLockError};
    use std::time::Duration;

    struct Live {
        leaders: Vec<Pid>,
        /// Whether there may be no more of them.
        over: bool,
    }

    static LIVE: Mutex<Live> = Mutex::new(Live {
        leaders: Vec::new(),
        over: false,
    });

    /// Starts a program as the leader of a group.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        std::os::unix::process::CommandExt::process_group(command, 0);
        // Held while it starts: no group is left out because it is just about to live.
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        if live.over {
            return Err(io::Error::other("nothing is started any more"));
        }
        let child = command.spawn()?;
        live.leaders.push(Pid::from_child(&child));
        Ok(child)
    }

    /// Takes a group off the list. That comes before its leader is reaped, after which the number may be somebody else's.
    pub(super) fn forget(child: &Child) {
        let leader = Pid::from_child(child);
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.leaders.retain(|&other| other != leader);
    }

    /// Kills all groups, and lets no more be: for a process that is about to end.
    pub(crate) fn kill_all() {
        // A program that starts from a dead network disk may hold the list; nobody waits for that.
        for _ in 0..50 {
            let mut live = match LIVE.try_lock() {
                Ok(live) => live,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
            };
            live.over = true;
            for leader in live.leaders.drain(..) {
                // Fails only if nothing is left to kill.
                let _ = kill_process_group(leader, Signal::KILL);
            }
            return;
        }
    }
}

#[cfg(not(unix))]
mod live {
    use std::io;
    use std::process::{Child, Command};

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        command.spawn()
    }

    pub(super) fn forget(_: &Child) {}

    /// Programs are run on Unix only.
    pub(crate) fn kill_all() {}
}

pub(crate) use live::kill_all;

/// A process that leads its own group. Dropping it ends all of the group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) child: Child,
    status: Option<ExitStatus>,
}

impl Group {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Group> {
        Ok(Group {
            child: live::spawn(command)?,
            status: None,
        })
    }

    /// Whether the leader has ended. It is not reaped, so that its number, which is the group's, cannot belong to anything else yet.
    #[cfg(unix)]
    pub(super) fn ended(&mut self) -> bool {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some()
            || !matches!(
                waitid(WaitId::Pid(Pid::from_child(&self.child)), look),
                Ok(None) | Err(rustix::io::Errno::INTR)
            )
    }

    #[cfg(not(unix))]
    pub(super) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the whole group, and gives how the leader ended, where the system tells.
    pub(super) fn end(&mut self) -> Option<ExitStatus> {
        if self.status.is_some() {
            return self.status;
        }
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process_group};
            // Fails only if nothing is left to kill.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        #[cfg(not(unix))]
        let _ = self.child.kill();
        live::forget(&self.child);
        // A process that the kernel holds (a dead network disk) dies when it is let go; nobody waits for that.
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.status = Some(status);
                    return self.status;
                }
                Ok(None) if Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => return None,
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a program to its end, or until a limit. `input` is what it reads.
#[cfg(unix)]
pub(super) fn run(
    command: &mut Command,
    input: &[u8],
    limits: &Limits,
    cancel: &AtomicBool,
) -> io::Result<Outcome> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::ioctl_fionbio;
    use std::io::Write;
    use std::process::Stdio;
    use std::sync::atomic::Ordering;

    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    });
    let deadline = Instant::now() + limits.timeout;
    let mut group = Group::spawn(command)?;
    let mut stdin = group.child.stdin.take();
    let mut stdout = group.child.stdout.take();
    let mut stderr = group.child.stderr.take();
    if let Some(pipe) = &stdin {
        ioctl_fionbio(pipe, true)?;
    }
    if let Some(pipe) = &stdout {
        ioctl_fionbio(pipe, true)?;
    }
    if let Some(pipe) = &stderr {
        ioctl_fionbio(pipe, true)?;
    }
    let mut unread = input;
    let mut head = Head::new(limits.max_output);
    let mut tail = Tail::default();
    let mut total = 0;
    let mut buffer = vec![0; 64 << 10];

    let end = loop {
        if cancel.load(Ordering::Relaxed) {
            break Some(End::Cancelled);
        }
        if Instant::now() >= deadline {
            break Some(End::Timeout);
        }
        if total > FLOOD {
            break Some(End::Flood);
        }
        if group.ended() {
            break None;
        }
        let left = deadline.saturating_duration_since(Instant::now()).min(POLL);
        let mut waiting = Vec::with_capacity(3);
        if let Some(pipe) = &stdin {
            waiting.push(PollFd::new(pipe, PollFlags::OUT));
        }
        if let Some(pipe) = &stdout {
            waiting.push(PollFd::new(pipe, PollFlags::IN));
        }
        if let Some(pipe) = &stderr {
            waiting.push(PollFd::new(pipe, PollFlags::IN));
        }
        if stdout.is_none() && stderr.is_none() {
            // Most often it is about to end.
            std::thread::sleep(left.min(Duration::from_millis(1)));
        } else {
            let left = Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            };
            // An interruption is a turn of the loop like any other.
            match poll(&mut waiting, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        drop(waiting);
        if let Some(pipe) = &mut stdin {
            match pipe.write(unread) {
                Ok(n) => unread = &unread[n..],
                Err(e) if again(&e) => {}
                // It does not want to read: its own business.
                Err(_) => unread = &[],
            }
            if unread.is_empty() {
                stdin = None;
            }
        }
        total += read_once(&mut stdout, &mut buffer, &mut |bytes| head.push(bytes));
        total += read_once(&mut stderr, &mut buffer, &mut |bytes| tail.push(bytes));
    };
    let status = group.end();
    // What was written before the end still lies in the pipes. A process that left the group may hold them open, or even write on.
    drain(&mut stdout, &mut buffer, &mut |bytes| head.push(bytes));
    drain(&mut stderr, &mut buffer, &mut |bytes| tail.push(bytes));
    let end = match (end, status) {
        (Some(end), _) => end,
        (None, Some(status)) => End::Exit(status),
        (None, None) => return Err(io::Error::other("its end cannot be seen")),
    };
    Ok(Outcome {
        end,
        stdout: head,
        stderr: tail,
    })
}

#[cfg(unix)]
fn again(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Reads what there is, once; a pipe at its end is closed.
#[cfg(unix)]
fn read_once<R: io::Read>(
    pipe: &mut Option<R>,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]),
) -> u64 {
    match pipe.as_mut().map(|pipe| pipe.read(buffer)) {
        Some(Ok(n)) if n > 0 => {
            take(&buffer[..n]);
            n as u64
        }
        Some(Err(e)) if again(&e) => 0,
        _ => {
            *pipe = None;
            0
        }
    }
}

/// Reads what is left: no more than the largest pipe holds.
#[cfg(unix)]
fn drain<R: io::Read>(pipe: &mut Option<R>, buffer: &mut [u8], take: &mut dyn FnMut(&[u8])) {
    let mut total = 0;
    while total < 1 << 20 {
        match read_once(pipe, buffer, take) {
            0 => return,
            n => total += n,
        }
    }
}

#[cfg(not(unix))]
pub(super) fn run(_: &mut Command, _: &[u8], _: &Limits, _: &AtomicBool) -> io::Result<Outcome> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "programs are run on Unix only",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_goes_between_characters() {
        let mut head = Head::new(4);
        head.push("aé".as_bytes());
        head.push("é".as_bytes());
        assert_eq!(head.text(), "aé\n[cut: the first 3 of 5 bytes]");
        let mut whole = Head::new(5);
        whole.push("aéé".as_bytes());
        assert_eq!(whole.text(), "aéé");
        let mut tail = Tail::default();
        tail.push("é".repeat(STDERR_KEPT / 2).as_bytes());
        tail.push(b"x");
        assert_eq!(tail.text(), "é".repeat(STDERR_KEPT / 2 - 1) + "x");
        tail.push(b"\nlast\n");
        assert_eq!(tail.text(), "last");
    }
}
