//! A Redis of one test's own: nobody else's tests add to its commands, and it may be killed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use celeriac_core::broker::url::BrokerUrl;
use celeriac_core::time::Deadline;

/// Ends with the test.
pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        Self {
            process: run(port, &folder),
            port,
            folder,
        }
    }

    /// Kills it, and starts it again on its data.
    pub(crate) fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = run(self.port, &self.folder);
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        let deadline = Deadline::after(Duration::from_secs(20));
        loop {
            let client = redis::Client::open(format!("redis://127.0.0.1:{}/0", self.port)).unwrap();
            match client.get_connection() {
                Ok(connection) => return connection,
                Err(error) => assert!(!deadline.has_passed(), "{error}"),
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn url(&self) -> BrokerUrl {
        BrokerUrl::parse(&format!("redis://127.0.0.1:{}/0", self.port), Vec::new()).unwrap()
    }
}

fn run(port: u16, folder: &tempfile::TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--dir"])
        .arg(folder.path())
        .args(["--appendonly", "yes"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
