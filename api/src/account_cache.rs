//! The accounts this process has seen lately, and what leads to them: bounded, and never trusted without an account's
//! version being checked.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use postrider_common::database::account::Account;
use postrider_common::database::{Database, DatabaseError};
use tokio::sync::Semaphore;

/// Entries kept at the most; which one goes for a new one is left to chance, since any can be loaded again.
const MOST: usize = 10_000;
/// Unknown keys that are asked of the table at once: a flood of made-up ones must leave connections to others.
const LOOKUPS: usize = 4;

#[derive(Debug)]
pub struct AccountCache {
    accounts: Bounded<i64, Arc<Account>>,
    /// User names, which never change.
    names: Bounded<String, i64>,
    /// Hashes of API keys.
    keys: Bounded<String, i64>,
    lookups: Semaphore,
}

impl Default for AccountCache {
    fn default() -> Self {
        Self {
            accounts: Bounded::default(),
            names: Bounded::default(),
            keys: Bounded::default(),
            lookups: Semaphore::new(LOOKUPS),
        }
    }
}

#[derive(Debug)]
struct Bounded<K, V>(RwLock<HashMap<K, V>>);

impl AccountCache {
    pub fn get(&self, id: i64) -> Option<Arc<Account>> {
        self.accounts.get(&id)
    }

    pub fn id_of_name(&self, username: &str) -> Option<i64> {
        self.names.get(username)
    }

    pub fn put_name(&self, username: &str, id: i64) {
        self.names.put(username.to_owned(), id, |_| false);
    }

    pub fn id_of_key(&self, hash: &str) -> Option<i64> {
        self.keys.get(hash)
    }

    /// Asks the table whose key this is.
    pub async fn look_up_key(
        &self,
        database: &Database,
        hash: &str,
    ) -> Result<Option<i64>, DatabaseError> {
        // Never closed, so that there always is a permit to wait for.
        let _permit = self.lookups.acquire().await;
        let id = database.account_of_api_key(hash).await?;
        if let Some(id) = id {
            self.keys.put(hash.to_owned(), id, |_| false);
        }
        Ok(id)
    }

    pub fn forget_key(&self, hash: &str) {
        self.keys.forget(hash);
    }

    /// Keeps an account, unless a newer version of it is there.
    pub fn put(&self, account: Account) -> Arc<Account> {
        let account = Arc::new(account);
        let newer = |known: &Arc<Account>| known.version > account.version;
        self.accounts.put(account.id, Arc::clone(&account), newer);
        account
    }

    pub fn forget(&self, id: i64) {
        self.accounts.forget(&id);
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

    #[test]
    fn it_is_bounded_and_keeps_the_newest_version() {
        let cache = AccountCache::default();
        for id in 0..=i64::try_from(MOST).unwrap() {
            cache.put(account(id, 2));
        }
        assert_eq!(cache.accounts.0.read().unwrap().len(), MOST);
        let last = i64::try_from(MOST).unwrap();
        cache.put(account(last, 1));
        assert_eq!(cache.get(last).unwrap().version, 2);
        cache.forget(last);
        assert_eq!(cache.get(last), None);
    }
}
