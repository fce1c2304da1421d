//! Mailboxes: orders reach everybody who listens, an answer reaches whom it is for.

use std::sync::Arc;

use celeriac_core::broker::mail::{self, Mail, Mailbox, MailboxSpec, Tray};
use celeriac_core::broker::topology::{ExchangeType, QueueSpec};
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
