//! An API key comes with its account, is found by its hash, and no account has more than its share.

use postrider_common::database::Database;
use postrider_common::database::account::{Account, Role};
use postrider_common::database::api_key::{ApiKey, MOST};

async fn shop(database: &Database) -> Account {
    database.ensure_account("shop", Role::Account, 1000).await.unwrap()
}

fn key(n: i64) -> ApiKey {
    ApiKey {
        id: format!("00000000-0000-7000-8000-{n:012}"),
        name: "后台".to_owned(),
        hint: "pk_live_abcd".to_owned(),
        hash: format!("{n:064}"),
        scopes: "send read".to_owned(),
        test: false,
        networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        expires_at: None,
        last_used: None,
        create_time: 1000 + n,
    }
}

pub(super) async fn a_key_is_read_back_as_it_was_made(database: Database) {
    let account = shop(&database).await;
    let plain = ApiKey { networks: Vec::new(), expires_at: Some(9000), test: true, ..key(2) };
    for key in [&key(1), &plain] {
        assert!(database.add_api_key(account.id, key).await.unwrap());
    }
    let keys: Vec<ApiKey> =
        shop(&database).await.api_keys.iter().map(|key| (**key).clone()).collect();
    assert_eq!(keys, [key(1), plain]);
    assert_eq!(shop(&database).await.version, account.version + 2);
    assert_eq!(database.account_of_api_key(&key(1).hash).await.unwrap(), Some(account.id));
    assert_eq!(database.account_of_api_key(&key(3).hash).await.unwrap(), None);
    assert!(database.add_api_key(account.id, &ApiKey { id: key(4).id, ..key(1) }).await.is_err());
    assert!(!database.add_api_key(account.id + 1, &key(5)).await.unwrap(), "nobody's");
}

pub(super) async fn a_key_is_deleted_by_its_account_alone(database: Database) {
    let (account, key) = (shop(&database).await, key(1));
    let other = database.ensure_account("other", Role::Account, 1000).await.unwrap();
    database.add_api_key(account.id, &key).await.unwrap();
    assert!(!database.delete_api_key(other.id, &key.id, 2000).await.unwrap());
    assert_eq!(shop(&database).await.api_keys.len(), 1);
    assert!(database.delete_api_key(account.id, &key.id, 2000).await.unwrap());
    assert!(!database.delete_api_key(account.id, &key.id, 2000).await.unwrap());
    assert_eq!(database.account_of_api_key(&key.hash).await.unwrap(), None);
    let after = shop(&database).await;
    assert!(after.api_keys.is_empty() && after.version >= account.version + 2, "{after:?}");
}

pub(super) async fn an_account_has_no_more_keys_than_its_share(database: Database) {
    let account = shop(&database).await;
    for n in 2..MOST {
        assert!(database.add_api_key(account.id, &key(n)).await.unwrap());
    }
    // Two places are left, and eight want one at the same time.
    let more = (0..8).map(|n| {
        let database = &database;
        async move { database.add_api_key(account.id, &key(1000 + n)).await.unwrap() }
    });
    let added = futures::future::join_all(more).await;
    assert_eq!(added.iter().filter(|added| **added).count(), 2, "{added:?}");
    let keys = shop(&database).await.api_keys;
    assert_eq!(i64::try_from(keys.len()), Ok(MOST));
    assert!(keys.is_sorted_by_key(|key| key.create_time));
    let other = database.ensure_account("other", Role::Account, 1000).await.unwrap();
    assert!(database.add_api_key(other.id, &key(2000)).await.unwrap());
}

pub(super) async fn the_latest_use_of_a_key_stays(database: Database) {
    let account = shop(&database).await;
    for n in [1, 2] {
        database.add_api_key(account.id, &key(n)).await.unwrap();
    }
    let before = shop(&database).await.version;
    database.set_last_used(&[(key(2).id, 7000), (key(1).id, 5000)]).await.unwrap();
    database.set_last_used(&[(key(2).id, 6000), (key(1).id, 8000)]).await.unwrap();
    database.set_last_used(&[("nobody".to_owned(), 1)]).await.unwrap();
    let after = shop(&database).await;
    let used: Vec<_> = after.api_keys.iter().map(|key| key.last_used).collect();
    assert_eq!((used, after.version), (vec![Some(8000), Some(7000)], before));
}
