//! A process under `ptrace`: its calls to the system that change what lies below one folder are counted, and before one
//! of them it is killed.
//!
//! The kernel stops the process before each call, so what is on the disk then is exactly what the calls before it left, and
//! the one it was about to make is never made. All its threads are counted together, in the order in which they call.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::synced::Synced;

/// The stop of a thread that is new, or was interrupted: `PTRACE_EVENT_STOP` of the kernel.
const EVENT_STOP: i32 = 128;

/// One call that changes something: a place at which to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Its name in the manual of the system.
    pub(crate) call: &'static str,
    /// What it changes, from the folder that is watched; of a rename the new name.
    pub(crate) path: PathBuf,
}

/// What became of the process.
#[derive(Debug)]
pub(crate) struct Traced {
    /// The calls that it made, and the one that it did not come to make.
    pub(crate) points: Vec<Point>,
    /// Whether it was killed. If not, it ended by itself, and well.
    pub(crate) was_killed: bool,
    /// What a disk that lost its power would still have.
    pub(crate) synced: Synced,
}

/// Runs `command` to its end, or to its call number `kill_before` that changes something below `root`, counted from
/// zero; where not all of it counts, of those that `counts`. The process must wait until its input ends before it does
/// anything.
///
/// # Errors
///
/// It cannot be started or traced, or it failed.
pub(crate) fn run(
    mut command: Command,
    root: &Path,
    counts: &dyn Fn(&Path) -> bool,
    kill_before: Option<usize>,
) -> io::Result<Traced> {
    let root = root.canonicalize()?;
    let synced = Synced::all_of(&root)?;
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(child.id().try_into().expect("the system counts processes in an i32"));
    seize(pid)?;
    drop(child.stdin.take());
    let (points, under_way) = (Vec::new(), BTreeMap::new());
    let mut tracer = Tracer { pid, root, counts, kill_before, points, under_way, synced };
    let was_killed = tracer.follow()?;
    reap(&mut child);
    Ok(Traced { points: tracer.points, was_killed, synced: tracer.synced })
}

/// From now on each call of the process, and of every thread that it makes, stops it; and it dies with us.
fn seize(pid: Pid) -> io::Result<()> {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options)?;
    ptrace::interrupt(pid)?;
    waitpid(pid, Some(WaitPidFlag::__WALL))?;
    Ok(ptrace::syscall(pid, None)?)
}

/// It was waited for already: this only lets the handle go.
fn reap(child: &mut Child) {
    child.wait().ok();
}

struct Tracer<'c> {
    pid: Pid,
    root: PathBuf,
    counts: &'c dyn Fn(&Path) -> bool,
    kill_before: Option<usize>,
    points: Vec<Point>,
    /// The threads that are in a call, each with the file or folder that it has synced when that returns.
    under_way: BTreeMap<Pid, Option<PathBuf>>,
    synced: Synced,
}

impl Tracer<'_> {
    /// Whether the process was killed.
    fn follow(&mut self) -> io::Result<bool> {
        // Only what this thread of ours traces: others trace their own.
        let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(ours))? {
                WaitStatus::PtraceSyscall(thread) => self.at_call(thread)?,
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal))?,
                WaitStatus::PtraceEvent(thread, signal, event) => {
                    go_on(thread, Some(signal).filter(|_| event == 0))?;
                    debug_assert!(event == EVENT_STOP || event == libc::PTRACE_EVENT_CLONE);
                }
                WaitStatus::Exited(pid, 0) if pid == self.pid => return Ok(false),
                WaitStatus::Signaled(pid, Signal::SIGKILL, _) if pid == self.pid => return Ok(true),
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == self.pid => {
                    return Err(io::Error::other("the process under test failed by itself"));
                }
                _ => {}
            }
        }
    }

    /// A thread is about to make a call, or back from one.
    fn at_call(&mut self, thread: Pid) -> io::Result<()> {
        match self.under_way.remove(&thread) {
            Some(None) => {}
            Some(Some(path)) => self.synced.take(&path)?,
            None if self.is_at_its_end(thread) => return Ok(kill(self.pid, Signal::SIGKILL)?),
            None => {}
        }
        go_on(thread, None)
    }

    /// Notes the call that a thread is about to make; whether it is the one that is never made.
    fn is_at_its_end(&mut self, thread: Pid) -> bool {
        let change = Call::of(thread).and_then(|call| call.change(thread));
        let inside = change.and_then(|(call, path)| {
            let path = path.strip_prefix(&self.root).ok()?.to_owned();
            Some(Point { call, path })
        });
        let synced = inside.as_ref().filter(|point| point.call.ends_with("sync"));
        self.under_way.insert(thread, synced.map(|point| self.root.join(&point.path)));
        let Some(point) = inside.filter(|point| (self.counts)(&point.path)) else { return false };
        self.points.push(point);
        Some(self.points.len() - 1) == self.kill_before
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) -> io::Result<()> {
    match ptrace::syscall(thread, signal) {
        // It is gone, or about to be.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A call to the system, as the kernel shows it.
struct Call {
    number: i64,
    arguments: [u64; 6],
}

impl Call {
    /// The one that a thread is about to make.
    fn of(thread: Pid) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
        let (number, rest) = text.split_once(' ')?;
        let mut words = rest.split(' ').map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = words.next()??;
        }
        Some(Self { number: number.parse().ok()?, arguments })
    }

    /// Its name and what it changes, where it changes a file or a folder.
    fn change(&self, thread: Pid) -> Option<(&'static str, PathBuf)> {
        let open = |at: usize| opened(thread, self.arguments[at]);
        let named =
            |folder: usize, name: usize| path_at(thread, Some(self.arguments[folder]), self.arguments[name]);
        Some(match self.number {
            libc::SYS_write => ("write", open(0)?),
            libc::SYS_writev => ("writev", open(0)?),
            libc::SYS_pwrite64 => ("pwrite", open(0)?),
            libc::SYS_pwritev => ("pwritev", open(0)?),
            libc::SYS_fsync => ("fsync", open(0)?),
            libc::SYS_fdatasync => ("fdatasync", open(0)?),
            libc::SYS_ftruncate => ("ftruncate", open(0)?),
            libc::SYS_fallocate => ("fallocate", open(0)?),
            libc::SYS_fchmod => ("fchmod", open(0)?),
            libc::SYS_openat if makes(self.arguments[2]) => ("open", named(0, 1)?),
            libc::SYS_mkdirat => ("mkdir", named(0, 1)?),
            libc::SYS_unlinkat => ("unlink", named(0, 1)?),
            libc::SYS_linkat | libc::SYS_renameat | libc::SYS_renameat2 => ("rename", named(2, 3)?),
            _ => return self.change_by_path(thread),
        })
    }

    /// The older calls, which have no folder to start from. Newer machines do not have them.
    #[cfg(target_arch = "x86_64")]
    fn change_by_path(&self, thread: Pid) -> Option<(&'static str, PathBuf)> {
        let named = |name: usize| path_at(thread, None, self.arguments[name]);
        Some(match self.number {
            libc::SYS_open if makes(self.arguments[1]) => ("open", named(0)?),
            libc::SYS_creat => ("open", named(0)?),
            libc::SYS_mkdir => ("mkdir", named(0)?),
            libc::SYS_unlink | libc::SYS_rmdir => ("unlink", named(0)?),
            libc::SYS_link | libc::SYS_rename => ("rename", named(1)?),
            libc::SYS_chmod => ("chmod", named(0)?),
            _ => return None,
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn change_by_path(&self, _: Pid) -> Option<(&'static str, PathBuf)> {
        None
    }
}

/// Whether a file that is opened so is made or emptied by it.
fn makes(flags: u64) -> bool {
    flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0
}

/// What a descriptor stands for.
fn opened(thread: Pid, descriptor: u64) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{thread}/fd/{}", descriptor as i32)).ok()
}

/// The path that is written at `address`, from the folder that is open as `folder`, or from where the process works.
fn path_at(thread: Pid, folder: Option<u64>, address: u64) -> Option<PathBuf> {
    let mut bytes = vec![0; 4096];
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let read = memory.read_at(&mut bytes, address).ok()?;
    bytes.truncate(read);
    bytes.truncate(bytes.iter().position(|byte| *byte == 0)?);
    let folder = folder.filter(|folder| *folder as i32 != libc::AT_FDCWD);
    let folder = match folder {
        Some(folder) => opened(thread, folder)?,
        None => std::fs::read_link(format!("/proc/{thread}/cwd")).ok()?,
    };
    Some(folder.join(OsString::from_vec(bytes)))
}
