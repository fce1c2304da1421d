//! Raw values of the store's name space.

use bytes::Bytes;

use crate::stage::{Fixture, SUCCESS, eventually, get, put, soon};

const KEY: &str = "celery-taskset-meta-group";

pub(crate) fn a_raw_value_is_stored_read_and_deleted<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    let every_byte: Bytes = (0..=u8::MAX).collect();
    assert_eq!(store.get_raw(KEY, soon()).unwrap(), None);
    store
        .put_raw(KEY, Bytes::from_static(b"old"), None, soon())
        .unwrap();
    store.put_raw(KEY, every_byte.clone(), Some(60), soon()).unwrap();
    assert_eq!(store.get_raw(KEY, soon()).unwrap(), Some(every_byte));
    store.forget_raw(KEY, soon()).unwrap();
    assert_eq!(store.get_raw(KEY, soon()).unwrap(), None);
}

pub(crate) fn raw_values_and_documents_are_apart<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    put(&*store, "group", SUCCESS);
    store
        .put_raw(KEY, Bytes::from_static(b"raw"), None, soon())
        .unwrap();
    store.forget("group", soon()).unwrap();
    assert_eq!(store.get_raw(KEY, soon()).unwrap().unwrap(), "raw");
    assert_eq!(get(&*store, "group"), None);
}

pub(crate) fn a_raw_value_expires<F: Fixture>() {
    let fixture = F::fresh();
    let store = fixture.open();
    store
        .put_raw(KEY, Bytes::from_static(b"raw"), Some(1), soon())
        .unwrap();
    assert!(store.get_raw(KEY, soon()).unwrap().is_some());
    eventually(|| store.get_raw(KEY, soon()).unwrap().is_none());
}
