//! What a link runs over: a Unix stream socket; on Windows, which has no pairs of them, a
//! connection on the loopback.

use std::io::Result;

use mio::{Interest, Registry, Token};

/// One end of a link, as it is handed in.
#[cfg(unix)]
pub type Stream = std::os::unix::net::UnixStream;
/// One end of a link, as it is handed in.
#[cfg(windows)]
pub type Stream = std::net::TcpStream;

/// A descriptor (a socket on Windows) that Python may write a byte to.
#[cfg(unix)]
pub type WakeupFd<'a> = std::os::fd::BorrowedFd<'a>;
/// A descriptor (a socket on Windows) that Python may write a byte to.
#[cfg(windows)]
pub type WakeupFd<'a> = std::os::windows::io::BorrowedSocket<'a>;

/// One end of a link, as the pump watches it.
#[cfg(unix)]
pub(super) type Watched = mio::net::UnixStream;
/// One end of a link, as the pump watches it.
#[cfg(windows)]
pub(super) type Watched = mio::net::TcpStream;

/// Two ends that are connected to each other.
///
/// # Errors
/// The system gives no more descriptors.
#[cfg(unix)]
pub fn pair() -> Result<(Stream, Stream)> {
    Stream::pair()
}

/// Two ends that are connected to each other.
///
/// # Errors
/// The system gives no more descriptors.
#[cfg(windows)]
pub fn pair() -> Result<(Stream, Stream)> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let near = Stream::connect(listener.local_addr()?)?;
    loop {
        // Anybody on this machine may connect to a port: only our own end counts.
        let (far, peer) = listener.accept()?;
        if peer == near.local_addr()? {
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            return Ok((near, far));
        }
    }
}

/// The descriptor of one end.
#[cfg(unix)]
pub fn borrow(stream: &Stream) -> WakeupFd<'_> {
    std::os::fd::AsFd::as_fd(stream)
}

/// The descriptor of one end.
#[cfg(windows)]
pub fn borrow(stream: &Stream) -> WakeupFd<'_> {
    std::os::windows::io::AsSocket::as_socket(stream)
}

pub(super) fn watch(registry: &Registry, stream: &mut Watched, token: Token) -> Result<()> {
    registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)
}

/// Ends the watch of a stream that others still hold.
#[cfg(unix)]
pub(super) fn unwatch(registry: &Registry, stream: &Watched) {
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(stream);
    // It fails only where the kernel has forgotten the socket by itself.
    registry.deregister(&mut mio::unix::SourceFd(&descriptor)).ok();
}

/// Windows watches until the stream is dropped; nobody looks up its token any more.
#[cfg(windows)]
pub(super) fn unwatch(_registry: &Registry, _stream: &Watched) {}
