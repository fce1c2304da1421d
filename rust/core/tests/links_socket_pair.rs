//! Worker and child over a real socket pair.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here fails the test"
)]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::Error;
use celeriac_core::links::{ChildChannel, ChildEvent, Job, Next, ParentLink, Pump, Report, Sink};
use celeriac_core::time::Deadline;
use celeriac_core::wire::headers::Peek;
use celeriac_core::wire::message::{Message, Properties, Target};
use crossbeam_channel::{Receiver, Sender};

const SLOT: u64 = 3;
const LIMIT: usize = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Recorder {
    reports: Sender<ChildEvent>,
    wakes: Sender<()>,
}

impl Sink for Recorder {
    fn reports(&self, reports: Vec<ChildEvent>) {
        for report in reports {
            self.reports.send(report).ok();
        }
    }

    fn wake(&self) {
        self.wakes.send(()).ok();
    }

    fn broke(&self, thread: &'static str) {
        unreachable!("{thread}");
    }
}

struct Pair {
    pump: Pump,
    link: ParentLink,
    reports: Receiver<ChildEvent>,
    wakes: Receiver<()>,
}

impl Pair {
    fn new(limit: usize) -> (Self, UnixStream) {
        let (reports, heard) = crossbeam_channel::unbounded();
        let (wakes, woken) = crossbeam_channel::unbounded();
        let pump = Pump::new(Arc::new(Recorder { reports, wakes }), limit).unwrap();
        pump.start().unwrap();
        let (parent, child) = UnixStream::pair().unwrap();
        let link = pump.link(SLOT, parent).unwrap();
        let pair = Self {
            pump,
            link,
            reports: heard,
            wakes: woken,
        };
        (pair, child)
    }

    fn with_child() -> (Self, ChildChannel) {
        let (pair, child) = Self::new(LIMIT);
        (pair, ChildChannel::new(child, LIMIT).unwrap())
    }

    fn report(&self) -> Report {
        let event = self.reports.recv_timeout(PATIENCE).unwrap();
        assert_eq!(event.slot, SLOT);
        event.report
    }
}

fn job(seq: u64, body: Bytes) -> Job {
    Job {
        seq,
        extra: Bytes::from_static(b"extra"),
        message: Message {
            headers: Bytes::from_static(br#"{"task": "t", "id": "x"}"#),
            properties: Properties {
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                correlation_id: None,
                reply_to: None,
                delivery_mode: 2,
                priority: None,
                expiration: None,
                delivery_tag: "tag".to_owned(),
                extra: Vec::new(),
            },
            body,
        },
        peek: Peek {
            task: Some("t".to_owned()),
            id: Some("x".to_owned()),
            ..Peek::default()
        },
        target: Target::default(),
        queue: "celery".to_owned(),
        redelivered: false,
    }
}

fn small(seq: u64) -> Job {
    job(seq, Bytes::from_static(b"[[], {}, {}]"))
}

fn take(child: &ChildChannel) -> Job {
    match child.next(Deadline::after(PATIENCE)) {
        Next::Job(job) => *job,
        Next::Nothing | Next::End => unreachable!("a job was sent"),
    }
}

fn outcome(seq: u64) -> Report {
    Report::Outcome {
        seq,
        code: 0,
        document: Some(Bytes::from_static(b"{}")),
        detail: Bytes::from_static(b"d"),
    }
}

fn reply(child: &ChildChannel, seq: u64) {
    child
        .reply(seq, 0, Some(Bytes::from_static(b"{}")), Bytes::from_static(b"d"))
        .unwrap();
}

#[test]
fn a_job_is_taken_up_and_its_outcome_comes_back() {
    let (pair, child) = Pair::with_child();
    child.ready().unwrap();
    assert_eq!(pair.report(), Report::Ready);
    pair.link.send(&small(7)).unwrap();
    assert_eq!(take(&child), small(7));
    assert_eq!(pair.report(), Report::Taken { seq: 7 });
    reply(&child, 7);
    assert_eq!(pair.report(), outcome(7));
}

#[test]
fn the_outcome_before_a_waiting_job_is_said_with_its_taken() {
    let (pair, child) = Pair::with_child();
    pair.link.send(&small(1)).unwrap();
    pair.link.send(&small(2)).unwrap();
    pair.link.recall().unwrap();
    // The answer shows that the child has read all three; both jobs came back.
    assert_eq!(pair.report(), Report::Recalled { seqs: vec![1, 2] });

    pair.link.send(&small(3)).unwrap();
    assert_eq!(take(&child).seq, 3);
    assert_eq!(pair.report(), Report::Taken { seq: 3 });
    pair.link.send(&small(4)).unwrap();
    pair.link.send(&small(5)).unwrap();
    assert_eq!(take(&child).seq, 4);
    assert_eq!(pair.report(), Report::Taken { seq: 4 });
    reply(&child, 3);
    reply(&child, 4);
    assert_eq!(take(&child).seq, 5);
    let said = [pair.report(), pair.report(), pair.report()];
    assert_eq!(said, [outcome(3), outcome(4), Report::Taken { seq: 5 }]);
}

#[test]
fn an_outcome_kept_for_a_job_that_is_recalled_goes_with_the_answer() {
    let (pair, child) = Pair::with_child();
    pair.link.send(&small(1)).unwrap();
    assert_eq!(take(&child).seq, 1);
    assert_eq!(pair.report(), Report::Taken { seq: 1 });
    pair.link.send(&small(2)).unwrap();
    reply(&child, 1);
    pair.link.recall().unwrap();
    let mut said = vec![pair.report(), pair.report()];
    said.sort_by_key(|report| matches!(report, Report::Recalled { .. }));
    assert_eq!(said, [outcome(1), Report::Recalled { seqs: vec![2] }]);
}

#[test]
fn a_recall_leaves_what_is_taken_up() {
    let (pair, child) = Pair::with_child();
    for seq in 1..=3 {
        pair.link.send(&small(seq)).unwrap();
    }
    assert_eq!(take(&child).seq, 1);
    assert_eq!(pair.report(), Report::Taken { seq: 1 });
    pair.link.recall().unwrap();
    assert_eq!(pair.report(), Report::Recalled { seqs: vec![2, 3] });
    assert!(matches!(
        child.next(Deadline::after(Duration::ZERO)),
        Next::Nothing
    ));
}

#[test]
fn a_child_that_closes_is_gone_after_all_it_said() {
    let (pair, child) = Pair::with_child();
    pair.link.send(&small(1)).unwrap();
    assert_eq!(take(&child).seq, 1);
    reply(&child, 1);
    drop(child);
    assert_eq!(pair.report(), Report::Taken { seq: 1 });
    assert_eq!(pair.report(), outcome(1));
    let reason = "its socket closed".to_owned();
    assert_eq!(pair.report(), Report::Gone { reason });
    pair.link.send(&small(2)).unwrap();
}

#[test]
fn a_child_that_breaks_the_protocol_is_gone_with_the_reason() {
    let (pair, mut child) = Pair::new(LIMIT);
    child.write_all(&[1, 0, 0, 0, 99]).unwrap();
    let reason = "malformed frame: kind 99 does not exist".to_owned();
    assert_eq!(pair.report(), Report::Gone { reason });
}

#[test]
fn a_frame_beyond_the_limit_ends_the_link() {
    let (pair, mut child) = Pair::new(1000);
    child.write_all(&2000_u32.to_le_bytes()).unwrap();
    let reason = "malformed frame: 2000 bytes, at most 1000 are allowed".to_owned();
    assert_eq!(pair.report(), Report::Gone { reason });
}

#[test]
fn an_outcome_beyond_the_limit_is_refused_in_the_child() {
    let (_parent, end) = UnixStream::pair().unwrap();
    let child = ChildChannel::new(end, 1000).unwrap();
    let document = Some(Bytes::from(vec![b'x'; 2000]));
    let refused = child.reply(1, 0, document, Bytes::new()).unwrap_err();
    assert!(matches!(refused, Error::Malformed { .. }), "{refused}");
}

#[test]
fn a_worker_that_closes_ends_the_child_without_its_waiting_jobs() {
    let (pair, child) = Pair::with_child();
    pair.link.close();
    assert!(matches!(child.next(Deadline::after(PATIENCE)), Next::End));
    let refused = pair.link.send(&small(1)).unwrap_err();
    assert_eq!(refused.to_string(), "the link to this child is closed");
    assert!(pair.reports.is_empty());
}

#[test]
fn a_stop_ends_the_child_after_the_jobs_before_it() {
    let (pair, child) = Pair::with_child();
    pair.link.send(&small(1)).unwrap();
    pair.link.stop().unwrap();
    assert_eq!(take(&child).seq, 1);
    assert!(matches!(child.next(Deadline::after(PATIENCE)), Next::End));
}

#[test]
fn a_body_of_100_megabytes_passes_without_blocking_the_sender() {
    let (pair, end) = Pair::new(LIMIT);
    let body = Bytes::from(vec![b'b'; 100 << 20]);
    // Nobody reads yet: the rest is written by the pump when there is room.
    pair.link.send(&job(1, body.clone())).unwrap();
    pair.link.send(&small(2)).unwrap();
    let child = ChildChannel::new(end, LIMIT).unwrap();
    assert!(take(&child).message.body == body, "the body arrived changed");
    assert_eq!(take(&child).seq, 2);
    child.reply(1, 0, Some(body.clone()), Bytes::new()).unwrap();
    assert_eq!(pair.report(), Report::Taken { seq: 1 });
    assert_eq!(pair.report(), Report::Taken { seq: 2 });
    let Report::Outcome { document, .. } = pair.report() else {
        unreachable!("an outcome follows")
    };
    assert!(document == Some(body), "the document came back changed");
}

#[test]
fn a_child_that_never_reads_holds_up_neither_the_sender_nor_another_child() {
    let (pair, idle) = Pair::new(LIMIT);
    let (parent, other) = UnixStream::pair().unwrap();
    let other_link = pair.pump.link(SLOT, parent).unwrap();
    let other = ChildChannel::new(other, LIMIT).unwrap();
    // Far more than a socket takes: the rest waits in the worker, and sending does not.
    for seq in 0..1_000 {
        pair.link
            .send(&job(seq, Bytes::from(vec![b'x'; 10_000])))
            .unwrap();
    }
    other_link.send(&small(7)).unwrap();
    assert_eq!(take(&other), small(7));
    assert_eq!(pair.report(), Report::Taken { seq: 7 });
    // Nothing was lost, either: all of it comes when it is read.
    let child = ChildChannel::new(idle, LIMIT).unwrap();
    for seq in 0..1_000 {
        assert_eq!(take(&child).seq, seq);
    }
}

#[test]
fn jobs_that_are_sent_later_go_in_order_with_the_next_word() {
    let (pair, child) = Pair::with_child();
    pair.link.send_later(&small(1).outgoing()).unwrap();
    pair.link
        .send_later(&job(2, Bytes::from(vec![7; 100_000])).outgoing())
        .unwrap();
    pair.link.send_later(&small(3).outgoing()).unwrap();
    let nothing = child.next(Deadline::after(Duration::ZERO));
    assert!(matches!(nothing, Next::Nothing), "{nothing:?}");
    pair.link.flush();
    assert_eq!((take(&child).seq, take(&child).seq, take(&child).seq), (1, 2, 3));
}

#[test]
fn a_byte_on_the_wakeup_descriptor_wakes() {
    let (pair, _child) = Pair::with_child();
    let signal = pair.pump.wakeup_fd().try_clone_to_owned().unwrap();
    UnixStream::from(signal).write_all(b"\x0f").unwrap();
    pair.wakes.recv_timeout(PATIENCE).unwrap();
}
