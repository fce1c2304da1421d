//! `[u32 length][u8 kind][payload]`: cutting a stream of bytes into frames, and fields in them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{Error, Result};

/// What a frame is about. The numbers are private to one version of celeriac: worker and children
/// are of the same build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Job = 1,
    Recall = 2,
    Stop = 3,
    Ready = 16,
    Taken = 17,
    Outcome = 18,
    Recalled = 19,
}

impl Kind {
    fn from_number(number: u8) -> Result<Self> {
        Ok(match number {
            1 => Self::Job,
            2 => Self::Recall,
            3 => Self::Stop,
            16 => Self::Ready,
            17 => Self::Taken,
            18 => Self::Outcome,
            19 => Self::Recalled,
            _ => return Err(malformed(format!("kind {number} does not exist"))),
        })
    }
}

pub(super) fn malformed(detail: impl Into<String>) -> Error {
    Error::Malformed {
        what: "frame",
        detail: detail.into(),
    }
}

/// Starts a frame in `out`; [`end`] fills in its length.
pub(super) fn begin(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    out.put_u32_le(0);
    #[expect(clippy::as_conversions, reason = "the number of a repr(u8) variant")]
    out.put_u8(kind as u8);
    start
}

/// Ends the frame begun at `start`, of which `following` more bytes are written elsewhere.
pub(super) fn end(out: &mut [u8], start: usize, following: usize) -> Result<()> {
    let length = out.len() - start - 4 + following;
    let length = u32::try_from(length).map_err(|_| too_long(length, MAX_LENGTH))?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

const MAX_LENGTH: usize = 0xffff_ffff;

fn too_long(length: usize, limit: usize) -> Error {
    malformed(format!("{length} bytes, at most {limit} are allowed"))
}

/// Appends a field: its length, then its bytes.
pub(super) fn put_field(out: &mut Vec<u8>, field: &[u8]) -> Result<()> {
    let length = u32::try_from(field.len()).map_err(|_| too_long(field.len(), MAX_LENGTH))?;
    out.put_u32_le(length);
    out.put_slice(field);
    Ok(())
}

/// Reads the fields of one payload.
pub(super) struct Fields(pub(super) Bytes);

impl Fields {
    pub(super) fn u8(&mut self) -> Result<u8> {
        self.0
            .try_get_u8()
            .map_err(|_| malformed("it ends within a number"))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.0
            .try_get_u32_le()
            .map_err(|_| malformed("it ends within a number"))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.0
            .try_get_u64_le()
            .map_err(|_| malformed("it ends within a number"))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > self.0.len() {
            return Err(malformed("it ends within a field"));
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| malformed("a text is not UTF-8"))
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }
}

/// Cuts what arrives into frames. It holds at most one frame and one read.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: BytesMut,
    max_frame_bytes: usize,
}

impl FrameReader {
    pub(super) fn new(max_frame_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            max_frame_bytes,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<(Kind, Bytes)>> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > self.max_frame_bytes {
            return Err(too_long(length, self.max_frame_bytes));
        }
        if length == 0 {
            return Err(malformed("a frame without a kind"));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let kind = Kind::from_number(self.buffer.get_u8())?;
        Ok(Some((kind, self.buffer.split_to(length - 1).freeze())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::job::Job;
    use super::super::report::Report;
    use super::*;

    fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out, kind);
        out.extend_from_slice(payload);
        end(&mut out, start, 0).unwrap();
        out
    }

    #[test]
    fn frames_survive_any_cut_of_the_stream() {
        let stream = [frame(Kind::Taken, b"12345678"), frame(Kind::Ready, b"")].concat();
        for cut in 0..=stream.len() {
            let mut reader = FrameReader::new(100);
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                reader.feed(part);
                while let Some((kind, payload)) = reader.next().unwrap() {
                    seen.push((kind, payload.to_vec()));
                }
            }
            let expected = [(Kind::Taken, b"12345678".to_vec()), (Kind::Ready, Vec::new())];
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }

    #[test]
    fn the_header_counts_kind_and_payload_in_little_endian() {
        assert_eq!(frame(Kind::Outcome, b"ab"), [3, 0, 0, 0, 18, b'a', b'b']);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_it_is_buffered() {
        let mut reader = FrameReader::new(10);
        reader.feed(&11_u32.to_le_bytes());
        let error = reader.next().unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed frame: 11 bytes, at most 10 are allowed"
        );
    }

    #[test]
    fn an_unknown_kind_is_an_error() {
        let mut reader = FrameReader::new(10);
        reader.feed(&[1, 0, 0, 0, 99]);
        let error = reader.next().unwrap_err();
        assert_eq!(error.to_string(), "malformed frame: kind 99 does not exist");
    }

    #[test]
    fn a_field_longer_than_its_payload_is_an_error() {
        let mut fields = Fields(Bytes::from_static(&[5, 0, 0, 0, b'a']));
        assert_eq!(
            fields.bytes().unwrap_err().to_string(),
            "malformed frame: it ends within a field"
        );
    }

    /// Reads whatever a frame may hold.
    fn read_all(stream: &[u8], cuts: &[usize]) -> Result<usize> {
        let mut reader = FrameReader::new(1_000);
        let (mut seen, mut start) = (0, 0);
        for end in cuts.iter().copied().chain([stream.len()]) {
            let end = end.clamp(start, stream.len());
            reader.feed(&stream[start..end]);
            start = end;
            while let Some((kind, payload)) = reader.next()? {
                seen += 1;
                assert!(payload.len() < 1_000);
                // A job and a report of the same bytes: what is wrong with them is an error.
                Job::decode(payload.clone()).ok();
                Report::decode(kind, payload).ok();
            }
        }
        Ok(seen)
    }

    proptest! {
        #[test]
        fn no_bytes_harm_a_reader_however_they_are_cut(
            frames in vec((0..25_u8, vec(any::<u8>(), 0..60)), 0..5),
            noise in vec(any::<u8>(), 0..20),
            cuts in vec(0..200_usize, 0..4),
        ) {
            let mut stream = Vec::new();
            for (kind, payload) in &frames {
                stream.put_u32_le(u32::try_from(payload.len() + 1).unwrap());
                stream.put_u8(*kind);
                stream.put_slice(payload);
            }
            let known = frames.iter().take_while(|(kind, _)| Kind::from_number(*kind).is_ok()).count();
            prop_assert_eq!(read_all(&stream, &cuts).ok(), (known == frames.len()).then_some(known));
            stream.extend(noise);
            read_all(&stream, &cuts).ok();
        }

        #[test]
        fn an_outcome_of_any_bytes_survives_the_way(
            seq: u64, code: u32, document: Option<Vec<u8>>, detail: Vec<u8>,
        ) {
            let report = Report::Outcome { seq, code, document: document.map(Bytes::from), detail: detail.into() };
            let mut stream = Vec::new();
            report.encode(&mut stream).unwrap();
            let mut reader = FrameReader::new(10_000);
            reader.feed(&stream);
            let (kind, payload) = reader.next().unwrap().unwrap();
            prop_assert_eq!(Report::decode(kind, payload).unwrap(), report);
        }
    }
}
