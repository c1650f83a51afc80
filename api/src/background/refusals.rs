//! Writes what was refused, and checks that failed, into `sms_refusal`: in batches, off the answer's path. Under a
//! flood a part of the rows is written singly, and of the rest, as of what is refused while the database is down,
//! how many there were of each kind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use postrider_common::database::refusal::Refusal;
use postrider_common::database::{Database, DatabaseError};
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http::client_ip::UserIp;
use crate::http::clock::unix_ms;
use crate::http::problem::{Code, Problem};
use crate::http::request_id;
use crate::messages::limit_subject::{Kind, LimitSubject};

/// Refusals kept in memory at the most; what finds no place is counted.
const MOST: usize = 2048;
/// Written singly at most every [`EVERY`].
const AT_ONCE: usize = 500;
const EVERY: Duration = Duration::from_millis(500);
/// Kinds that are counted apart; what is of yet another kind is counted as nobody's.
const MOST_COUNTS: usize = 1000;

/// Takes note of refusals.
#[derive(Debug, Clone)]
pub struct Refusals {
    singly: mpsc::Sender<Refusal>,
    counted: Arc<Counts>,
}

/// Whose, kind and rule.
type Alike = (Option<Owner>, &'static str, String);

#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<Alike, i64>>);

impl Refusals {
    /// Starts the writer. It ends, after one last try, when the last handle is gone.
    pub fn start(database: Database) -> (Self, JoinHandle<()>) {
        let (singly, receiver) = mpsc::channel(MOST);
        let counted = Arc::<Counts>::default();
        let writing = tokio::spawn(write(database, receiver, Arc::clone(&counted)));
        (Self { singly, counted }, writing)
    }

    /// Takes note of a log-in or a change of password that failed or was refused. The name that was typed is kept
    /// nowhere: now and then it is a password.
    pub fn note_login(&self, problem: &Problem, account_id: Option<i64>, ip: Option<IpAddr>) {
        if problem.code.status().is_server_error() {
            return;
        }
        let owner = account_id.map(|id| Owner::new(id, false));
        if problem.code == Code::LoginLimited {
            // Whoever may ask without a token must not fill the table: how many there were is enough.
            return self.counted.add((owner, "login", problem.code.word().to_owned()));
        }
        self.note_of(problem, owner, "login", ip);
    }

    /// Takes note of a known caller who asked for what its token, key or account may not do, or from elsewhere.
    pub fn note_access(&self, problem: &Problem, owner: Owner, ip: Option<IpAddr>) {
        if problem.code.status() == StatusCode::FORBIDDEN {
            self.note_of(problem, Some(owner), "access", ip);
        }
    }

    /// Takes note of a request that says something wrong, before it is known whom it is about.
    pub fn note_unread(&self, problem: &Problem, kind: Kind, owner: Owner, ip: UserIp) {
        self.note_of(problem, Some(owner), kind.as_str(), ip.address());
    }

    /// Takes note of somebody who may not register.
    pub fn note_registration(&self, problem: &Problem, ip: Option<IpAddr>) {
        if problem.code == Code::IpLimited || problem.code == Code::RegistrationClosed {
            return self.counted.add((None, "registration", problem.code.word().to_owned()));
        }
        if !problem.code.status().is_server_error() {
            self.note_of(problem, None, "registration", ip);
        }
    }

    fn note_of(
        &self,
        problem: &Problem,
        owner: Option<Owner>,
        kind: &'static str,
        ip: Option<IpAddr>,
    ) {
        let alike = (owner, kind, problem.code.word().to_owned());
        let refusal = Refusal {
            policy: problem.policy(),
            client_ip: ip.map(|ip| ip.to_string()),
            request_id: request_id::current(),
            ..bare(alike.clone(), 1)
        };
        self.put(refusal, alike);
    }

    /// Takes note of a refusal of what was counted so. Never waits; failures of ours are no refusals.
    pub fn note(&self, problem: &Problem, counted: &LimitSubject<'_>, template: &str) {
        if problem.code.status().is_server_error() && problem.code != Code::Overloaded {
            return;
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let LimitSubject { kind, owner, phone, purpose, ip } = *counted;
        let alike = (Some(owner), kind.as_str(), problem.code.word().to_owned());
        let refusal = Refusal {
            policy: problem.policy(),
            phone_number: phone.map(PhoneNumber::masked),
            purpose: some(purpose),
            template_code: some(template),
            client_ip: ip.address().map(|ip| ip.to_string()),
            request_id: request_id::current(),
            ..bare(alike.clone(), 1)
        };
        self.put(refusal, alike);
    }

    fn put(&self, refusal: Refusal, alike: Alike) {
        if self.singly.try_send(refusal).is_err() {
            self.counted.add(alike);
        }
    }
}

impl Counts {
    fn add(&self, alike: Alike) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST_COUNTS || counts.contains_key(&alike) {
            *counts.entry(alike).or_default() += 1;
        } else {
            *counts.entry((None, alike.1, alike.2)).or_default() += 1;
        }
    }

    fn take(&self) -> Vec<Refusal> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        counts.into_iter().map(|(alike, times)| bare(alike, times)).collect()
    }
}

/// What all of a kind have in common.
fn bare((owner, kind, rule): Alike, times: i64) -> Refusal {
    Refusal {
        owner,
        kind: kind.to_owned(),
        rule,
        policy: None,
        phone_number: None,
        purpose: None,
        template_code: None,
        client_ip: None,
        request_id: None,
        times,
        create_time: unix_ms(),
    }
}

async fn write(database: Database, mut noted: mpsc::Receiver<Refusal>, counted: Arc<Counts>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    let mut failed = false;
    loop {
        tokio::time::sleep(EVERY).await;
        let open = !noted.is_closed();
        while batch.len() < AT_ONCE
            && let Ok(refusal) = noted.try_recv()
        {
            batch.push(refusal);
        }
        if !failed {
            batch.extend(counted.take());
        }
        batch = write_batch(&database, &batch).await;
        failed = !batch.is_empty();
        if !open && (failed || noted.is_empty()) {
            return;
        }
    }
}

/// Writes a batch; gives what is to be tried again. One that is refused for its own data is given up, and takes no other
/// with it.
async fn write_batch(database: &Database, batch: &[Refusal]) -> Vec<Refusal> {
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let Err(error) = database.record_refusals(part).await else { continue };
        if !matches!(error, DatabaseError::Refused(_)) {
            parts.push(part);
            tracing::warn!(%error, count = batch.len(), "refusals are not written yet");
            return parts.concat();
        }
        if part.len() > 1 {
            let (one, other) = part.split_at(part.len() / 2);
            parts.extend([other, one]);
        } else {
            tracing::warn!(%error, "the database refused a refusal: it is given up");
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestApp;

    #[tokio::test]
    async fn a_flood_is_sampled_and_the_rest_is_counted() {
        let test = TestApp::start(&[]).await;
        let owner = Owner::new(7, false);
        let counted = LimitSubject {
            kind: Kind::Code,
            owner,
            phone: None,
            purpose: "login",
            ip: None.into(),
        };
        let (refusals, writing) = Refusals::start(test.app.database.clone());
        let flood = i64::try_from(MOST).unwrap() + 5000;
        for _ in 0..flood {
            refusals.note(&Problem::new(Code::PhoneLimited), &counted, "");
        }
        drop(refusals);
        writing.await.unwrap();
        let rows = test.app.database.refusals(Some(7), 100_000).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.times).sum::<i64>(), flood, "none is forgotten");
        assert!(rows.len() <= MOST + 2, "{} rows", rows.len());
        assert!(rows.iter().any(|row| row.times == 1 && row.purpose.as_deref() == Some("login")));
    }

    #[test]
    fn kinds_that_are_counted_apart_are_bounded() {
        let counts = Counts::default();
        for id in 0..i64::try_from(MOST_COUNTS).unwrap() + 10 {
            counts.add((Some(Owner::new(id, false)), "code", "phone_limited".to_owned()));
        }
        let rows = counts.take();
        assert_eq!(rows.len(), MOST_COUNTS + 1);
        assert_eq!(rows.iter().find(|row| row.owner.is_none()).unwrap().times, 10);
    }
}
