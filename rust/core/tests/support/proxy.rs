//! A wire between a test and its server that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Forwards bytes both ways; [`Proxy::cut`] breaks what is open, new connections pass.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    muted: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (server, kept) = (server.to_owned(), Arc::clone(&open));
        let (muted, opened) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (before, numbers) = (Arc::clone(&muted), Arc::clone(&opened));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, upstream) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                for stream in [&client, &upstream] {
                    stream.set_nodelay(true).unwrap();
                    kept.lock().unwrap().push(stream.try_clone().unwrap());
                }
                let number = numbers.fetch_add(1, Ordering::SeqCst);
                let (there, back) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                forward(there, back, number, Arc::clone(&before));
                forward(upstream, client, number, Arc::clone(&before));
            }
        });
        Self {
            port,
            open,
            muted,
            opened,
        }
    }

    /// Breaks every open connection.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _gone_already = stream.shutdown(Shutdown::Both).is_err();
        }
    }

    /// Lets nothing pass any more, either way, on what is open; nobody is told.
    pub(crate) fn mute(&self) {
        let opened = self.opened.load(Ordering::SeqCst);
        self.muted.store(opened, Ordering::SeqCst);
    }

    /// Says something to the clients as if the server had; only while that is silent.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        for client in self.open.lock().unwrap().iter_mut().step_by(2) {
            client.write_all(bytes).unwrap();
        }
    }

    /// How many connections were opened and not cut.
    pub(crate) fn connections(&self) -> usize {
        self.open.lock().unwrap().len() / 2
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, number: usize, muted: Arc<AtomicUsize>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if number < muted.load(Ordering::SeqCst) {
                continue;
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _gone_already = to.shutdown(Shutdown::Both).is_err();
    });
}
