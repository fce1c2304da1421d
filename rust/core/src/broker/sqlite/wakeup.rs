//! Rings at other processes: a datagram socket of each, in a folder beside the database.
//!
//! A datagram carries hashes of the names it is about (queues, results); who hears it looks into
//! the database. An empty one means "look at everything". A lost one costs a poll interval.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::time::Clock;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
/// More names than that are "everything".
const MAX_HASHES: usize = 256;
/// The kernel queues as few as ten datagrams a socket and drops the rest: after so many, look at everything.
const MAX_DATAGRAMS: usize = 8;
/// Files' times come from a clock that ticks every 10 ms or so.
const COARSE_CLOCK_MS: u64 = 50;

/// Who is rung at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Consumers, about queues.
    Consumers,
    /// Those who wait for results, about task ids.
    Waiters,
    /// Mailboxes, about themselves.
    Mailboxes,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Consumers => "c-",
            Self::Waiters => "r-",
            Self::Mailboxes => "m-",
        }
    }
}

/// What was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Something that names nothing: look at everything.
    pub(crate) all: bool,
    /// Hashes of what was named.
    pub(crate) hashes: Vec<u64>,
}

/// FNV-1a: short, and the same in every process and version.
pub(crate) fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A socket of ours that others ring at.
#[derive(Debug)]
pub(crate) struct Ear {
    poll: Mutex<Poll>,
    waker: Waker,
    socket: socket::Listening,
    path: PathBuf,
    name: String,
}

impl Ear {
    /// Binds a socket in the folder of `bell`.
    ///
    /// # Errors
    /// [`Error::Storage`]: the system refuses.
    pub(crate) fn bind(bell: &Bell, kind: Kind) -> Result<Self> {
        let name = format!(
            "{}{}-{}",
            kind.prefix(),
            std::process::id(),
            uuid::Uuid::new_v4().simple()
        );
        Self::try_bind(bell, &name).map_err(|error| Error::Storage {
            path: bell.folder.path.join(name).display().to_string(),
            cause: format!("cannot bind the wake-up socket: {error}"),
            passing: false,
        })
    }

    fn try_bind(bell: &Bell, name: &str) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut socket = socket::bind(&bell.folder, name)?;
        poll.registry()
            .register(&mut socket, SOCKET, Interest::READABLE)?;
        Ok(Self {
            poll: Mutex::new(poll),
            waker,
            socket,
            path: bell.folder.path.join(name),
            name: name.to_owned(),
        })
    }

    /// The socket's name, for [`Bell::is_alive`].
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Ends a wait of this process.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "a waiting thread could not be woken; it wakes at its next poll");
        }
    }

    /// Waits for a ring or a wake, and takes what was heard. One thread at a time.
    pub(crate) fn wait(&self, longest: Duration) -> Heard {
        let mut events = Events::with_capacity(4);
        let waited = self.poll.lock().poll(&mut events, Some(longest));
        let mut heard = Heard::default();
        if let Err(error) = waited
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::warn!(%error, "waiting for a ring failed");
            heard.all = true;
        }
        self.drain(&mut heard);
        heard
    }

    fn drain(&self, heard: &mut Heard) {
        let mut buffer = [0; MAX_HASHES * 8];
        let mut datagrams = 0;
        while let Ok(size) = self.socket.recv(&mut buffer) {
            datagrams += 1;
            let (hashes, _) = buffer[..size].as_chunks::<8>();
            heard
                .hashes
                .extend(hashes.iter().map(|hash| u64::from_le_bytes(*hash)));
            heard.all |= size == 0 || datagrams > MAX_DATAGRAMS;
            if heard.all {
                heard.hashes.clear();
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, path = %path.display(), "a wake-up socket could not be removed");
    }
}

/// The folder of the sockets.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Keeps the folder at hand where its path is too long for a socket's address.
    #[cfg(target_os = "linux")]
    open: Option<fs::File>,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            open: fs::File::open(&path).ok(),
            path,
        }
    }
}

/// Rings at the sockets of a folder.
#[derive(Debug)]
pub(crate) struct Bell {
    folder: Folder,
    clock: Arc<dyn Clock>,
    sender: Mutex<Option<socket::Sending>>,
    listing: Mutex<Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    /// The folder's time when it was read, if nothing can have changed within its tick.
    changed_ms: Option<u64>,
    names: Arc<Vec<String>>,
}

impl Bell {
    pub(crate) fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            folder: Folder::new(folder),
            clock,
            sender: Mutex::new(None),
            listing: Mutex::default(),
        }
    }

    /// Rings about `names`; about everything when there are too many of them.
    pub(crate) fn ring<'a>(&self, kind: Kind, names: impl Iterator<Item = &'a str>) {
        let mut hashes: Vec<u64> = names.map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.is_empty() {
            return;
        }
        if hashes.len() > MAX_HASHES {
            hashes.clear();
        }
        self.send(kind, &hashes);
    }

    /// Rings about everything.
    pub(crate) fn ring_all(&self, kind: Kind) {
        self.send(kind, &[]);
    }

    fn send(&self, kind: Kind, hashes: &[u64]) {
        let payload: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        let names = self.names();
        let mut sender = self.sender.lock();
        for name in names.iter().filter(|name| name.starts_with(kind.prefix())) {
            let is_dead = socket::send(&mut sender, &self.folder, name, &payload) == Liveness::Dead;
            // A dead consumer's socket stays until somebody has taken its messages over.
            if is_dead && kind == Kind::Waiters {
                remove(&self.folder.path.join(name));
            }
        }
    }

    fn names(&self) -> Arc<Vec<String>> {
        let mut listing = self.listing.lock();
        let changed_ms = self.changed_ms();
        if changed_ms.is_none() || listing.changed_ms != changed_ms {
            let is_settled =
                |changed_ms: &u64| self.clock.unix_ms().saturating_sub(*changed_ms) > COARSE_CLOCK_MS;
            listing.changed_ms = changed_ms.filter(is_settled);
            listing.names = Arc::new(self.list());
        }
        Arc::clone(&listing.names)
    }

    fn changed_ms(&self) -> Option<u64> {
        let changed = fs::metadata(&self.folder.path).ok()?.modified().ok()?;
        u64::try_from(changed.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    }

    fn list(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder.path).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Whether the process that bound a socket lives.
    pub(crate) fn is_alive(&self, name: &str) -> Liveness {
        socket::liveness(&self.folder, name)
    }

    /// Whether nobody reads from a socket any more: its process is dead, or has removed it.
    pub(crate) fn is_gone(&self, name: &str) -> bool {
        self.is_alive(name) == Liveness::Dead || !self.folder.path.join(name).exists()
    }

    /// Removes the socket of a dead process.
    pub(crate) fn forget(&self, name: &str) {
        remove(&self.folder.path.join(name));
    }

    /// Removes dead processes' sockets, except those named in `kept`.
    pub(crate) fn sweep(&self, kept: &[String]) {
        for name in self.list() {
            if !kept.contains(&name) && self.is_alive(&name) == Liveness::Dead {
                self.forget(&name);
            }
        }
    }
}

/// What a socket says about the process that bound it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// It has the socket open.
    Alive,
    /// It has closed the socket, so it is dead.
    Dead,
    /// The socket is not there, or does not say.
    Unknown,
}

#[cfg(unix)]
mod socket {
    //! Unix datagram sockets.

    use std::io;
    use std::os::unix::net::UnixDatagram;
    use std::path::PathBuf;

    use super::{Folder, Liveness};

    pub(super) type Listening = mio::net::UnixDatagram;
    pub(super) type Sending = UnixDatagram;

    /// `sun_path` holds 108 bytes on Linux and 104 elsewhere, with a zero at the end.
    #[cfg(target_os = "linux")]
    const LONGEST_PATH: usize = 100;

    #[cfg(target_os = "linux")]
    fn address(folder: &Folder, name: &str) -> PathBuf {
        use std::os::fd::AsRawFd;
        let path = folder.path.join(name);
        match &folder.open {
            Some(open) if path.as_os_str().len() > LONGEST_PATH => {
                PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd()))
            }
            _ => path,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn address(folder: &Folder, name: &str) -> PathBuf {
        folder.path.join(name)
    }

    pub(super) fn bind(folder: &Folder, name: &str) -> io::Result<Listening> {
        Listening::bind(address(folder, name))
    }

    pub(super) fn send(
        sender: &mut Option<Sending>,
        folder: &Folder,
        name: &str,
        payload: &[u8],
    ) -> Liveness {
        let Ok(sender) = open(sender) else {
            return Liveness::Unknown;
        };
        judge(sender.send_to(payload, address(folder, name)).map(drop))
    }

    fn open(sender: &mut Option<Sending>) -> io::Result<&Sending> {
        let socket = match sender.take() {
            Some(socket) => socket,
            None => unbound()?,
        };
        Ok(sender.insert(socket))
    }

    fn unbound() -> io::Result<Sending> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    pub(super) fn liveness(folder: &Folder, name: &str) -> Liveness {
        judge(unbound().and_then(|socket| socket.connect(address(folder, name))))
    }

    fn judge(outcome: io::Result<()>) -> Liveness {
        match outcome.map_err(|error| error.kind()) {
            // A full socket is one whose process has not read for a while.
            Ok(()) | Err(io::ErrorKind::WouldBlock) => Liveness::Alive,
            Err(io::ErrorKind::ConnectionRefused) => Liveness::Dead,
            Err(_) => Liveness::Unknown,
        }
    }
}

#[cfg(not(unix))]
mod socket {
    //! Loopback UDP; a file of the socket's name holds the port. It never tells who is dead.

    use std::fs;
    use std::io;
    use std::net::{Ipv4Addr, UdpSocket};

    use super::{Folder, Liveness};

    pub(super) type Listening = mio::net::UdpSocket;
    pub(super) type Sending = UdpSocket;

    pub(super) fn bind(folder: &Folder, name: &str) -> io::Result<Listening> {
        let socket = Listening::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        fs::write(folder.path.join(name), socket.local_addr()?.port().to_string())?;
        Ok(socket)
    }

    pub(super) fn send(
        sender: &mut Option<Sending>,
        folder: &Folder,
        name: &str,
        payload: &[u8],
    ) -> Liveness {
        if sender.is_none() {
            *sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok();
        }
        let port = fs::read_to_string(folder.path.join(name))
            .ok()
            .and_then(|text| text.parse::<u16>().ok());
        if let (Some(sender), Some(port)) = (sender, port)
            && let Err(error) = sender.send_to(payload, (Ipv4Addr::LOCALHOST, port))
        {
            tracing::debug!(%error, "a ring was lost");
        }
        Liveness::Unknown
    }

    pub(super) fn liveness(_folder: &Folder, _name: &str) -> Liveness {
        Liveness::Unknown
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::time::SystemClock;

    const LONG: Duration = Duration::from_secs(10);

    fn bell(folder: &Path) -> Bell {
        Bell::new(folder.to_owned(), SystemClock::shared())
    }

    #[test]
    fn a_ring_is_heard_by_its_kind_with_the_names() {
        let folder = tempfile::tempdir().unwrap();
        let bell = bell(folder.path());
        let consumer = Ear::bind(&bell, Kind::Consumers).unwrap();
        let waiter = Ear::bind(&bell, Kind::Waiters).unwrap();
        bell.ring(Kind::Consumers, ["celery", "celery"].into_iter());
        assert_eq!(consumer.wait(LONG).hashes, [hash("celery")]);
        assert_eq!(waiter.wait(Duration::ZERO), Heard::default());
    }

    #[test]
    fn a_ring_about_very_much_is_about_everything() {
        let folder = tempfile::tempdir().unwrap();
        let bell = bell(folder.path());
        let ear = Ear::bind(&bell, Kind::Waiters).unwrap();
        let names: Vec<String> = (0..=MAX_HASHES).map(|number| number.to_string()).collect();
        bell.ring(Kind::Waiters, names.iter().map(String::as_str));
        assert!(ear.wait(LONG).all);
    }

    #[test]
    fn many_rings_are_about_everything_since_some_may_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        let bell = bell(folder.path());
        let ear = Ear::bind(&bell, Kind::Waiters).unwrap();
        for number in 0..=MAX_DATAGRAMS {
            bell.ring(Kind::Waiters, [number.to_string().as_str()].into_iter());
        }
        assert!(ear.wait(LONG).all);
    }

    #[test]
    fn a_closed_socket_tells_that_its_process_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let bell = bell(folder.path());
        let ear = Ear::bind(&bell, Kind::Consumers).unwrap();
        assert_eq!(bell.is_alive(ear.name()), Liveness::Alive);
        drop(std::os::unix::net::UnixDatagram::bind(folder.path().join("c-dead")).unwrap());
        assert_eq!(bell.is_alive("c-dead"), Liveness::Dead);
        bell.sweep(&["c-dead".to_owned()]);
        assert_eq!(bell.is_alive("c-dead"), Liveness::Dead);
        bell.sweep(&[]);
        assert_eq!(bell.is_alive("c-dead"), Liveness::Unknown);
        assert_eq!(bell.is_alive(ear.name()), Liveness::Alive);
    }

    #[test]
    fn a_path_too_long_for_an_address_is_reached_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let bell = bell(&deep);
        let ear = Ear::bind(&bell, Kind::Consumers).unwrap();
        bell.ring_all(Kind::Consumers);
        assert!(ear.wait(LONG).all);
    }

    #[test]
    fn a_wake_ends_a_wait_without_a_ring() {
        let folder = tempfile::tempdir().unwrap();
        let ear = Ear::bind(&bell(folder.path()), Kind::Consumers).unwrap();
        ear.wake();
        assert_eq!(ear.wait(LONG), Heard::default());
    }
}
