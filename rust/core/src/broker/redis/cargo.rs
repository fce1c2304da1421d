//! Parcels as one pipeline: the messages of one list go in one command, since each command, and
//! each answer, costs the server more than a message in it.

use std::sync::Arc;

use redis::{Cmd, Pipeline, Value};
use smallvec::SmallVec;

use super::parcel::Parcel;
use crate::wire::message::Target;

/// Parcels, and the commands that carry them.
#[derive(Debug, Default)]
pub(super) struct Cargo {
    subscriptions: Vec<Cmd>,
    pushes: Vec<(String, Cmd)>,
    publications: Vec<Cmd>,
    laden: Vec<Laden>,
    /// Where the last messages of one target went: mostly all of a pipeline are alike.
    last: Option<(Arc<Target>, Option<u8>, usize)>,
    /// How many messages, and bytes, there will be.
    expected: (usize, usize),
}

/// A parcel and the commands it is in.
#[derive(Debug)]
struct Laden {
    parcel: Parcel,
    commands: SmallVec<[Place; 2]>,
}

/// A command, by its place among those of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// `SUBSCRIBE`, before everything else.
    Subscription(usize),
    /// `LPUSH`.
    Push(usize),
    /// `PUBLISH`.
    Publication(usize),
}

/// What a parcel is in.
pub(super) type Places = SmallVec<[Place; 2]>;

impl Cargo {
    /// Room for so many messages and bytes.
    pub(super) fn of(messages: usize, bytes: usize) -> Self {
        Self {
            laden: Vec::with_capacity(messages),
            expected: (messages, bytes),
            ..Self::default()
        }
    }

    /// Adds the subscription to a channel.
    pub(super) fn subscribe(&mut self, channel: &str) -> Place {
        let mut command = redis::cmd("SUBSCRIBE");
        command.arg(channel);
        self.subscriptions.push(command);
        Place::Subscription(self.subscriptions.len() - 1)
    }

    /// Adds a message to a fanout exchange's channel.
    pub(super) fn publish(&mut self, channel: &str, envelope: &[u8]) -> Place {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(envelope);
        self.publications.push(command);
        Place::Publication(self.publications.len() - 1)
    }

    /// Adds a message to a list.
    pub(super) fn push(&mut self, list: String, envelope: &[u8]) -> Place {
        let known = self.pushes.iter().position(|(known, _)| *known == list);
        let at = known.unwrap_or_else(|| {
            // Mostly all of them go to the first list.
            let (messages, bytes) = std::mem::take(&mut self.expected);
            let mut command = Cmd::with_capacity(messages + 2, bytes + list.len() + 8);
            command.arg("LPUSH").arg(&list);
            self.pushes.push((list, command));
            self.pushes.len() - 1
        });
        self.push_at(at, envelope)
    }

    fn push_at(&mut self, at: usize, envelope: &[u8]) -> Place {
        if let Some((_, command)) = self.pushes.get_mut(at) {
            command.arg(envelope);
        }
        Place::Push(at)
    }

    /// Adds a parcel to the list of the one before it; false where it goes elsewhere.
    pub(super) fn push_like_last(&mut self, parcel: &Parcel) -> Option<Place> {
        let (target, priority, at) = self.last.as_ref()?;
        let letter = &parcel.letter;
        let is_alike = *priority == letter.priority
            && (Arc::ptr_eq(target, &letter.target) || **target == *letter.target);
        let at = is_alike.then_some(*at)?;
        Some(self.push_at(at, parcel.envelope()))
    }

    /// Adds a parcel that is in these commands.
    pub(super) fn add(&mut self, parcel: Parcel, commands: Places) {
        if let [Place::Push(at)] = commands[..] {
            self.last = Some((Arc::clone(&parcel.letter.target), parcel.letter.priority, at));
        }
        self.laden.push(Laden { parcel, commands });
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.laden.is_empty()
    }

    /// The commands, and what tells their answers.
    pub(super) fn depart(self) -> (Pipeline, Manifest) {
        let subscriptions = self.subscriptions.len();
        let manifest = Manifest {
            subscriptions,
            publications_at: subscriptions + self.pushes.len(),
            laden: self.laden,
        };
        let mut pipe = Pipeline::with_capacity(manifest.publications_at + self.publications.len());
        let pushes = self.pushes.into_iter().map(|(_, command)| command);
        for command in self
            .subscriptions
            .into_iter()
            .chain(pushes)
            .chain(self.publications)
        {
            pipe.add_command(command);
        }
        (pipe, manifest)
    }
}

/// The parcels of a pipeline on its way.
#[derive(Debug)]
pub(super) struct Manifest {
    subscriptions: usize,
    publications_at: usize,
    laden: Vec<Laden>,
}

impl Manifest {
    /// The parcels, oldest first.
    pub(super) fn into_parcels(self) -> impl DoubleEndedIterator<Item = Parcel> {
        self.laden.into_iter().map(|laden| laden.parcel)
    }

    /// The parcels with the answers to their commands.
    pub(super) fn with_answers(self, answers: &[Value]) -> impl Iterator<Item = (Parcel, Answers<'_>)> {
        let (pushes_at, publications_at) = (self.subscriptions, self.publications_at);
        self.laden.into_iter().map(move |Laden { parcel, commands }| {
            let of_each = |place: &Place| {
                let at = match *place {
                    Place::Subscription(at) => at,
                    Place::Push(at) => pushes_at + at,
                    Place::Publication(at) => publications_at + at,
                };
                (*place, answers.get(at).unwrap_or(&Value::Nil))
            };
            let answers = commands.iter().map(of_each).collect();
            (parcel, answers)
        })
    }
}

/// What the server said to each command of a parcel.
pub(super) type Answers<'a> = SmallVec<[(Place, &'a Value); 2]>;

impl Place {
    /// Whether nobody has heard what was published.
    pub(super) fn is_unheard(self, answer: &Value) -> bool {
        matches!(self, Self::Publication(_)) && *answer == Value::Int(0)
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::broker::redis::parcel::tests::parcel;
    use crate::ledger::Ledger;

    #[test]
    fn the_messages_of_one_list_go_in_one_command_and_get_its_answer() {
        let window = Ledger::new(10, 1_000);
        let mut cargo = Cargo::of(4, 400);
        for queue in ["a", "b", "a", "a"] {
            let parcel = parcel(&window, queue);
            let like_last = cargo.push_like_last(&parcel);
            let place = like_last.unwrap_or_else(|| cargo.push(queue.to_owned(), parcel.envelope()));
            cargo.add(parcel, smallvec![place]);
        }
        let (pipe, manifest) = cargo.depart();
        let lengths: Vec<usize> = pipe.cmd_iter().map(|command| command.args_iter().len()).collect();
        assert_eq!(lengths, [2 + 3, 2 + 1]);
        let answers = [Value::Int(3), Value::Int(1)];
        let told: Vec<i64> = manifest
            .with_answers(&answers)
            .map(|(parcel, answers)| {
                parcel.receipt.confirm();
                let Value::Int(length) = answers[0].1 else {
                    panic!()
                };
                *length
            })
            .collect();
        assert_eq!(told, [3, 1, 3, 3]);
    }

    #[test]
    fn a_subscription_goes_before_the_message_whose_result_it_is_for() {
        let parcel = parcel(&Ledger::new(10, 1_000), "q");
        let mut cargo = Cargo::of(1, 100);
        let pushed = cargo.push("q".to_owned(), parcel.envelope());
        let published = cargo.publish("channel", parcel.envelope());
        let subscribed = cargo.subscribe("result");
        cargo.add(parcel, smallvec![subscribed, pushed, published]);
        let (pipe, manifest) = cargo.depart();
        let mut names = pipe.cmd_iter().filter_map(|command| command.args_iter().next());
        assert!(matches!(names.next(), Some(redis::Arg::Simple(b"SUBSCRIBE"))));
        let answers = [Value::Okay, Value::Int(1), Value::Int(0)];
        let (parcel, answers) = manifest.with_answers(&answers).next().unwrap();
        parcel.receipt.confirm();
        let unheard: Vec<bool> = answers
            .iter()
            .map(|(place, answer)| place.is_unheard(answer))
            .collect();
        assert_eq!(unheard, [false, false, true]);
    }
}
