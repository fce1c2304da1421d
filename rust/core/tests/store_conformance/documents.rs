//! Documents by task id.

use bytes::Bytes;
use celeriac_core::backend::Put;

use crate::stage::{FAILURE, Fixture, STARTED, SUCCESS, document, eventually, get, put, soon};

pub(crate) fn a_document_is_read_as_it_was_stored<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    assert_eq!(get(&*store, "a"), None);
    put(&*store, "a", SUCCESS);
    assert_eq!(get(&*store, "a").unwrap(), SUCCESS);
    assert_eq!(get(&*fixture.open(), "a").unwrap(), SUCCESS);
    assert_eq!(get(&*store, "b"), None);
}

pub(crate) fn a_later_document_replaces_an_earlier_one<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let puts = [STARTED, FAILURE, SUCCESS].map(|content| document("a", content));
    store.put(puts[..2].to_vec(), soon()).unwrap();
    assert_eq!(get(&*store, "a").unwrap(), FAILURE);
    store.put(puts[2..].to_vec(), soon()).unwrap();
    assert_eq!(get(&*store, "a").unwrap(), SUCCESS);
}

pub(crate) fn a_success_is_never_overwritten<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    for content in [SUCCESS, FAILURE, STARTED] {
        put(&*store, "a", content);
    }
    assert_eq!(get(&*store, "a").unwrap(), SUCCESS);
    let in_one_batch = [SUCCESS, FAILURE].map(|content| document("b", content));
    store.put(in_one_batch.to_vec(), soon()).unwrap();
    assert_eq!(get(&*store, "b").unwrap(), SUCCESS);
}

pub(crate) fn many_documents_come_in_the_order_of_their_ids<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "a", STARTED);
    put(&*store, "b", SUCCESS);
    let ids = ["b", "missing", "a", "b"].map(str::to_owned);
    let found = store.get_many(&ids, soon()).unwrap();
    let expected = [Some(SUCCESS), None, Some(STARTED), Some(SUCCESS)];
    assert_eq!(found, expected.map(|content| content.map(Bytes::from)));
    assert!(store.get_many(&[], soon()).unwrap().is_empty());
}

pub(crate) fn a_forgotten_document_is_gone<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "a", SUCCESS);
    put(&*store, "b", SUCCESS);
    store.forget("a", soon()).unwrap();
    store.forget("never stored", soon()).unwrap();
    assert_eq!(get(&*store, "a"), None);
    assert_eq!(get(&*store, "b").unwrap(), SUCCESS);
    // Nothing of the old success stands in the way.
    put(&*store, "a", FAILURE);
    assert_eq!(get(&*store, "a").unwrap(), FAILURE);
}

pub(crate) fn a_document_expires<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let short = Put {
        expires_s: Some(1),
        ..document("a", SUCCESS)
    };
    store.put(vec![short], soon()).unwrap();
    assert_eq!(get(&*store, "a").unwrap(), SUCCESS);
    eventually(|| get(&*store, "a").is_none());
    put(&*store, "a", FAILURE);
    assert_eq!(get(&*store, "a").unwrap(), FAILURE);
}

pub(crate) fn a_document_without_expiry_stays<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let eternal = Put {
        expires_s: None,
        ..document("a", SUCCESS)
    };
    let short = Put {
        expires_s: Some(1),
        ..document("b", SUCCESS)
    };
    store.put(vec![eternal, short], soon()).unwrap();
    eventually(|| get(&*store, "b").is_none());
    assert_eq!(get(&*store, "a").unwrap(), SUCCESS);
}

pub(crate) fn cleanup_keeps_what_lives<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "a", SUCCESS);
    let short = Put {
        expires_s: Some(1),
        ..document("b", SUCCESS)
    };
    store.put(vec![short], soon()).unwrap();
    eventually(|| get(&*store, "b").is_none());
    store.cleanup(soon()).unwrap();
    assert_eq!(store.cleanup(soon()).unwrap(), 0);
    assert_eq!(get(&*store, "a").unwrap(), SUCCESS);
}

pub(crate) fn a_big_binary_document_is_read_whole<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let content: Bytes = (0..3 << 20).map(|index: usize| index.to_le_bytes()[0]).collect();
    let big = Put {
        document: content.clone(),
        ..document("a", SUCCESS)
    };
    store.put(vec![big], soon()).unwrap();
    assert!(
        store.get("a", soon()).unwrap() == Some(content),
        "the document changed"
    );
}
