//! Lets lapin speak over a connection that was opened by us, so that TLS is the same for all.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::inbox::Inbox;
use super::link::Fault;
use super::tap::Tap;
use crate::broker::dial::Wire;
use crate::runtime::{self, Beats};
use crate::time::Deadline;

/// Greets a server over an open connection, whose deliveries go into `inbox` where there is one.
pub(super) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    wire: Box<dyn Wire>,
    inbox: Option<Arc<Inbox>>,
) -> Result<Connection, Fault> {
    let sockets = Sockets {
        tokio: Tokio::current(),
        handle: Handle::current(),
        beats: runtime::beats(),
        may_be_late: Arc::default(),
    };
    let may_be_late = Arc::clone(&sockets.may_be_late);
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), sockets));
    let wire = match inbox {
        Some(inbox) => Box::new(Tap::on(wire, inbox)),
        None => wire,
    };
    let wire = Mutex::new(Some(wire.compat()));
    let hand_over = async move |_: AMQPUri, _: Runtime<RuntimeParts<Tokio, Sockets>>| match wire.lock().take()
    {
        Some(wire) => Ok(AsyncTcpStream::Plain(wire)),
        // lapin would dial a second time; who lost the connection does that here.
        None => Err(lapin::Error::from(io::Error::from(
            io::ErrorKind::ConnectionAborted,
        ))),
    };
    let connection = Connection::connector(uri, runtime, hand_over, properties).await?;
    let heartbeat = Duration::from_secs(u64::from(connection.configuration().heartbeat()));
    may_be_late.store(heartbeat > LONG_HEARTBEAT, Ordering::Relaxed);
    Ok(connection)
}

/// With one above this a heartbeat may be sent a beat late: lapin sends two in the time after which the server
/// expects one, and the server waits for twice that time.
const LONG_HEARTBEAT: Duration = Duration::from_secs(4);

/// Tokio's clock, and sockets of any kind.
#[derive(Clone, Debug)]
struct Sockets {
    tokio: Tokio,
    handle: Handle,
    beats: Beats,
    /// Whether all that lapin waits for now are heartbeats, of which those of all connections go together.
    may_be_late: Arc<AtomicBool>,
}

impl Reactor for Sockets {
    type TcpStream = Compat<Box<dyn Wire>>;
    type Sleep = tokio::time::Sleep;

    // lapin registers nothing, and takes no connection but the one handed over.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl futures_util::AsyncRead + futures_util::AsyncWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        let _entered = self.handle.enter();
        let end = if self.may_be_late.load(Ordering::Relaxed) {
            self.beats.after(duration)
        } else {
            Deadline::after(duration)
        };
        tokio::time::sleep_until(end.instant().into())
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::Error::from(io::ErrorKind::Unsupported)))
    }
}
