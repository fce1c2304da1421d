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
        let options = [("lease_s", "1"), ("poll_interval_s", "15")];
        let options = options.map(|(name, json)| (name.to_owned(), json.to_owned()));
        BrokerUrl::parse(&format!("sqlite:///{}", path.display()), options.into()).unwrap()
    }
}

conformance!(Sqlite);
