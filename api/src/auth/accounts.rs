//! The accounts this process has seen lately, and what leads to them: bounded, and never trusted without an account's
//! version being checked.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use postrider_common::database::account::Account;
use postrider_common::database::{Database, DatabaseError};
use postrider_common::store::Store;
use tokio::sync::Semaphore;

use crate::background::store_recovery::StoreRecovery;
use crate::http::problem::{Code, Problem};

/// Entries kept at the most; which one goes for a new one is left to chance, since any can be loaded again.
const MOST: usize = 10_000;
/// Unknown keys that are asked of the table at once: a flood of made-up ones must leave connections to others.
const LOOKUPS: usize = 4;

#[derive(Debug)]
pub struct AccountCache {
    database: Database,
    store: Store,
    recovery: StoreRecovery,
    accounts: Bounded<i64, Arc<Account>>,
    /// User names, which never change.
    names: Bounded<String, i64>,
    /// Hashes of API keys.
    keys: Bounded<String, i64>,
    lookups: Semaphore,
}

#[derive(Debug)]
struct Bounded<K, V>(RwLock<HashMap<K, V>>);

impl AccountCache {
    #[must_use]
    pub fn new(database: Database, store: Store, recovery: StoreRecovery) -> Self {
        Self {
            database,
            store,
            recovery,
            accounts: Bounded::default(),
            names: Bounded::default(),
            keys: Bounded::default(),
            lookups: Semaphore::new(LOOKUPS),
        }
    }

    /// The account as this process remembers it.
    pub fn get(&self, id: i64) -> Option<Arc<Account>> {
        self.accounts.get(&id)
    }

    /// The account as this process remembers it, loaded where it doesn't.
    pub async fn get_or_load(&self, id: i64) -> Result<Option<Arc<Account>>, Problem> {
        match self.get(id) {
            Some(account) => Ok(Some(account)),
            None => self.load(id).await,
        }
    }

    /// The same by its user name.
    pub async fn find_by_name(&self, username: &str) -> Result<Option<Arc<Account>>, Problem> {
        if let Some(id) = self.names.get(username) {
            return self.get_or_load(id).await;
        }
        let Some(account) = self.database.account_by_name(username).await? else {
            return Ok(None);
        };
        self.names.put(username.to_owned(), account.id, |_| false);
        self.get_or_load(account.id).await
    }

    /// Loads an account, and tells the store its version before anything is decided by it: a change that the store
    /// couldn't be told of reaches the other replicas so.
    pub async fn load(&self, id: i64) -> Result<Option<Arc<Account>>, Problem> {
        let failed = |error| self.recovery.store_failed(&error);
        let Some(account) = self.database.account(id).await? else {
            self.accounts.forget(&id);
            let known = self.store.account_version(id).await.map_err(failed)?;
            // No account is ever deleted: the table gave a wrong answer, and nobody's token is wrong for it.
            return match known {
                Some(_) => Err(Problem::new(Code::DatabaseUnavailable)
                    .because(&"an account is not in the table")),
                None => Ok(None),
            };
        };
        self.store.set_account_version(id, account.version).await.map_err(failed)?;
        Ok(Some(self.put(account)))
    }

    pub fn id_of_key(&self, hash: &str) -> Option<i64> {
        self.keys.get(hash)
    }

    /// Asks the table whose key this is.
    pub async fn look_up_key(&self, hash: &str) -> Result<Option<i64>, DatabaseError> {
        // Never closed, so that there always is a permit to wait for.
        let _permit = self.lookups.acquire().await;
        let id = self.database.account_of_api_key(hash).await?;
        if let Some(id) = id {
            self.keys.put(hash.to_owned(), id, |_| false);
        }
        Ok(id)
    }

    pub fn forget_key(&self, hash: &str) {
        self.keys.forget(hash);
    }

    /// Keeps an account, unless a newer version of it is there.
    fn put(&self, account: Account) -> Arc<Account> {
        let account = Arc::new(account);
        let newer = |known: &Arc<Account>| known.version > account.version;
        self.accounts.put(account.id, Arc::clone(&account), newer);
        account
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Bounded<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn put(&self, key: K, value: V, unless: impl FnOnce(&V) -> bool) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.get(&key).is_some_and(unless) {
            return;
        }
        if kept.len() >= MOST
            && !kept.contains_key(&key)
            && let Some(gone) = kept.keys().next().cloned()
        {
            kept.remove(&gone);
        }
        kept.insert(key, value);
    }

    fn forget<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestApp;
    use postrider_common::database::account::Role;

    fn account(id: i64, version: i64) -> Account {
        Account {
            id,
            username: "demo".to_owned(),
            email: None,
            role: Role::Account,
            version,
            tokens_valid_from: 0,
            may_send: true,
            on_behalf: false,
            balance: 0,
            create_time: 0,
            revoked: std::collections::BTreeSet::new(),
            api_keys: Vec::new(),
        }
    }

    #[tokio::test]
    async fn it_is_bounded_and_keeps_the_newest_version() {
        let test = TestApp::start(&[]).await;
        let cache = &test.app.accounts;
        for id in 0..=i64::try_from(MOST).unwrap() {
            cache.put(account(id, 2));
        }
        assert_eq!(cache.accounts.0.read().unwrap().len(), MOST);
        let last = i64::try_from(MOST).unwrap();
        cache.put(account(last, 1));
        assert_eq!(cache.get(last).unwrap().version, 2);
        assert_eq!(cache.load(last).await.unwrap(), None, "no table has it");
        assert_eq!(cache.get(last), None);
    }
}
