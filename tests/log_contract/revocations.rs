//! A revoked token stays revoked until it expires, and each revocation raises the account's version.

use postrider_common::database::Database;
use postrider_common::database::account::{Account, Role};
use postrider_common::database::revocation::MOST;

/// A thousand commits would take minutes.
async fn run(database: &Database, sql: String) {
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    let outcome = match database {
        Database::Sqlite(sqlite) => {
            sql.execute(&mut sqlite.connect().await.unwrap()).await.map(drop)
        }
        Database::Postgres(pool) => sql.execute(pool).await.map(drop),
        Database::Mysql(pool) => sql.execute(pool).await.map(drop),
    };
    outcome.unwrap();
}

async fn shop(database: &Database) -> Account {
    database.ensure_account("shop", Role::Account, 1000).await.unwrap()
}

pub(super) async fn a_revocation_comes_with_its_account_and_raises_its_version(database: Database) {
    let made = shop(&database).await;
    assert_eq!(database.revoke("a", made.id, 5000, 2000).await.unwrap(), Some(2));
    assert_eq!(database.revoke("a", made.id, 5000, 2001).await.unwrap(), None);
    assert_eq!(database.revoke("b", made.id, 9000, 4999).await.unwrap(), Some(3));
    let account = shop(&database).await;
    assert_eq!(account.revoked, ["a".to_owned(), "b".to_owned()].into());
    assert_eq!((account.version, account.tokens_valid_from), (3, 0));
    // The next one takes away what has expired.
    assert_eq!(database.revoke("c", made.id, 9000, 5000).await.unwrap(), Some(4));
    assert_eq!(shop(&database).await.revoked, ["b".to_owned(), "c".to_owned()].into());
    let other = database.ensure_account("other", Role::Account, 1000).await.unwrap();
    assert!(other.revoked.is_empty() && other.version == 1);
}

pub(super) async fn revoked_at_once_by_many_it_is_revoked(database: Database) {
    let made = shop(&database).await;
    let revoke = |n: usize| {
        let (database, jti) = (&database, format!("token-{}", n / 2));
        async move { database.revoke(&jti, made.id, 5000, 2000).await }
    };
    for outcome in futures::future::join_all((0..16).map(revoke)).await {
        outcome.unwrap();
    }
    let account = shop(&database).await;
    assert_eq!(account.revoked.len(), 8);
    assert!((9..=17).contains(&account.version), "{}", account.version);
}

pub(super) async fn too_many_revocations_kill_every_older_token(database: Database) {
    let made = shop(&database).await;
    let rows = |range: std::ops::Range<usize>| {
        let rows: Vec<_> =
            range.map(|n| format!("('token-{n}', {}, 9000, 2000)", made.id)).collect();
        format!("INSERT INTO revocation VALUES {}", rows.join(", "))
    };
    run(&database, rows(1..MOST)).await;
    database.revoke("the last", made.id, 9000, 2000).await.unwrap();
    let full = shop(&database).await;
    assert_eq!((full.revoked.len(), full.tokens_valid_from), (MOST, 0));
    database.revoke("one more", made.id, 9000, 3000).await.unwrap();
    let account = shop(&database).await;
    assert_eq!(account.revoked, ["one more".to_owned()].into());
    assert_eq!((account.tokens_valid_from, account.version), (3001, full.version + 1));
}

pub(super) async fn all_tokens_of_an_account_die_at_once(database: Database) {
    let made = shop(&database).await;
    database.revoke("a", made.id, 9000, 2000).await.unwrap();
    assert_eq!(database.revoke_all(made.id, 3000).await.unwrap(), Some(3));
    let account = shop(&database).await;
    assert!(account.revoked.is_empty() && account.tokens_valid_from == 3001, "{account:?}");
    assert_eq!(database.revoke_all(made.id + 1, 3000).await.unwrap(), None);
}
