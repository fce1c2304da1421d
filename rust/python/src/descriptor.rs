//! Descriptors between Python and Rust. The only file of this crate with `unsafe` in it: the
//! standard library has no other way from a number to an owned descriptor.

use celeriac_core::links::{Stream, WakeupFd};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// The Unix stream socket that `fd` names. Its caller gives it up (`socket.detach()`).
#[cfg(unix)]
pub(crate) fn stream_of(fd: i64) -> PyResult<Stream> {
    use rustix::net::{AddressFamily, SocketType, getsockname, sockopt::socket_type};
    use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

    let none = || PyValueError::new_err(format!("{fd} is no file descriptor"));
    let number = i32::try_from(fd)
        .ok()
        .filter(|number| *number >= 0)
        .ok_or_else(none)?;
    // SAFETY: not -1, and borrowed for two system calls only, which refuse a closed descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let kind = getsockname(borrowed).and_then(|name| Ok((name.address_family(), socket_type(borrowed)?)));
    let kind = kind.map_err(|errno| PyOSError::new_err((errno.raw_os_error(), errno.to_string())))?;
    if kind != (AddressFamily::UNIX, SocketType::STREAM) {
        return Err(PyValueError::new_err(format!(
            "descriptor {fd} is no Unix stream socket"
        )));
    }
    // SAFETY: it is open (just seen), and the FFI's contract says that its owner gave it up, so
    // that nobody else closes it.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(Stream::from(owned))
}

/// The connected stream socket that `fd` names. Its caller gives it up (`socket.detach()`).
#[cfg(windows)]
pub(crate) fn stream_of(fd: i64) -> PyResult<Stream> {
    use std::os::windows::io::{FromRawSocket, OwnedSocket, RawSocket};

    let number = RawSocket::try_from(fd).map_err(|_| PyValueError::new_err(format!("{fd} is no socket")))?;
    // SAFETY: the FFI's contract says that its owner gave it up, so that nobody else closes it.
    let stream = Stream::from(unsafe { OwnedSocket::from_raw_socket(number) });
    match stream.peer_addr() {
        Ok(_) => Ok(stream),
        Err(error) => Err(PyOSError::new_err(error.to_string())),
    }
}

/// The number of a descriptor for Python, which keeps no longer than its owner.
#[cfg(unix)]
pub(crate) fn number_of(fd: WakeupFd<'_>) -> i64 {
    std::os::fd::AsRawFd::as_raw_fd(&fd).into()
}

/// The number of a socket for Python, which keeps no longer than its owner.
#[cfg(windows)]
pub(crate) fn number_of(fd: WakeupFd<'_>) -> i64 {
    i64::try_from(std::os::windows::io::AsRawSocket::as_raw_socket(&fd)).unwrap_or(-1)
}
