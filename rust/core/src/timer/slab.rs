//! Entries in reusable places, linked into lists by index: the wheel's storage.

/// Names an entry until it fires or is cancelled. A key that outlived its entry finds nothing:
/// the place may be used again, its generation is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: usize,
    generation: u64,
}

/// Position of an entry, or of none.
pub(super) type Link = Option<usize>;

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) due_tick: u64,
    /// Counts insertions: what is due at one tick fires in this order.
    pub(super) order: u64,
    /// The list this entry is in.
    pub(super) list: usize,
    pub(super) previous: Link,
    pub(super) next: Link,
    pub(super) value: T,
}

#[derive(Debug)]
struct Place<T> {
    generation: u64,
    entry: Option<Entry<T>>,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, entry: Entry<T>) -> Key {
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index)
        {
            place.entry = Some(entry);
            return Key {
                index,
                generation: place.generation,
            };
        }
        self.places.push(Place {
            generation: 0,
            entry: Some(entry),
        });
        Key {
            index: self.places.len() - 1,
            generation: 0,
        }
    }

    /// Where the entry of `key` is, if it is still there.
    pub(super) fn find(&self, key: Key) -> Link {
        let place = self.places.get(key.index)?;
        (place.generation == key.generation && place.entry.is_some()).then_some(key.index)
    }

    pub(super) fn entry(&self, index: usize) -> Option<&Entry<T>> {
        self.places.get(index)?.entry.as_ref()
    }

    pub(super) fn entry_mut(&mut self, index: usize) -> Option<&mut Entry<T>> {
        self.places.get_mut(index)?.entry.as_mut()
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Entry<T>> {
        let place = self.places.get_mut(index)?;
        let entry = place.entry.take()?;
        place.generation += 1;
        self.free.push(index);
        Some(entry)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.places.iter().filter_map(|place| place.entry.as_ref())
    }

    pub(super) fn key_at(&self, index: usize) -> Option<Key> {
        let place = self.places.get(index)?;
        place.entry.as_ref().map(|_| Key {
            index,
            generation: place.generation,
        })
    }
}
