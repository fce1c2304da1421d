//! Mailboxes: orders reach everybody who listens, an answer reaches whom it is for.

use std::sync::Arc;

use celeriac_core::broker::mail::{self, Mail, Mailbox, MailboxSpec, Tray};
use celeriac_core::broker::topology::{ExchangeOptions, ExchangeType, QueueSpec};
use celeriac_core::broker::url::Scheme;
use celeriac_core::wire::message::Message;

use crate::stage::{Fixture, Stage, in_ms, soon};

/// A mailbox and where its letters lie.
struct Letterbox {
    mailbox: Arc<dyn Mailbox>,
    tray: Arc<Tray>,
    exchange_type: ExchangeType,
}

impl Letterbox {
    fn open<F: Fixture>(stage: &Stage<F>, word: &str, exchange_type: ExchangeType, key: &str) -> Self {
        let exchange = if exchange_type == ExchangeType::Fanout {
            "orders"
        } else {
            "answers"
        };
        let queue = QueueSpec {
            exchange_type: exchange_type.clone(),
            durable: false,
            auto_delete: true,
            exchange_options: ExchangeOptions {
                durable: false,
                ..ExchangeOptions::default()
            },
            arguments: vec![("x-expires".to_owned(), "10000".to_owned())],
            ..stage.bound(word, exchange, key)
        };
        let tray = Arc::new(Tray::default());
        let spec = MailboxSpec {
            queue,
            is_exclusive: true,
        };
        let mailbox = mail::open_mailbox(&stage.fixture.url(), spec, Arc::clone(&tray)).unwrap();
        mailbox.open(soon()).unwrap();
        Self {
            mailbox,
            tray,
            exchange_type,
        }
    }

    fn send<F: Fixture>(&self, stage: &Stage<F>, to: &Letterbox, key: &str, body: &'static str) {
        let exchange = if to.exchange_type == ExchangeType::Fanout {
            "orders"
        } else {
            "answers"
        };
        let letter = Mail {
            outgoing: stage.message(exchange, key, body),
            exchange_type: to.exchange_type.clone(),
            is_durable: false,
        };
        self.mailbox.send(letter, soon()).unwrap();
    }

    fn one(&self) -> String {
        let found = self.tray.wait(10, soon());
        assert_eq!(found.len(), 1);
        text(&found[0])
    }

    fn is_quiet(&self) -> bool {
        self.tray.wait(10, in_ms(200)).is_empty()
    }
}

fn text(letter: &Message) -> String {
    String::from_utf8(letter.body.to_vec()).unwrap()
}

pub(crate) fn an_order_reaches_every_mailbox_that_listens<F: Fixture>() {
    let stage = Stage::<F>::set();
    let workers = ["w1", "w2"].map(|word| Letterbox::open(&stage, word, ExchangeType::Fanout, ""));
    let client = Letterbox::open(&stage, "client", ExchangeType::Direct, "c");
    client.send(&stage, &workers[0], "", "ping");
    for worker in &workers {
        assert_eq!(worker.one(), "ping");
        worker.mailbox.close(soon());
    }
    assert!(client.is_quiet());
    client.mailbox.close(soon());
}

pub(crate) fn an_answer_reaches_its_key_alone<F: Fixture>() {
    let stage = Stage::<F>::set();
    let worker = Letterbox::open(&stage, "w", ExchangeType::Fanout, "");
    let clients = ["a", "b"].map(|key| Letterbox::open(&stage, key, ExchangeType::Direct, key));
    worker.send(&stage, &clients[0], "b", "pong");
    assert_eq!(clients[1].one(), "pong");
    assert!(clients[0].is_quiet() && worker.is_quiet());
    for one in [&worker, &clients[0], &clients[1]] {
        one.mailbox.close(soon());
    }
}

pub(crate) fn a_closed_mailbox_gets_nothing_and_its_name_is_free<F: Fixture>() {
    let stage = Stage::<F>::set();
    let sender = Letterbox::open(&stage, "s", ExchangeType::Direct, "s");
    let closed = Letterbox::open(&stage, "w", ExchangeType::Fanout, "");
    closed.mailbox.close(soon());
    let second = Letterbox::open(&stage, "w", ExchangeType::Fanout, "");
    sender.send(&stage, &second, "", "ping");
    assert_eq!(second.one(), "ping");
    assert!(closed.is_quiet());
    for one in [&sender, &second] {
        one.mailbox.close(soon());
    }
}

/// A mailbox that hears the events whose key `key` stands for.
fn monitor<F: Fixture>(stage: &Stage<F>, word: &str, key: &str) -> (Arc<dyn Mailbox>, Arc<Tray>) {
    let queue = QueueSpec {
        exchange_type: kind_of_events(stage),
        durable: false,
        auto_delete: true,
        arguments: Vec::new(),
        ..stage.bound(word, "events", key)
    };
    let tray = Arc::new(Tray::default());
    let spec = MailboxSpec {
        queue,
        is_exclusive: true,
    };
    let mailbox = mail::open_mailbox(&stage.fixture.url(), spec, Arc::clone(&tray)).unwrap();
    (mailbox, tray)
}

/// Compat: kombu has no topics on Redis that are not kept; its fanout knows keys.
fn kind_of_events<F: Fixture>(stage: &Stage<F>) -> ExchangeType {
    match stage.fixture.url().scheme() {
        Scheme::Redis => ExchangeType::Fanout,
        Scheme::Amqp | Scheme::Memory | Scheme::Sqlite => ExchangeType::Topic,
    }
}

fn event<F: Fixture>(stage: &Stage<F>, key: &str, body: String) -> Mail {
    Mail {
        outgoing: stage.message("events", key, body),
        exchange_type: kind_of_events(stage),
        is_durable: true,
    }
}

pub(crate) fn events_reach_who_listens_for_their_kind_in_their_order<F: Fixture>() {
    let stage = Stage::<F>::set();
    let (all, heard) = monitor(&stage, "all", "#");
    let (workers, of_workers) = monitor(&stage, "workers", "worker.#");
    let (sender, _) = monitor(&stage, "sender", "#");
    for mailbox in [&all, &workers] {
        mailbox.open(soon()).unwrap();
    }
    let sent: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    for body in &sent {
        sender.announce(event(&stage, "task.multi", body.clone()));
    }
    sender.announce(event(&stage, "worker.offline", "bye".to_owned()));
    sender.close(soon());
    let mut found = Vec::new();
    while found.last().is_none_or(|last| last != "bye") {
        let letters = heard.wait(1_000, soon());
        assert!(!letters.is_empty(), "only {} came", found.len());
        found.extend(letters.iter().map(text));
    }
    assert_eq!(found[..300], sent);
    let theirs: Vec<String> = of_workers.wait(10, soon()).iter().map(text).collect();
    assert_eq!(theirs, ["bye"]);
    for mailbox in [all, workers] {
        mailbox.close(soon());
    }
}

pub(crate) fn an_event_that_nobody_listens_for_is_no_error<F: Fixture>() {
    let stage = Stage::<F>::set();
    let (sender, _) = monitor(&stage, "sender", "#");
    sender.announce(event(&stage, "worker.heartbeat", "1".to_owned()));
    let (late, heard) = monitor(&stage, "late", "#");
    sender.close(soon());
    late.open(soon()).unwrap();
    sender.announce(event(&stage, "worker.heartbeat", "2".to_owned()));
    assert_eq!(heard.wait(10, soon()).iter().map(text).collect::<Vec<_>>(), ["2"]);
    for mailbox in [sender, late] {
        mailbox.close(soon());
    }
}
