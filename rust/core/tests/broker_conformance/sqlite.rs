//! The suite on SQLite.

use celeriac_core::broker::url::BrokerUrl;

use crate::stage::Fixture;

pub(crate) struct Sqlite {
    folder: tempfile::TempDir,
}

impl Fixture for Sqlite {
    fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn url(&self) -> BrokerUrl {
        let path = self.folder.path().join("queue.db");
        let raw = format!("sqlite:///{}?lease_timeout=1&poll_interval=15", path.display());
        BrokerUrl::parse(&raw, Vec::new()).unwrap()
    }
}

conformance!(Sqlite);
conformance_of_stores!(Sqlite);
