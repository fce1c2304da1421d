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
        let options = vec![("poll_interval_s".to_owned(), "15".to_owned())];
        BrokerUrl::parse(&format!("sqlite:///{}", path.display()), options).unwrap()
    }
}

conformance!(Sqlite);
