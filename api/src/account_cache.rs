//! The accounts this process has seen lately: bounded, and never trusted without its version being checked.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use postrider_common::database::account::Account;

/// Accounts kept at the most; which one goes for a new one is left to chance, since any can be loaded again.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub struct AccountCache(RwLock<HashMap<i64, Arc<Account>>>);

impl AccountCache {
    pub fn get(&self, id: i64) -> Option<Arc<Account>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Keeps an account, unless a newer version of it is there.
    pub fn put(&self, account: Account) -> Arc<Account> {
        let account = Arc::new(account);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.get(&account.id).is_some_and(|known| known.version > account.version) {
            return account;
        }
        if kept.len() >= MOST
            && !kept.contains_key(&account.id)
            && let Some(gone) = kept.keys().next().copied()
        {
            kept.remove(&gone);
        }
        kept.insert(account.id, Arc::clone(&account));
        account
    }

    pub fn forget(&self, id: i64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
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
            role: Role::Account,
            version,
            tokens_valid_from: 0,
            may_send: true,
        }
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest_version() {
        let cache = AccountCache::default();
        for id in 0..=i64::try_from(MOST).unwrap() {
            cache.put(account(id, 2));
        }
        assert_eq!(cache.0.read().unwrap().len(), MOST);
        let last = i64::try_from(MOST).unwrap();
        cache.put(account(last, 1));
        assert_eq!(cache.get(last).unwrap().version, 2);
        cache.forget(last);
        assert_eq!(cache.get(last), None);
    }
}
