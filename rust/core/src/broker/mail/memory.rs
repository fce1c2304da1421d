//! Mailboxes of one process.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Mail, Mailbox, MailboxSpec, Tray};
use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::per_process::PerProcess;
use crate::time::Deadline;

static OPEN: PerProcess<Mutex<Vec<Listed>>> = PerProcess::new();

/// A mailbox that listens: its space, what it gets, and where that goes.
struct Listed {
    space: String,
    spec: MailboxSpec,
    tray: Weak<Tray>,
}

#[derive(Debug)]
struct MemoryMailbox {
    space: String,
    spec: MailboxSpec,
    tray: Arc<Tray>,
}

pub(in crate::broker) fn mailbox(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Arc<dyn Mailbox> {
    Arc::new(MemoryMailbox {
        space: url.path().to_owned(),
        spec,
        tray,
    })
}

impl Mailbox for MemoryMailbox {
    fn open(&self, _deadline: Deadline) -> Result<()> {
        let mut open = OPEN.get_or_init(Mutex::default).lock();
        open.retain(|listed| listed.tray.strong_count() > 0);
        open.push(Listed {
            space: self.space.clone(),
            spec: self.spec.clone(),
            tray: Arc::downgrade(&self.tray),
        });
        Ok(())
    }

    fn send(&self, mail: Mail, _deadline: Deadline) -> Result<()> {
        self.post(mail);
        Ok(())
    }

    fn post(&self, mail: Mail) {
        let target = &mail.outgoing.target;
        let open = OPEN.get_or_init(Mutex::default).lock();
        let trays: Vec<_> = open
            .iter()
            .filter(|listed| listed.space == self.space)
            .filter(|listed| listed.spec.gets(target))
            .filter_map(|listed| listed.tray.upgrade())
            .collect();
        // A tray rings a bell: not under the lock of all mailboxes.
        drop(open);
        for tray in trays {
            tray.put(mail.outgoing.message.clone());
        }
    }

    fn announce(&self, mail: Mail) {
        self.post(mail);
    }

    fn close(&self, _deadline: Deadline) {
        let mut open = OPEN.get_or_init(Mutex::default).lock();
        open.retain(|listed| !listed.tray.ptr_eq(&Arc::downgrade(&self.tray)));
    }
}
