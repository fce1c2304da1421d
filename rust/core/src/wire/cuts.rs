//! Memory for small envelopes: cut from larger pieces.
//!
//! A message is made on one thread and dropped on another. For pieces of its size the system's
//! allocator takes a lock each time then; a piece for a dozen of them is asked for once.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// How large a piece is. It stays while any of its messages does.
const PIECE: usize = 16 << 10;
/// From this size on, bytes have memory of their own.
const LARGE: usize = PIECE / 4;

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

#[derive(Default)]
struct Desk {
    draft: Vec<u8>,
    piece: BytesMut,
}

/// What `write` appends to an empty vector of some `expected` bytes, and what it returns.
pub(super) fn cut<T>(expected: usize, write: impl FnOnce(&mut Vec<u8>) -> T) -> (Bytes, T) {
    DESK.with(|desk| match desk.try_borrow_mut() {
        Ok(mut desk) if expected < LARGE => desk.cut(write),
        _ => {
            let mut out = Vec::with_capacity(expected);
            let told = write(&mut out);
            (out.into(), told)
        }
    })
}

impl Desk {
    fn cut<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> (Bytes, T) {
        self.draft.clear();
        let told = write(&mut self.draft);
        let bytes = self.draft.len();
        if bytes >= LARGE {
            return (std::mem::take(&mut self.draft).into(), told);
        }
        if self.piece.capacity() < bytes {
            // As large again as the first one was, or the first one if all of its messages are gone.
            self.piece.reserve(PIECE);
        }
        self.piece.extend_from_slice(&self.draft);
        (self.piece.split().freeze(), told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(length: usize, with: u8, expected: usize) -> Bytes {
        cut(expected, |out| out.resize(length, with)).0
    }

    #[test]
    fn what_is_cut_stays_as_it_was_whatever_is_cut_after_it() {
        let lengths = [1, 1_000, LARGE - 1, LARGE, PIECE + 1, 0];
        let made: Vec<(usize, u8, Bytes)> = (0..60)
            .map(|number| (lengths[usize::from(number) % lengths.len()], number))
            .flat_map(|(length, number)| [(length, number, 10), (length, number, length)])
            .map(|(length, number, expected)| (length, number, filled(length, number, expected)))
            .collect();
        for (length, with, bytes) in made {
            assert_eq!(bytes, vec![with; length]);
        }
    }

    #[test]
    fn a_dozen_messages_share_a_piece_and_one_at_a_time_reuses_it() {
        let first = filled(1_000, 1, 1_000);
        let second = filled(1_000, 2, 1_000);
        assert_eq!(first.as_ptr().addr() + 1_000, second.as_ptr().addr());
        drop((first, second));
        let pieces: std::collections::HashSet<usize> = (0..1_000)
            .map(|_| filled(1_000, 3, 1_000).as_ptr().addr())
            .collect();
        assert!(pieces.len() <= PIECE / 1_000, "{} places", pieces.len());
    }

    #[test]
    fn a_message_made_while_another_one_is_has_memory_of_its_own() {
        let (outer, inner) = cut(10, |out| {
            out.push(1);
            cut(10, |out| out.push(2)).0
        });
        assert_eq!((&outer[..], &inner[..]), (&[1][..], &[2][..]));
    }
}
