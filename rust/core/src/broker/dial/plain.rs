//! Connections that a thread waits on by itself.

use std::io::{self, Read, Write};
use std::time::Duration;

/// How long a read or a write waits before its thread may look at something else.
const SLICE: Duration = Duration::from_millis(50);

/// A stream whose reads and writes end after 50 ms, with or without having moved anything.
pub(crate) trait BlockingWire: Read + Write + Send + std::fmt::Debug {
    /// Has reads and writes wait, or not.
    ///
    /// # Errors
    /// The socket is of no use any more.
    fn set_waits(&self, waits: bool) -> io::Result<()>;
}

impl BlockingWire for std::net::TcpStream {
    fn set_waits(&self, waits: bool) -> io::Result<()> {
        self.set_nonblocking(!waits)?;
        self.set_read_timeout(Some(SLICE))?;
        self.set_write_timeout(Some(SLICE))
    }
}

#[cfg(unix)]
impl BlockingWire for std::os::unix::net::UnixStream {
    fn set_waits(&self, waits: bool) -> io::Result<()> {
        self.set_nonblocking(!waits)?;
        self.set_read_timeout(Some(SLICE))?;
        self.set_write_timeout(Some(SLICE))
    }
}
