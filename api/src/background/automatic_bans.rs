//! Writes down the bans that the store made by itself: into the table, off the answer's path, since the table is what
//! a store that lost its data is filled from. The third of one phone or network within a day may be for good.

use std::time::Duration;

use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::database::blacklist_write::{BY_ITSELF, BlacklistChange};
use postrider_common::database::{Database, DatabaseError};
use postrider_common::model::owner::Owner;
use postrider_common::store::{Ban, BanCheck, BanSubject, Explain, Store, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http::clock::{rfc3339, unix_ms};
use crate::messages::limit_subject::Kind;

/// Bans that wait to be written at the most. What finds no place is enforced until it ends, or until the store loses
/// its data.
const MOST: usize = 1024;
/// Between two tries while table or store are down.
const WAIT: Duration = Duration::from_secs(1);
/// So many within [`DAY_MS`] make one for good.
const ENOUGH: usize = 3;
const DAY_MS: i64 = 86_400_000;

/// Takes note of bans that were just made.
#[derive(Debug, Clone)]
pub struct AutomaticBans(mpsc::Sender<Made>);

#[derive(Debug)]
struct Made {
    ban: Ban,
    reason: String,
    at: i64,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AutomaticBans {
    /// Starts the writer. It ends when the last handle is gone and what was noted is written, or can't be.
    /// `permanent`: whether the third ban within a day is for good.
    pub fn start(database: Database, store: Store, permanent: bool) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(MOST);
        (Self(sender), tokio::spawn(write(Writer { database, store, permanent }, receiver)))
    }

    /// Never waits. `owner` is whose request made the bans.
    pub fn note(&self, bans: Vec<Ban>, kind: Kind, owner: Owner) {
        for ban in bans {
            let what = if kind == Kind::Check { "failed checks" } else { "refused sends" };
            let reason = format!("{what}, the last one of account {}", owner.account_id());
            tracing::info!(bans.reason = what, "banned by itself");
            metrics::counter!("sms_automatic_bans_total", "kind" => kind.as_str()).increment(1);
            if self.0.try_send(Made { ban, reason, at: unix_ms() }).is_err() {
                tracing::warn!("too many bans wait to be written");
            }
        }
    }
}

struct Writer {
    database: Database,
    store: Store,
    permanent: bool,
}

async fn write(writer: Writer, mut made: mpsc::Receiver<Made>) {
    while let Some(made) = made.recv().await {
        let Some((kind, value)) = BanKind::of_subject(&made.ban.subject) else { continue };
        let entry = BlacklistEntry {
            kind,
            value,
            reason: made.reason,
            created_by: BY_ITSELF.to_owned(),
            until: (made.ban.until > 0).then_some(made.ban.until),
            create_time: made.at,
        };
        writer.write(&made.ban, entry).await;
    }
}

impl Writer {
    async fn write(&self, made: &Ban, entry: BlacklistEntry) {
        let written = self.persist(&entry, || async {
            let stands = self.stands(made).await?;
            if stands {
                self.set(&entry).await?;
            }
            Ok(stands)
        });
        if written.await != Some(true) || !self.permanent {
            return;
        }
        let Some(Some(for_good)) = self.persist(&entry, || self.for_good(&entry)).await else {
            return;
        };
        let Some(ban) = for_good.ban() else { return };
        let told = || async { Ok(self.store.ban(std::slice::from_ref(&ban)).await?) };
        if self.persist(&entry, || self.set(&for_good)).await.is_some()
            && self.persist(&entry, told).await.is_some()
        {
            tracing::warn!(ban.kind = for_good.kind.as_str(), "banned for good by itself");
        }
    }

    /// Tries until it is done, the ban is over, or the table will never take it.
    async fn persist<T, F: Future<Output = Result<T, WriteError>>>(
        &self,
        entry: &BlacklistEntry,
        attempt: impl Fn() -> F,
    ) -> Option<T> {
        loop {
            let error = match attempt().await {
                Ok(done) => return Some(done),
                Err(error) => error,
            };
            tracing::warn!(%error, "a ban that came by itself is not written yet");
            let never = matches!(error, WriteError::Database(DatabaseError::Refused(_)));
            if never || entry.until.is_some_and(|until| until <= unix_ms()) {
                return None;
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    /// Whether the store still holds the ban, or one that ends later: it may have been lifted since. A store that lost its
    /// data can't tell, and is to get it back from the table.
    async fn stands(&self, made: &Ban) -> Result<bool, WriteError> {
        let ask = Explain { now: None, limits: Vec::new(), ban_check: hit_by(&made.subject) };
        let bans = match self.store.explain(&ask).await {
            Ok(explained) => explained.bans,
            Err(StoreError::Lost) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let as_long = |until| until == 0 || (made.until > 0 && until >= made.until);
        Ok(bans.iter().any(|ban| ban.subject == made.subject && as_long(ban.until)))
    }

    async fn set(&self, entry: &BlacklistEntry) -> Result<(), WriteError> {
        Ok(self.database.ban_at_least(entry).await?)
    }

    /// The ban for good that this one makes, if it is the third of a day. One for good that was lifted since begins
    /// the count anew.
    async fn for_good(&self, entry: &BlacklistEntry) -> Result<Option<BlacklistEntry>, WriteError> {
        let since = entry.create_time - DAY_MS;
        let mut bans = self.database.bans_by_itself(entry.kind, &entry.value, since).await?;
        if let Some(earlier) = bans.iter().position(|ban| ban.until.is_none()) {
            bans.truncate(earlier);
        }
        let enough = bans.len() >= ENOUGH;
        Ok(enough.then(|| BlacklistEntry { reason: evidence(&bans), until: None, ..entry.clone() }))
    }
}

/// What a ban of this hits, among others.
fn hit_by(subject: &BanSubject) -> BanCheck {
    match subject {
        BanSubject::Phone(phone) | BanSubject::PhonePrefix(phone) => {
            BanCheck { phone: Some(phone.clone()), ..BanCheck::default() }
        }
        BanSubject::AccountPhone(value) => {
            BanCheck { account_phone: Some(value.clone()), ..BanCheck::default() }
        }
        // The network's first address.
        BanSubject::Network(bits) => {
            BanCheck { ip_bits: Some(format!("{bits:0<128}")), ..BanCheck::default() }
        }
    }
}

/// When each of the bans came, and why.
fn evidence(bans: &[BlacklistChange]) -> String {
    let each: Vec<_> =
        bans.iter().map(|ban| format!("{}: {}", rfc3339(ban.create_time), ban.reason)).collect();
    format!("{} bans within a day ({})", bans.len(), each.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestApp;
    use postrider_common::model::address;

    const PHONE: &str = "+8613800138000";

    /// The entry of the phone after this many bans within a day.
    async fn after(times: i64, permanent: bool) -> (BlacklistEntry, Vec<Ban>) {
        let test = TestApp::start(&[]).await;
        let (database, store) = (test.app.database.clone(), test.app.store.clone());
        let (bans, writing) = AutomaticBans::start(database.clone(), store.clone(), permanent);
        let now = unix_ms();
        for time in 0..times {
            let subject = BanSubject::Phone(PHONE.to_owned());
            let ban = Ban { subject, until: now + 1_800_000 + time };
            store.ban(std::slice::from_ref(&ban)).await.unwrap();
            bans.note(vec![ban], Kind::Check, Owner::new(7, false));
        }
        drop(bans);
        writing.await.unwrap();
        let ban_check = BanCheck { phone: Some(PHONE.to_owned()), ..BanCheck::default() };
        let explain = Explain { now: None, limits: Vec::new(), ban_check };
        let enforced = store.explain(&explain).await.unwrap().bans;
        let entry = database.ban_of(BanKind::Phone, PHONE, now).await.unwrap().unwrap();
        (entry, enforced)
    }

    #[tokio::test]
    async fn a_ban_that_came_by_itself_is_in_the_table() {
        let (entry, enforced) = after(3, false).await;
        assert_eq!(entry.created_by, BY_ITSELF);
        assert_eq!(entry.reason, "failed checks, the last one of account 7");
        assert_eq!(entry.until, Some(enforced[0].until), "the latest end holds");
    }

    #[tokio::test]
    async fn the_third_within_a_day_is_for_good_where_that_is_wanted() {
        let (entry, enforced) = after(2, true).await;
        assert!(entry.until.is_some() && enforced[0].until > 0);
        let (entry, enforced) = after(3, true).await;
        assert_eq!((entry.until, enforced[0].until), (None, 0));
        assert!(entry.reason.starts_with("3 bans within a day ("), "{}", entry.reason);
    }

    #[tokio::test]
    async fn a_ban_that_was_lifted_before_it_was_written_does_not_come_back() {
        let test = TestApp::start(&[]).await;
        let (database, store) = (test.app.database.clone(), test.app.store.clone());
        let (bans, writing) = AutomaticBans::start(database.clone(), store.clone(), false);
        let until = unix_ms() + 1_800_000;
        let network = address::network_bits("2001:db8::/64".parse().unwrap());
        let lifted = Ban { subject: BanSubject::Phone(PHONE.to_owned()), until };
        let shortened = Ban { subject: BanSubject::Phone("+8613800138001".to_owned()), until };
        let stands = Ban { subject: BanSubject::Network(network), until };
        let short = Ban { until: until - 1, ..shortened.clone() };
        store.ban(&[short, stands.clone()]).await.unwrap();
        bans.note(vec![lifted, shortened, stands.clone()], Kind::Check, Owner::new(7, false));
        drop(bans);
        writing.await.unwrap();
        let written = database.bans(unix_ms()).await.unwrap();
        let written: Vec<_> = written.iter().filter_map(BlacklistEntry::ban).collect();
        assert_eq!(written, [stands]);
    }
}
