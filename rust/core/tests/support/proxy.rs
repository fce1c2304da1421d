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
    unanswered: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (server, kept) = (server.to_owned(), Arc::clone(&open));
        let (muted, opened) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let unanswered = Arc::new(AtomicUsize::new(usize::MAX));
        let (before, numbers) = (Arc::clone(&muted), Arc::clone(&opened));
        let without = Arc::clone(&unanswered);
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
                let (muted, silent) = (Arc::clone(&before), Arc::clone(&without));
                forward(there, back, move || number < muted.load(Ordering::SeqCst));
                let muted = Arc::clone(&before);
                forward(upstream, client, move || {
                    number < muted.load(Ordering::SeqCst) || number == silent.load(Ordering::SeqCst)
                });
            }
        });
        Self {
            port,
            open,
            muted,
            unanswered,
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

    /// Lets no answer pass any more on the connection that was opened last; what is asked there passes.
    pub(crate) fn lose_answers_of_the_last(&self) {
        let last = self.opened.load(Ordering::SeqCst) - 1;
        self.unanswered.store(last, Ordering::SeqCst);
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

fn forward(mut from: TcpStream, mut to: TcpStream, is_lost: impl Fn() -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if is_lost() {
                continue;
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _gone_already = to.shutdown(Shutdown::Both).is_err();
    });
}
