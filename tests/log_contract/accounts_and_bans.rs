//! Accounts are made once; bans hold until they end.

use postrider_common::database::Database;
use postrider_common::database::account::Role;
use postrider_common::database::blacklist::{BanKind, BlacklistEntry};
use postrider_common::database::blacklist_write::{BY_ITSELF, ChangeAction, Lift};

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
    database.ban(&ban(BanKind::Phone, phone, Some(2000)), false).await.unwrap();
    database.ban(&ban(BanKind::Cidr, network, None), true).await.unwrap();
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
    database.ban(&ban(BanKind::Phone, phone, Some(5000)), false).await.unwrap();
    assert_eq!(in_force(2000).await, [(phone.to_owned(), Some(5000)), networks.clone()]);
    let lift = |kind, value| Lift { kind, value, reason: "a mistake", by: "ops", now: 3000 };
    assert!(database.unban(&lift(BanKind::Phone, phone)).await.unwrap());
    assert!(!database.unban(&lift(BanKind::Phone, phone)).await.unwrap());
    assert!(!database.unban(&lift(BanKind::Ip, network)).await.unwrap());
    assert_eq!(in_force(2000).await, [networks]);

    let changes = database.blacklist_changes(None, 10).await.unwrap();
    let said: Vec<_> = changes.iter().map(|change| (change.action, change.kind)).collect();
    let banned = |kind| (ChangeAction::Banned, kind);
    assert_eq!(said.len(), 4);
    assert_eq!(said[0], (ChangeAction::Lifted, BanKind::Phone));
    assert_eq!(changes[0].reason, "a mistake");
    for change in &changes {
        assert_eq!(change.forced, change.kind == BanKind::Cidr, "{change:?}");
    }
    assert!(said.contains(&banned(BanKind::Cidr)) && said.contains(&banned(BanKind::Phone)));
    let after = changes.get(1).map(|change| (change.create_time, change.id.as_str()));
    assert_eq!(database.blacklist_changes(after, 10).await.unwrap(), changes[2..]);
}

pub(super) async fn a_ban_by_itself_never_shortens_another(database: Database) {
    let at_least = async |value: &str, until: Option<i64>, create_time| {
        let entry = BlacklistEntry {
            kind: BanKind::Ip,
            value: value.to_owned(),
            reason: "refused sends".to_owned(),
            created_by: BY_ITSELF.to_owned(),
            until,
            create_time,
        };
        database.ban_at_least(&entry).await.unwrap();
        database.ban_of(BanKind::Ip, value, 0).await.unwrap().unwrap().until
    };
    assert_eq!(at_least("203.0.113.7", Some(5000), 1).await, Some(5000));
    assert_eq!(at_least("203.0.113.7", Some(4000), 2).await, Some(5000));
    assert_eq!(at_least("203.0.113.7", Some(6000), 3).await, Some(6000));
    assert_eq!(at_least("203.0.113.7", None, 4).await, None);
    assert_eq!(at_least("203.0.113.7", Some(9000), 5).await, None);
    assert_eq!(at_least("203.0.113.8", Some(9000), 6).await, Some(9000));

    // What they were is all there, newest first.
    let bans = database.bans_by_itself(BanKind::Ip, "203.0.113.7", 3).await.unwrap();
    let untils: Vec<_> = bans.iter().map(|ban| ban.until).collect();
    assert_eq!(untils, [Some(9000), None, Some(6000)]);
}

pub(super) async fn bans_come_in_pages(database: Database) {
    for (kind, value) in [
        (BanKind::Ip, "203.0.113.2"),
        (BanKind::Phone, "+8613800138000"),
        (BanKind::Ip, "203.0.113.1"),
        (BanKind::Cidr, "203.0.113.0/24"),
    ] {
        let entry = BlacklistEntry {
            kind,
            value: value.to_owned(),
            reason: String::new(),
            created_by: "ops".to_owned(),
            until: None,
            create_time: 1,
        };
        database.ban(&entry, false).await.unwrap();
    }
    let page = async |kind, after, limit| {
        let bans = database.bans_page(1000, kind, after, limit).await.unwrap();
        bans.into_iter().map(|ban| ban.value).collect::<Vec<_>>()
    };
    assert_eq!(page(None, None, 2).await, ["203.0.113.0/24", "203.0.113.1"]);
    let rest = page(None, Some((BanKind::Ip, "203.0.113.1")), 9).await;
    assert_eq!(rest, ["203.0.113.2", "+8613800138000"]);
    assert_eq!(page(Some(BanKind::Ip), None, 9).await, ["203.0.113.1", "203.0.113.2"]);
}
