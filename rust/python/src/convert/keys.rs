//! Short keys that repeat within one document are made once.

use pyo3::prelude::*;
use pyo3::types::PyString;

/// Longer keys are rarely repeated.
const MAX_KEY_BYTES: usize = 32;
/// A power of two; one slot for each hash.
const SLOTS: usize = 64;

/// The keys made for one document. Direct-mapped: a collision replaces.
#[derive(Debug, Default)]
pub(super) struct KeyCache<'py> {
    /// Empty until the first key, so that a document without objects allocates nothing.
    slots: Vec<Option<Bound<'py, PyString>>>,
}

impl<'py> KeyCache<'py> {
    /// The key as a Python string.
    pub(super) fn text(&mut self, py: Python<'py>, key: &str) -> Bound<'py, PyString> {
        if key.len() > MAX_KEY_BYTES {
            return PyString::new(py, key);
        }
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let index = slot_of(key.as_bytes());
        let Some(slot) = self.slots.get_mut(index) else {
            return PyString::new(py, key);
        };
        match slot {
            Some(kept) if kept.to_str().is_ok_and(|text| text == key) => kept.clone(),
            _ => slot.insert(PyString::new(py, key)).clone(),
        }
    }
}

/// FNV-1a over the bytes, folded into the table.
fn slot_of(key: &[u8]) -> usize {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    usize::from(hash.to_le_bytes()[1] ^ hash.to_le_bytes()[3]) % SLOTS
}
