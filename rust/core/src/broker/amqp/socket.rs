//! Lets lapin speak over a connection that was opened by us, so that TLS is the same for all.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use parking_lot::Mutex;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::inbox::Inbox;
use super::link::Fault;
use super::tap::Tap;
use crate::broker::dial::Wire;

/// Greets a server over an open connection, whose deliveries go into `inbox` where there is one.
pub(super) async fn connect(
    uri: AMQPUri,
    properties: ConnectionProperties,
    wire: Box<dyn Wire>,
    inbox: Option<Arc<Inbox>>,
) -> Result<Connection, Fault> {
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), Sockets(Tokio::current())));
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
    Ok(Connection::connector(uri, runtime, hand_over, properties).await?)
}

/// Tokio's clock, and sockets of any kind.
#[derive(Clone, Debug)]
struct Sockets(Tokio);

impl Reactor for Sockets {
    type TcpStream = Compat<Box<dyn Wire>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    // lapin registers nothing, and takes no connection but the one handed over.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl futures_util::AsyncRead + futures_util::AsyncWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::Error::from(io::ErrorKind::Unsupported)))
    }
}
