//! When finished deliveries are acked: together over the finished prefix of their session, singly where they wait
//! too long behind an unfinished one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;
use postrider_common::queue::Receipt;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a finished delivery waits behind an unfinished one.
const PATIENCE: Duration = Duration::from_millis(50);
const WAITING: usize = 4096;

/// Hands receipts to the task that acks them.
#[derive(Debug, Clone)]
pub(crate) struct Acks(mpsc::Sender<Receipt>);

impl Acks {
    /// Starts the task; it ends when the last handle is gone and everything is acked.
    pub(crate) fn start() -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receipts) = mpsc::channel(WAITING);
        (Self(sender), tokio::spawn(ack_finished(receipts)))
    }

    /// This delivery is finished.
    pub(crate) async fn finished(&self, receipt: Receipt) {
        // The task outlives every handle.
        let _task_is_gone = self.0.send(receipt).await;
    }
}

/// One session's finished deliveries that aren't acked yet.
#[derive(Debug, Default)]
struct Session {
    /// Everything up to this tag is finished.
    head: u64,
    /// Finished beyond the head: `None` where it is acked already.
    beyond: BTreeMap<u64, Option<Instant>>,
    /// When those beyond the head were last gone through: there are as many as calls at the provider.
    looked: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct Ack {
    tag: u64,
    multiple: bool,
}

impl Session {
    fn finish(&mut self, tag: u64, now: Instant) {
        if tag > self.head {
            self.beyond.insert(tag, Some(now));
        }
    }

    /// What is to be acked now.
    fn due(&mut self, now: Instant) -> Vec<Ack> {
        let mut due = Vec::new();
        let mut prefix = None;
        while let Some(waiting) = self.beyond.remove(&(self.head + 1)) {
            self.head += 1;
            if waiting.is_some() {
                prefix = Some(self.head);
            }
        }
        due.extend(prefix.map(|tag| Ack { tag, multiple: true }));
        if self.looked.is_some_and(|looked| now.duration_since(looked) < PATIENCE / 4) {
            return due;
        }
        self.looked = Some(now);
        for (tag, since) in &mut self.beyond {
            if since.is_some_and(|since| now.duration_since(since) >= PATIENCE) {
                *since = None;
                due.push(Ack { tag: *tag, multiple: false });
            }
        }
        due
    }

    fn waits(&self) -> bool {
        self.beyond.values().any(Option::is_some)
    }
}

/// The sessions that aren't over, each with a receipt of its own to ack by.
struct Sessions<R>(HashMap<u64, (Session, R)>);

impl<R: Clone> Sessions<R> {
    fn finish(&mut self, number: u64, tag: u64, receipt: &R, now: Instant) {
        let begin = || (Session::default(), receipt.clone());
        let (session, _) = self.0.entry(number).or_insert_with(begin);
        session.finish(tag, now);
    }

    fn due(&mut self, now: Instant) -> Vec<(R, Ack)> {
        let of = |(session, receipt): &mut (Session, R)| {
            let receipt = receipt.clone();
            session.due(now).into_iter().map(move |ack| (receipt.clone(), ack))
        };
        self.0.values_mut().flat_map(of).collect()
    }

    fn waits(&self) -> bool {
        self.0.values().any(|(session, _)| session.waits())
    }

    /// Forgets those that are over. One that only rests is kept, however long: where its tags had got to is known
    /// nowhere else.
    fn forget(&mut self, is_over: impl Fn(&R) -> bool) {
        self.0.retain(|_, (_, receipt)| !is_over(receipt));
    }
}

async fn ack_finished(mut receipts: mpsc::Receiver<Receipt>) {
    let mut sessions = Sessions(HashMap::new());
    let mut batch = Vec::with_capacity(WAITING);
    loop {
        let open = if sessions.waits() {
            let received =
                tokio::time::timeout(PATIENCE / 2, receipts.recv_many(&mut batch, WAITING));
            received.await.map_or(true, |count| count > 0)
        } else {
            receipts.recv_many(&mut batch, WAITING).await > 0
        };
        let now = Instant::now();
        for receipt in batch.drain(..) {
            sessions.finish(receipt.session, receipt.tag, &receipt, now);
        }
        // On the way out nobody waits for company.
        let due = sessions.due(if open { now } else { now + PATIENCE });
        // All at once: an ack of the embedded queue waits for its commit.
        join_all(due.into_iter().map(async |(receipt, ack)| {
            if !receipt.with_tag(ack.tag).ack(ack.multiple).await {
                tracing::debug!(?receipt, "the session is over: its claims drop what comes again");
            }
        }))
        .await;
        sessions.forget(Receipt::is_over);
        if !open {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_prefix_is_acked_at_once() {
        let (mut session, now) = (Session::default(), Instant::now());
        for tag in [2, 1, 3, 5] {
            session.finish(tag, now);
        }
        assert_eq!(session.due(now), [Ack { tag: 3, multiple: true }]);
        assert_eq!(session.due(now), []);
        session.finish(4, now);
        assert_eq!(session.due(now), [Ack { tag: 5, multiple: true }]);
    }

    #[test]
    fn what_waits_long_behind_an_unfinished_one_is_acked_singly() {
        let (mut session, now) = (Session::default(), Instant::now());
        session.finish(2, now);
        session.finish(3, now + PATIENCE);
        assert_eq!(session.due(now), []);
        assert_eq!(session.due(now + PATIENCE), [Ack { tag: 2, multiple: false }]);
        session.finish(1, now + PATIENCE);
        assert_eq!(session.due(now + PATIENCE), [Ack { tag: 3, multiple: true }]);
        assert!(!session.waits());
    }

    #[test]
    fn a_prefix_that_ends_in_acked_ones_is_acked_up_to_the_last_that_is_not() {
        let (mut session, now) = (Session::default(), Instant::now());
        session.finish(2, now);
        assert_eq!(session.due(now + PATIENCE), [Ack { tag: 2, multiple: false }]);
        session.finish(1, now + PATIENCE);
        assert_eq!(session.due(now + PATIENCE), [Ack { tag: 1, multiple: true }]);
    }

    #[test]
    fn a_session_that_rested_goes_on_where_it_was() {
        let (mut sessions, now) = (Sessions(HashMap::new()), Instant::now());
        sessions.finish(7, 1, &"receipt", now);
        assert_eq!(sessions.due(now), [("receipt", Ack { tag: 1, multiple: true })]);
        sessions.forget(|_| false);
        let later = now + Duration::from_hours(1);
        sessions.finish(7, 2, &"receipt", later);
        assert_eq!(sessions.due(later), [("receipt", Ack { tag: 2, multiple: true })]);
        assert!(!sessions.waits());
        sessions.forget(|receipt| *receipt == "receipt");
        assert!(sessions.0.is_empty());
    }
}
