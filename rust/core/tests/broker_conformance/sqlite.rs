//! The suite on SQLite.

use celeriac_core::broker::Verdict;
use celeriac_core::broker::url::BrokerUrl;

use crate::stage::{Fixture, Stage, bodies, reserve, settle};

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

#[test]
fn a_lease_in_a_deleted_file_settles_nothing_in_the_one_that_takes_its_place() {
    let stage = Stage::<Sqlite>::set();
    stage.publish("q", &["old"]);
    let consumer = stage.consumer(&["q"]);
    let old = reserve(&*consumer, 1);
    for ending in ["", "-wal", "-shm"] {
        let name = format!("queue.db{ending}");
        std::fs::remove_file(stage.fixture.folder.path().join(name)).unwrap();
    }
    // Its id is the old one's.
    stage.publish("q", &["new"]);
    let new = reserve(&*consumer, 1);
    assert_eq!(bodies(&new), ["new"]);
    settle(&*consumer, old, &Verdict::Ack);
    settle(&*consumer, new, &Verdict::Requeue);
    assert_eq!(bodies(&reserve(&*consumer, 1)), ["new"]);
}
