//! Taking a file descriptor over from Python. The only file of this crate with `unsafe` in it:
//! the standard library has no other way from a number to an owned descriptor.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// The Unix stream socket that `fd` names. Its caller gives it up (`socket.detach()`).
pub(crate) fn stream_of(fd: i32) -> PyResult<UnixStream> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!("{fd} is no file descriptor")));
    }
    // SAFETY: not -1, and borrowed for two system calls only, which refuse a closed descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let kind = socket_domain(borrowed).and_then(|domain| Ok((domain, socket_type(borrowed)?)));
    let kind = kind.map_err(|errno| PyOSError::new_err((errno.raw_os_error(), errno.to_string())))?;
    if kind != (AddressFamily::UNIX, SocketType::STREAM) {
        return Err(PyValueError::new_err(format!(
            "descriptor {fd} is no Unix stream socket"
        )));
    }
    // SAFETY: it is open (just seen), and the FFI's contract says that its owner gave it up, so
    // that nobody else closes it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(UnixStream::from(owned))
}
