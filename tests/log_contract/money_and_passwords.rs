//! Registrations, grants, passwords and credits: each decided once, however many ask at once.

use futures::StreamExt as _;
use futures::future::join_all;
use postrider_common::database::account::{Account, Role};
use postrider_common::database::credentials::{NewAccount, Registered};
use postrider_common::database::ledger::{Credited, MOST_BALANCE, NewCredit};
use postrider_common::database::{Database, DatabaseError};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

fn new(username: &str, email: &str) -> NewAccount {
    NewAccount {
        username: username.to_owned(),
        email: email.to_owned(),
        password_hash: SecretString::from("$argon2id$old"),
        security_question: "第一只宠物？".to_owned(),
        security_answer_hash: SecretString::from("$argon2id$answer"),
        may_send: false,
        create_time: 1000,
    }
}

async fn registered(database: &Database, username: &str) -> Account {
    let new = new(username, &format!("{username}@example.com"));
    match database.register(&new).await.unwrap() {
        Registered::Made(account) => account,
        taken => panic!("{taken:?}"),
    }
}

fn credit(account: &Account, amount: i64) -> NewCredit {
    NewCredit {
        id: Uuid::now_v7(),
        account_id: account.id,
        amount,
        reference: "发票 7".to_owned(),
        created_by: "ops".to_owned(),
        create_time: 2000,
    }
}

async fn balance(database: &Database, account: &Account) -> i64 {
    database.account(account.id).await.unwrap().unwrap().balance
}

pub(super) async fn an_account_is_registered_once(database: Database) {
    let made = registered(&database, "shop").await;
    assert_eq!(made.email.as_deref(), Some("shop@example.com"));
    assert_eq!((made.role, made.version, made.balance), (Role::Account, 1, 0));
    assert!(!made.may_send && !made.on_behalf);
    let again = async |name, email| database.register(&new(name, email)).await.unwrap();
    assert_eq!(again("shop", "other@example.com").await, Registered::UsernameTaken);
    assert_eq!(again("other", "shop@example.com").await, Registered::EmailTaken);
    assert_eq!(again("shop", "shop@example.com").await, Registered::UsernameTaken);
    assert_eq!(database.account_by_name("other").await.unwrap(), None);
    let kept = database.credentials("shop").await.unwrap().unwrap();
    assert_eq!(kept.account_id, made.id);
    assert_eq!(kept.password_hash.unwrap().expose_secret(), "$argon2id$old");
    assert_eq!(kept.security_answer_hash.unwrap().expose_secret(), "$argon2id$answer");
    // What an operator's command makes has neither address nor password, however many there are.
    for name in ["a", "b"] {
        database.ensure_account(name, Role::Account, 1000).await.unwrap();
        assert!(database.credentials(name).await.unwrap().unwrap().password_hash.is_none());
    }
}

pub(super) async fn registrations_of_one_name_at_once_make_one(database: Database) {
    let names = (0..100).map(|n| new("shop", &format!("{n}@example.com"))).collect();
    let answers = register_all(&database, names).await;
    let made = answers.iter().filter(|answer| matches!(answer, Registered::Made(_))).count();
    let taken = answers.iter().filter(|answer| **answer == Registered::UsernameTaken).count();
    assert_eq!((made, taken), (1, 99));
    let addresses = (0..100).map(|n| new(&format!("shop{n}"), "one@example.com")).collect();
    let answers = register_all(&database, addresses).await;
    let taken = answers.iter().filter(|answer| **answer == Registered::EmailTaken).count();
    assert_eq!(taken, 99);
}

/// As many at once as get a connection within the time that they wait for one.
async fn register_all(database: &Database, all: Vec<NewAccount>) -> Vec<Registered> {
    let registrations = all.iter().map(|new| database.register(new));
    futures::stream::iter(registrations).buffered(16).map(Result::unwrap).collect().await
}

pub(super) async fn a_name_is_found_only_as_it_is(database: Database) {
    registered(&database, "shop").await;
    for name in ["shop ", " shop", "Shop", "shop\0", "", "sho"] {
        assert!(database.credentials(name).await.unwrap().is_none(), "{name:?}");
        assert_eq!(database.account_by_name(name).await.unwrap(), None, "{name:?}");
    }
}

pub(super) async fn grants_are_set_one_by_one(database: Database) {
    let made = registered(&database, "shop").await;
    let set = async |may_send, on_behalf| {
        let account = database.set_grants(made.id, may_send, on_behalf, 2000).await.unwrap();
        account.map(|account| (account.may_send, account.on_behalf, account.version))
    };
    assert_eq!(set(Some(true), None).await, Some((true, false, 2)));
    assert_eq!(set(None, Some(true)).await, Some((true, true, 3)));
    assert_eq!(set(Some(false), Some(false)).await, Some((false, false, 4)));
    let nobody = database.set_grants(made.id + 1, Some(true), None, 2000).await.unwrap();
    assert_eq!(nobody, None);
}

pub(super) async fn a_password_is_changed_once(database: Database) {
    let made = registered(&database, "shop").await;
    let old = SecretString::from("$argon2id$old");
    let hashes: Vec<_> = (0..10).map(|n| SecretString::from(format!("$argon2id$new{n}"))).collect();
    let changes = hashes.iter().map(|new| database.set_password(made.id, Some(&old), new, 5000));
    let won: Vec<_> = join_all(changes).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let kept = database.credentials("shop").await.unwrap().unwrap();
    let winner = won.iter().position(|won| *won).unwrap();
    let hash = kept.password_hash.unwrap();
    assert_eq!(hash.expose_secret(), hashes[winner].expose_secret());
    let account = database.account(made.id).await.unwrap().unwrap();
    assert_eq!((account.version, account.tokens_valid_from), (2, 5000));

    // Tokens that ended stay ended, whatever the clock of the next says.
    assert!(database.set_password(made.id, None, &old, 4000).await.unwrap());
    assert_eq!(database.revoke_all(made.id, 4500).await.unwrap(), Some(4));
    let account = database.account(made.id).await.unwrap().unwrap();
    assert_eq!(account.tokens_valid_from, 5000);
    assert_eq!(database.revoke_all(made.id, 6000).await.unwrap(), Some(5));
    let account = database.account(made.id).await.unwrap().unwrap();
    assert_eq!(account.tokens_valid_from, 6001);
    assert!(!database.set_password(made.id + 1, None, &old, 4000).await.unwrap());
}

pub(super) async fn credits_at_once_add_up(database: Database) {
    let account = registered(&database, "shop").await;
    let credits: Vec<_> = (1..=100).map(|amount| credit(&account, amount)).collect();
    // Whoever waits too long for a connection asks again, as the same credit.
    let entered = async |credit| loop {
        match database.credit(credit).await {
            Err(DatabaseError::Unavailable(_)) => {}
            answer => return answer,
        }
    };
    let answers = join_all(credits.iter().map(entered)).await;
    let mut balances = Vec::new();
    for (answer, asked) in answers.into_iter().zip(&credits) {
        let Credited::Entered(entry) = answer.unwrap() else { panic!("not entered") };
        assert_eq!((entry.amount, entry.id), (asked.amount, asked.id.to_string()));
        balances.push((entry.balance, entry.amount));
    }
    assert_eq!(balance(&database, &account).await, 5050);
    balances.sort_unstable();
    let mut before = 0;
    for (after, amount) in balances {
        assert_eq!(after, before + amount, "each entry has the balance after it");
        before = after;
    }
    let version = database.account(account.id).await.unwrap().unwrap().version;
    assert_eq!(version, 1, "money is no change that requests are checked against");
}

pub(super) async fn the_same_credit_at_once_is_entered_once(database: Database) {
    let account = registered(&database, "shop").await;
    let same = credit(&account, 700);
    let answers = join_all((0..20).map(|_| database.credit(&same))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(balance(&database, &account).await, 700);
    // Another credit of that id is told what was entered, and enters nothing.
    let other = NewCredit { amount: 1, ..same.clone() };
    assert_eq!(database.credit(&other).await.unwrap(), answers[0]);
    assert_eq!(balance(&database, &account).await, 700);
}

pub(super) async fn a_credit_that_cannot_be_leaves_nothing(database: Database) {
    let account = registered(&database, "shop").await;
    database.credit(&credit(&account, MOST_BALANCE - 5)).await.unwrap();
    let refused = credit(&account, 6);
    assert_eq!(database.credit(&refused).await.unwrap(), Credited::TooMuch);
    assert_eq!(balance(&database, &account).await, MOST_BALANCE - 5);
    let Credited::Entered(entry) = database.credit(&credit(&account, 5)).await.unwrap() else {
        panic!("not entered")
    };
    assert_eq!(entry.balance, MOST_BALANCE);
    let nobody = Account { id: account.id + 1, ..account.clone() };
    let nobody = database.credit(&credit(&nobody, 5)).await.unwrap();
    assert_eq!(nobody, Credited::AccountNotFound);
    for amount in [0, -1, i64::MAX] {
        assert!(database.credit(&credit(&account, amount)).await.is_err());
    }
    // A credit that was refused can be entered later, under the same id.
    let other = registered(&database, "other").await;
    let later = NewCredit { account_id: other.id, ..refused };
    assert!(matches!(database.credit(&later).await.unwrap(), Credited::Entered(_)));
}
