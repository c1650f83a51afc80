//! What only the embedded form or only the code can show; all else is in `tests/log_contract.rs`, on every engine.

use crate::model::phone::PhoneRules;
use secrecy::SecretString;
use tempfile::TempDir;

use super::account::Role;
use super::blacklist::BanKind;
use super::{Database, DatabaseError};
use crate::sqlite::Sqlite;
use crate::store::BanSubject;

async fn open() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&folder.path().join("test.db")).await.unwrap();
    (folder, Database::sqlite(sqlite))
}

#[tokio::test]
async fn it_is_ready_once_migrated_and_migrating_twice_is_once() {
    let (_folder, database) = open().await;
    let missing = database.ping().await;
    assert!(matches!(missing, Err(DatabaseError::TablesMissing(_))), "{missing:?}");
    database.migrate().await.unwrap();
    database.migrate().await.unwrap();
    database.ping().await.unwrap();
}

#[tokio::test]
async fn a_missing_table_is_said_to_be_missing() {
    let (_folder, database) = open().await;
    let missing = database.ensure_account("shop", Role::Account, 1).await;
    assert!(matches!(missing, Err(DatabaseError::TablesMissing(_))), "{missing:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_the_password_stays_in() {
    // Nobody listens on port 1. All at once, since each waits for as long as a connection may take.
    let urls = ["postgres://sms:hunter2@127.0.0.1:1/sms", "mariadb://sms:hunter2@127.0.0.1:1/sms"];
    let errors = urls.map(async |url| {
        let database = Database::new(&SecretString::from(url), 1).unwrap();
        let (ping, migrate) = tokio::join!(database.ping(), database.migrate());
        [ping.unwrap_err(), migrate.unwrap_err()]
    });
    for error in futures::future::join_all(errors).await.concat() {
        assert!(matches!(error, DatabaseError::Unavailable(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let unreadable = Database::new(&SecretString::from("postgres://sms:hunter2@:x/"), 1);
    assert!(!format!("{:?}", unreadable.unwrap_err()).contains("hunter2"));
}

#[test]
fn a_ban_has_one_written_form() {
    let normalise = |kind: BanKind, value: &str| kind.normalise(value, &PhoneRules::default());
    for (kind, value, written) in [
        (BanKind::Phone, "138 0013 8000", "+8613800138000"),
        (BanKind::PhonePrefix, "+86170", "+86170"),
        (BanKind::Ip, "::ffff:203.0.113.7", "203.0.113.7"),
        (BanKind::Cidr, "203.0.113.7/24", "203.0.113.0/24"),
        (BanKind::Cidr, "2001:db8::1/32", "2001:db8::/32"),
    ] {
        assert_eq!(normalise(kind, value).unwrap(), written);
    }
    for (kind, value) in [
        (BanKind::Phone, "12345"),
        (BanKind::PhonePrefix, "86170"),
        (BanKind::PhonePrefix, "+"),
        (BanKind::Ip, "203.0.113.0/24"),
        (BanKind::Cidr, "203.0.113.7"),
    ] {
        assert!(normalise(kind, value).is_err(), "{kind} {value}");
    }
}

#[test]
fn the_store_looks_networks_up_by_their_bits() {
    let Some(BanSubject::Network(address)) = BanKind::Ip.subject("203.0.113.7") else { panic!() };
    let Some(BanSubject::Network(network)) = BanKind::Cidr.subject("203.0.113.0/24") else {
        panic!()
    };
    assert_eq!((address.len(), network.len()), (128, 120));
    assert!(address.starts_with(&network));
    assert_eq!(BanKind::Ip.subject("nowhere"), None);
}
