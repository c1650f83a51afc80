//! Accounts are made once; bans hold until they end.

use postrider_common::database::Database;
use postrider_common::database::account::Role;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};

pub(super) async fn an_account_is_made_once(database: Database) {
    let both = futures::future::join_all(
        (0..8).map(|_| database.ensure_account("shop", Role::Account, 1000)),
    )
    .await;
    let made: Vec<_> = both.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|account| *account == made[0]), "{made:?}");
    let account = &made[0];
    assert!(account.id > 0 && account.id < 100_000_000_000_000);
    assert_eq!((account.role, account.version, account.may_send), (Role::Account, 1, true));
    assert_eq!(database.account(account.id).await.unwrap().as_ref(), Some(account));
    assert_eq!(database.account_by_name("shop").await.unwrap().as_ref(), Some(account));
    assert_eq!(database.account(account.id + 1).await.unwrap(), None);
    assert_eq!(database.account_by_name("nobody").await.unwrap(), None);
}

pub(super) async fn a_promotion_raises_the_version(database: Database) {
    let made = database.ensure_account("ops", Role::Account, 1000).await.unwrap();
    let promoted = database.ensure_account("ops", Role::Admin, 2000).await.unwrap();
    assert_eq!(promoted.id, made.id);
    assert_eq!((promoted.role, promoted.version), (Role::Admin, made.version + 1));
    // Nobody is promoted twice, nor demoted by asking for less.
    for role in [Role::Admin, Role::Account] {
        assert_eq!(database.ensure_account("ops", role, 3000).await.unwrap(), promoted);
    }
}

pub(super) async fn a_grant_raises_the_version_once(database: Database) {
    let made = database.ensure_account("shop", Role::Account, 1000).await.unwrap();
    assert!(!made.on_behalf);
    let granted = database.grant_on_behalf(made.id, 2000).await.unwrap().unwrap();
    assert!(granted.on_behalf);
    assert_eq!(granted.version, made.version + 1);
    assert_eq!(database.grant_on_behalf(made.id, 3000).await.unwrap(), Some(granted));
    assert_eq!(database.grant_on_behalf(made.id + 1, 3000).await.unwrap(), None);
}

pub(super) async fn names_are_told_apart_by_case(database: Database) {
    let mut ids = std::collections::HashSet::new();
    for name in ["shop", "Shop", "SHOP", "商店", "shóp"] {
        ids.insert(database.ensure_account(name, Role::Account, 1000).await.unwrap().id);
    }
    assert_eq!(ids.len(), 5);
    for name in ["", " shop", "shop ", "sh\0op"] {
        assert!(database.ensure_account(name, Role::Account, 1000).await.is_err(), "{name:?}");
    }
}

pub(super) async fn a_ban_holds_until_it_ends(database: Database) {
    let ban = |kind: BanKind, value: &str, until: Option<i64>| BlacklistEntry {
        kind,
        value: value.to_owned(),
        reason: "刷".repeat(2000),
        created_by: "ops".to_owned(),
        until,
        create_time: 1000,
    };
    let (phone, network) = ("+8613800138000", "203.0.113.0/24");
    database.ban(&ban(BanKind::Phone, phone, Some(2000))).await.unwrap();
    database.ban(&ban(BanKind::Cidr, network, None)).await.unwrap();
    let in_force = async |now| {
        let bans = database.bans(now).await.unwrap();
        let mut values: Vec<_> = bans.into_iter().map(|ban| (ban.value, ban.until)).collect();
        values.sort();
        values
    };
    let (phones, networks) = ((phone.to_owned(), Some(2000)), (network.to_owned(), None));
    assert_eq!(in_force(1999).await, [phones, networks.clone()]);
    assert_eq!(in_force(2000).await, std::slice::from_ref(&networks));

    // The same again replaces it.
    database.ban(&ban(BanKind::Phone, phone, Some(5000))).await.unwrap();
    assert_eq!(in_force(2000).await, [(phone.to_owned(), Some(5000)), networks.clone()]);
    assert!(database.unban(BanKind::Phone, phone).await.unwrap());
    assert!(!database.unban(BanKind::Phone, phone).await.unwrap());
    assert!(!database.unban(BanKind::Ip, network).await.unwrap());
    assert_eq!(in_force(2000).await, [networks]);
}
