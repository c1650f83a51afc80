//! Changes of an account: brought to their end also where the caller goes away meanwhile, and told to the store, which
//! every replica asks with each request.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::accounts::AccountCache;
use crate::http::problem::{Code, Problem};

/// How often, and how many times, a store that couldn't be told is told again.
const AGAIN: Duration = Duration::from_millis(500);
const TIMES: u32 = 1200;

/// Runs a change of an account's row. Where it is done and the store can't be told the answer is `store_unavailable`,
/// and the store is told once it is back: until then it lets nobody in.
pub async fn change<T: Send + 'static>(
    accounts: &Arc<AccountCache>,
    account_id: i64,
    change: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let accounts = Arc::clone(accounts);
    let changing = tokio::spawn(async move {
        let changed = change.await;
        // Also after an error: the database may have done it all the same.
        let told = tell(&accounts, account_id).await;
        changed.and_then(|changed| told.map(|()| changed))
    });
    changing.await.unwrap_or_else(|error| Err(Problem::new(Code::Internal).because(&error)))
}

async fn tell(accounts: &Arc<AccountCache>, account_id: i64) -> Result<(), Problem> {
    let told = accounts.load(account_id).await.map(drop);
    if told.is_err() {
        let accounts = Arc::clone(accounts);
        tokio::spawn(async move {
            for _ in 0..TIMES {
                tokio::time::sleep(AGAIN).await;
                if accounts.load(account_id).await.is_ok() {
                    return;
                }
            }
            tracing::error!(account.id = account_id, "the store was never told of a change");
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestApp;

    #[tokio::test]
    async fn a_change_is_made_and_told_though_its_caller_goes_away() {
        let test = TestApp::start(&[]).await;
        test.token("shop", &[]).await;
        let id = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
        let setting = {
            let app = Arc::clone(&test.app);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(app.database.set_grants(id, Some(false), None, 0).await?)
            }
        };
        let gone = tokio::time::timeout(
            Duration::from_millis(20),
            change(&test.app.accounts, id, setting),
        )
        .await;
        assert!(gone.is_err());
        while test.app.store.account_version(id).await.unwrap() != Some(2) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!test.app.accounts.get(id).unwrap().may_send);
    }
}
