//! Takes deliveries off a socket before lapin sees them.
//!
//! lapin makes a tree of each header table, and hands over each delivery by itself: of all that a worker
//! does for a short task that was the larger part. Everything but deliveries goes on to lapin as it came.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cursor::Cursor;
use super::inbox::Inbox;
use super::letter::{Envelope, Letter, RawProperties};

/// What is asked of the socket at once.
const READ_BYTES: usize = 64 << 10;
/// Kind, channel and size before a frame's payload, and the mark after it.
const FRAME_HEAD: usize = 7;
const FRAME_END: u8 = 0xCE;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
/// The kinds of frames are few. Anything else is no frame: a server of another version answers so.
const HEARTBEAT: u8 = 8;
/// Class and method of `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
/// In place of what was taken: lapin must see that the server is alive.
const SIGN_OF_LIFE: [u8; 8] = [HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END];
/// No more memory than this is taken on the server's word.
const MOST_TRUSTED: usize = 1 << 20;

/// A socket without its deliveries.
pub(super) struct Tap<W> {
    wire: W,
    inbox: Arc<Inbox>,
    sieve: Sieve,
    /// What the socket gave; from `begins` to `ends` it is not looked at yet.
    read: Vec<u8>,
    begins: usize,
    ends: usize,
    /// For lapin; what is before `given` it has.
    passed: Vec<u8>,
    given: usize,
}

impl<W> Tap<W> {
    pub(super) fn on(wire: W, inbox: Arc<Inbox>) -> Self {
        Self {
            wire,
            inbox,
            sieve: Sieve::default(),
            read: vec![0; READ_BYTES],
            begins: 0,
            ends: 0,
            passed: Vec::new(),
            given: 0,
        }
    }

    /// Gives lapin what is there for it; `false` where that is nothing.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.passed[self.given..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.given += count;
        if self.given == self.passed.len() {
            self.passed.clear();
            self.given = 0;
        }
        count > 0
    }

    /// Makes room behind what is not looked at: the rest of a frame is to come.
    fn make_room(&mut self) {
        self.read.copy_within(self.begins..self.ends, 0);
        self.ends -= self.begins;
        self.begins = 0;
        if self.read.len() - self.ends < READ_BYTES / 2 {
            self.read.resize(self.read.len() * 2, 0);
        }
    }

    /// Sorts what was read.
    fn sort(&mut self) -> io::Result<()> {
        let unread = &self.read[self.begins..self.ends];
        self.begins += self.sieve.sort(unread, &mut self.passed)?;
        if self.passed.is_empty() && !self.sieve.whole.is_empty() {
            self.passed.extend_from_slice(&SIGN_OF_LIFE);
        }
        self.inbox.put(&mut self.sieve.whole);
        Ok(())
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for Tap<W> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while buffer.remaining() > 0 && !this.give(buffer) {
            this.make_room();
            let mut room = ReadBuf::new(&mut this.read[this.ends..]);
            ready!(Pin::new(&mut this.wire).poll_read(context, &mut room))?;
            let count = room.filled().len();
            if count == 0 {
                // The end, as lapin is told it.
                break;
            }
            this.ends += count;
            this.sort()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Tap<W> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(context)
    }
}

/// Frame by frame, what is for lapin and what is a delivery.
#[derive(Default)]
struct Sieve {
    /// A delivery that has begun, by its channel.
    open: Vec<(u16, Open)>,
    whole: Vec<Letter>,
    /// What came is no AMQP as we know it: lapin says what is wrong.
    is_lost: bool,
}

/// A delivery of which more is to come.
struct Open {
    envelope: Envelope,
    /// Properties, then as much of the body as came.
    content: Vec<u8>,
    /// How long both are; `None` until the header came.
    lengths: Option<(usize, usize)>,
}

struct Frame<'a> {
    kind: u8,
    channel: u16,
    payload: &'a [u8],
}

impl Sieve {
    /// Takes whole frames of `bytes`; returns how many bytes that were.
    fn sort(&mut self, bytes: &[u8], passed: &mut Vec<u8>) -> io::Result<usize> {
        let mut at = 0;
        while let Some(length) = self.length(&bytes[at..]) {
            let whole = &bytes[at..at + length];
            if self.is_lost || !self.keeps(&Frame::of(whole))? {
                passed.extend_from_slice(whole);
            }
            at += length;
        }
        Ok(at)
    }

    /// How long the first frame is, if all of it is there.
    fn length(&mut self, bytes: &[u8]) -> Option<usize> {
        let kind = *bytes.first()?;
        self.is_lost |= !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT);
        if self.is_lost {
            return Some(bytes.len());
        }
        let size = Cursor::over(bytes.get(3..FRAME_HEAD)?).long()?;
        let length = usize::try_from(size).ok()?.checked_add(FRAME_HEAD + 1)?;
        if bytes.len() < length {
            return None;
        }
        self.is_lost |= bytes[length - 1] != FRAME_END;
        Some(if self.is_lost { bytes.len() } else { length })
    }

    /// Whether a frame is part of a delivery, which is kept.
    fn keeps(&mut self, frame: &Frame<'_>) -> io::Result<bool> {
        let known = self
            .open
            .iter()
            .position(|(channel, _)| *channel == frame.channel);
        if frame.kind == METHOD {
            // Only the end of its channel comes before the end of a delivery.
            if let Some(at) = known {
                self.open.swap_remove(at);
            }
            let Some(arguments) = frame.payload.strip_prefix(&DELIVER) else {
                return Ok(false);
            };
            let envelope = Envelope::read(arguments).ok_or_else(|| garbled("a delivery"))?;
            self.open.push((frame.channel, Open::new(envelope)));
            return Ok(true);
        }
        let Some(at) = known.filter(|_| frame.kind != HEARTBEAT) else {
            return Ok(false);
        };
        let open = &mut self.open[at].1;
        open.add(frame)?;
        if open.is_whole() {
            let (_, open) = self.open.swap_remove(at);
            self.whole.push(open.close());
        }
        Ok(true)
    }
}

impl<'a> Frame<'a> {
    /// From the first byte to the mark at its end.
    fn of(whole: &'a [u8]) -> Self {
        Self {
            kind: whole[0],
            channel: u16::from_be_bytes([whole[1], whole[2]]),
            payload: &whole[FRAME_HEAD..whole.len() - 1],
        }
    }
}

impl Open {
    fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            content: Vec::new(),
            lengths: None,
        }
    }

    fn add(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        match (frame.kind, self.lengths) {
            (HEADER, None) => self.begin(frame.payload).ok_or_else(|| garbled("a header")),
            (BODY, Some((properties, body)))
                if self.content.len() + frame.payload.len() <= properties + body =>
            {
                self.content.extend_from_slice(frame.payload);
                Ok(())
            }
            _ => Err(garbled("the parts of a delivery")),
        }
    }

    /// Class, weight and the length of the body are before the properties.
    fn begin(&mut self, payload: &[u8]) -> Option<()> {
        let mut left = Cursor::over(payload);
        let _class_and_weight = left.long()?;
        let body = usize::try_from(left.long_long()?).ok()?;
        let properties = left.rest();
        let length = properties.len().checked_add(body)?;
        self.content.reserve_exact(length.min(MOST_TRUSTED));
        self.content.extend_from_slice(properties);
        self.lengths = Some((properties.len(), body));
        Some(())
    }

    fn is_whole(&self) -> bool {
        self.lengths
            .is_some_and(|(properties, body)| self.content.len() == properties + body)
    }

    fn close(self) -> Letter {
        let mut properties = Bytes::from(self.content);
        let (length, _) = self.lengths.unwrap_or_default();
        let body = properties.split_off(length);
        Letter {
            envelope: self.envelope,
            properties: RawProperties(properties),
            body,
        }
    }
}

/// lapin takes it for a broken connection, and another one is opened.
fn garbled(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server has garbled {what}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::broker::bell::Bell;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let parts = [
            &[kind][..],
            &channel.to_be_bytes(),
            &length.to_be_bytes(),
            payload,
            &[FRAME_END],
        ];
        parts.concat()
    }

    fn begin(channel: u16, tag: u8) -> Vec<u8> {
        let arguments = [
            &DELIVER[..],
            b"\x02me",
            &[0, 0, 0, 0, 0, 0, 0, tag, 1],
            b"\x02ex\x03key",
        ];
        frame(METHOD, channel, &arguments.concat())
    }

    fn header(channel: u16, body: u8) -> Vec<u8> {
        frame(
            HEADER,
            channel,
            &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, body, 0x10, 0, 2],
        )
    }

    fn qos_ok() -> Vec<u8> {
        frame(METHOD, 1, &[0, 60, 0, 11])
    }

    fn sorted(bytes: &[u8]) -> (Vec<Letter>, Vec<u8>) {
        let (mut sieve, mut passed) = (Sieve::default(), Vec::new());
        assert_eq!(sieve.sort(bytes, &mut passed).unwrap(), bytes.len());
        (sieve.whole, passed)
    }

    #[test]
    fn deliveries_are_kept_and_all_else_goes_on() {
        let bytes = [
            qos_ok(),
            begin(1, 1),
            begin(2, 7),
            header(1, 3),
            header(2, 0),
            frame(BODY, 1, b"a"),
            SIGN_OF_LIFE.to_vec(),
            frame(BODY, 1, b"bc"),
            qos_ok(),
        ];
        let (letters, passed) = sorted(&bytes.concat());
        assert_eq!(passed, [qos_ok(), SIGN_OF_LIFE.to_vec(), qos_ok()].concat());
        let found = letters.iter().map(|letter| {
            let envelope = &letter.envelope;
            (envelope.delivery_tag, &letter.properties.0[..], &letter.body[..])
        });
        let expected = [(7, &[0x10, 0, 2][..], &b""[..]), (1, &[0x10, 0, 2], b"abc")];
        assert!(found.eq(expected));
        let envelope = &letters[1].envelope;
        assert_eq!(
            (
                envelope.consumer_tag.as_str(),
                envelope.exchange.as_str(),
                envelope.routing_key.as_str()
            ),
            ("me", "ex", "key")
        );
        assert!(envelope.redelivered);
    }

    #[test]
    fn a_channel_that_is_closed_ends_its_delivery() {
        let close = frame(METHOD, 1, &[0, 20, 0, 40]);
        let bytes = [
            begin(1, 1),
            header(1, 3),
            close.clone(),
            begin(1, 2),
            header(1, 0),
        ];
        let (letters, passed) = sorted(&bytes.concat());
        assert_eq!((letters.len(), letters[0].envelope.delivery_tag), (1, 2));
        assert_eq!(passed, close);
    }

    #[test]
    fn what_belongs_to_no_delivery_goes_on() {
        let bytes = [header(1, 1), frame(BODY, 1, b"x")].concat();
        let (letters, passed) = sorted(&bytes);
        assert!(letters.is_empty());
        assert_eq!(passed, bytes);
    }

    #[test]
    fn a_server_that_speaks_something_else_is_left_to_lapin() {
        for bytes in [
            &b"AMQP\x00\x01\x00\x00"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x01\0\0\0\0\0\0X",
        ] {
            assert_eq!(sorted(bytes).1, bytes);
        }
    }

    #[test]
    fn a_garbled_delivery_breaks_the_connection() {
        let too_long = [begin(1, 1), header(1, 1), frame(BODY, 1, b"ab")].concat();
        let no_header = [begin(1, 1), frame(BODY, 1, b"ab")].concat();
        let too_short = frame(METHOD, 1, &DELIVER);
        for bytes in [too_long, no_header, too_short] {
            let refused = Sieve::default().sort(&bytes, &mut Vec::new());
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_reader_sees_life_where_only_deliveries_came_and_the_end_after_them() {
        let inbox = Arc::new(Inbox::new(Arc::new(Bell::default())));
        let (mut server, client) = tokio::io::duplex(1 << 20);
        let mut tap = Tap::on(client, Arc::clone(&inbox));
        server
            .write_all(&[begin(1, 1), header(1, 0)].concat())
            .await
            .unwrap();
        let mut read = [0; 8];
        tap.read_exact(&mut read).await.unwrap();
        assert_eq!(read, SIGN_OF_LIFE);
        assert!(inbox.lock().take("me").is_some());
        drop(server);
        assert_eq!(tap.read(&mut read).await.unwrap(), 0);
    }

    proptest! {
        #[test]
        fn nothing_depends_on_where_the_stream_is_cut(
            bodies in vec(0_u8..=255, 1..40), cuts in vec(1_usize..400, 1..60), large in any::<bool>(),
        ) {
            let mut bytes = Vec::new();
            for (at, length) in bodies.iter().enumerate() {
                bytes.extend(begin(1, u8::try_from(at).unwrap()));
                bytes.extend(header(1, *length));
                if *length > 0 {
                    bytes.extend(frame(BODY, 1, &vec![*length; usize::from(*length)]));
                }
                if at % 3 == 0 {
                    bytes.extend(qos_ok());
                }
            }
            if large {
                bytes.extend(frame(METHOD, 1, &vec![0; 3 * READ_BYTES]));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, letters) = runtime.block_on(through_a_tap(bytes.clone(), cuts));
            let (expected, passed) = sorted(&bytes);
            let signs_aside: Vec<u8> = frames(&read).filter(|frame| frame != &SIGN_OF_LIFE).flatten().copied().collect();
            prop_assert_eq!(signs_aside, passed);
            let bodies = |letters: &[Letter]| letters.iter().map(|letter| letter.body.clone()).collect::<Vec<_>>();
            prop_assert_eq!(bodies(&letters), bodies(&expected));
        }
    }

    fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            let size = Cursor::over(bytes.get(3..FRAME_HEAD)?).long()?;
            let (first, rest) = bytes.split_at(FRAME_HEAD + 1 + usize::try_from(size).unwrap());
            bytes = rest;
            Some(first)
        })
    }

    async fn through_a_tap(bytes: Vec<u8>, cuts: Vec<usize>) -> (Vec<u8>, Vec<Letter>) {
        let inbox = Arc::new(Inbox::new(Arc::new(Bell::default())));
        let (mut server, client) = tokio::io::duplex(300);
        let mut tap = Tap::on(client, Arc::clone(&inbox));
        let write = async move {
            let mut left = &bytes[..];
            for cut in cuts.into_iter().cycle() {
                let (now, later) = left.split_at(cut.min(left.len()));
                server.write_all(now).await.unwrap();
                left = later;
                if left.is_empty() {
                    break;
                }
            }
        };
        let mut read = Vec::new();
        let ((), count) = tokio::join!(write, tap.read_to_end(&mut read));
        count.unwrap();
        let letters = inbox.lock().take_rest("me");
        (read, letters.into())
    }
}
