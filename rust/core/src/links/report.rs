//! What children say, and who hears it.

use bytes::{BufMut, Bytes};

use super::frame::{Fields, Kind, begin, end, malformed, put_field};
use crate::error::Result;

/// Something a child said, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildEvent {
    /// Which child: the number its link was made with.
    pub slot: u64,
    /// What it said.
    pub report: Report,
}

/// What a child can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has started up.
    Ready,
    /// It took a job up; a recall does not give it back any more.
    Taken {
        /// The job.
        seq: u64,
    },
    /// A job ended.
    Outcome {
        /// The job.
        seq: u64,
        /// How it ended; the number's meaning is the worker's.
        code: u32,
        /// The result document to store, if there is one.
        document: Option<Bytes>,
        /// More about the end, opaque here.
        detail: Bytes,
    },
    /// The answer to a recall.
    Recalled {
        /// The jobs given back, in the order in which they had been sent.
        seqs: Vec<u64>,
    },
    /// Its socket closed: the child died, or broke the protocol.
    Gone {
        /// Why.
        reason: String,
    },
}

/// Hears what children say. Called by the pump's thread.
pub trait Sink: Send + Sync + std::fmt::Debug + 'static {
    /// Takes reports over, in order. May wait while its queue is full.
    fn reports(&self, reports: Vec<ChildEvent>);
    /// A signal arrived: whoever waits for events returns now.
    fn wake(&self);
    /// The thread that calls this trait ended by a panic.
    fn broke(&self, thread: &'static str);
}

impl Report {
    /// Appends this report as a frame. [`Report::Gone`] has none: it is the end of the stream.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let kind = match self {
            Self::Ready => Kind::Ready,
            Self::Taken { .. } => Kind::Taken,
            Self::Outcome { .. } => Kind::Outcome,
            Self::Recalled { .. } => Kind::Recalled,
            Self::Gone { .. } => return Ok(()),
        };
        let start = begin(out, kind);
        match self {
            Self::Ready | Self::Gone { .. } => {}
            Self::Taken { seq } => out.put_u64_le(*seq),
            Self::Outcome {
                seq,
                code,
                document,
                detail,
            } => {
                out.put_u64_le(*seq);
                out.put_u32_le(*code);
                put_field(out, detail)?;
                out.put_u8(u8::from(document.is_some()));
                out.put_slice(document.as_deref().unwrap_or_default());
            }
            Self::Recalled { seqs } => seqs.iter().for_each(|seq| out.put_u64_le(*seq)),
        }
        end(out, start, 0)
    }

    pub(super) fn decode(kind: Kind, payload: Bytes) -> Result<Self> {
        let mut fields = Fields(payload);
        Ok(match kind {
            Kind::Ready => Self::Ready,
            Kind::Taken => Self::Taken { seq: fields.u64()? },
            Kind::Outcome => {
                let (seq, code) = (fields.u64()?, fields.u32()?);
                let detail = fields.bytes()?;
                let has_document = fields.u8()? == 1;
                Self::Outcome {
                    seq,
                    code,
                    document: has_document.then(|| fields.rest()),
                    detail,
                }
            }
            Kind::Recalled => {
                let mut seqs = Vec::new();
                while !fields.0.is_empty() {
                    seqs.push(fields.u64()?);
                }
                Self::Recalled { seqs }
            }
            Kind::Job | Kind::Recall | Kind::Stop => {
                return Err(malformed("a child does not send this kind"));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::FrameReader;
    use super::*;

    #[test]
    fn every_report_survives_the_way_there() {
        let reports = [
            Report::Ready,
            Report::Taken { seq: u64::MAX },
            Report::Outcome {
                seq: 7,
                code: 3,
                document: Some(Bytes::from_static(b"{}")),
                detail: Bytes::from_static(b"\x00detail"),
            },
            Report::Outcome {
                seq: 8,
                code: 0,
                document: None,
                detail: Bytes::new(),
            },
            Report::Recalled { seqs: vec![1, 2, 3] },
            Report::Recalled { seqs: Vec::new() },
        ];
        let mut stream = Vec::new();
        for report in &reports {
            report.encode(&mut stream).unwrap();
        }
        let mut reader = FrameReader::new(1000);
        reader.feed(&stream);
        for report in reports {
            let (kind, payload) = reader.next().unwrap().unwrap();
            assert_eq!(Report::decode(kind, payload).unwrap(), report);
        }
    }
}
