//! What the database promises, asserted alike over SQLite, PostgreSQL and MariaDB.

mod accounts_and_bans;
mod api_keys;
#[cfg(test)]
mod errors;
mod money_and_passwords;
mod pages;
mod purging;
mod refusals;
mod revocations;
mod writing;

use postrider_common::database::Database;
use postrider_common::database::dead_letter::{DeadReason, NewDeadLetter};
use postrider_common::database::sms_log::{Record, Row, RowStatus};
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::{AnswerScope, Attempt, Lane, Outcome};
use postrider_common::sqlite::Sqlite;
use secrecy::SecretString;

use crate::harness::services;

const ACCOUNT: i64 = 7;

/// One module an engine, one test a promise: each on an empty, migrated database of its own.
macro_rules! on_every_engine {
    ($($module:ident::$name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (_folder, database) = super::sqlite().await;
                super::$module::$name(database).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let server = super::services::postgres().await;
                super::$module::$name(super::connect(server.url()).await).await;
            })+
        }
        mod mariadb {
            $(#[tokio::test]
            async fn $name() {
                let server = super::services::mariadb().await;
                super::$module::$name(super::connect(server.url()).await).await;
            })+
        }
    };
}

on_every_engine! {
    writing::a_record_is_read_back_as_it_was_written,
    writing::a_row_rises_to_sent_and_never_falls,
    writing::one_batch_may_hold_a_message_twice,
    writing::a_batch_may_be_large,
    writing::an_overlong_answer_is_cut,
    writing::a_batch_is_written_whole_or_not_at_all,
    writing::writers_of_the_same_rows_do_not_fail,
    writing::approvals_reach_the_rows_that_are_there,
    writing::times_are_readable_in_the_view,
    pages::pages_give_every_row_once_newest_first,
    pages::a_page_takes_no_longer_among_many_others,
    pages::a_filter_leaves_the_rest_out,
    pages::every_row_is_listed_under_its_status,
    pages::dead_letters_come_in_pages,
    accounts_and_bans::an_account_is_made_once,
    accounts_and_bans::a_promotion_raises_the_version,
    accounts_and_bans::a_grant_raises_the_version_once,
    accounts_and_bans::names_are_told_apart_by_case,
    accounts_and_bans::a_ban_holds_until_it_ends,
    accounts_and_bans::a_ban_by_itself_never_shortens_another,
    accounts_and_bans::bans_come_in_pages,
    money_and_passwords::an_account_is_registered_once,
    money_and_passwords::registrations_of_one_name_at_once_make_one,
    money_and_passwords::a_name_is_found_only_as_it_is,
    money_and_passwords::grants_are_set_one_by_one,
    money_and_passwords::a_password_is_changed_once,
    money_and_passwords::credits_at_once_add_up,
    money_and_passwords::the_same_credit_at_once_is_entered_once,
    money_and_passwords::a_credit_that_cannot_be_leaves_nothing,
    refusals::refusals_are_read_newest_first_by_account,
    api_keys::a_key_is_read_back_as_it_was_made,
    api_keys::a_key_is_deleted_by_its_account_alone,
    api_keys::an_account_has_no_more_keys_than_its_share,
    api_keys::the_latest_use_of_a_key_stays,
    revocations::a_revocation_comes_with_its_account_and_raises_its_version,
    revocations::revoked_at_once_by_many_it_is_revoked,
    revocations::too_many_revocations_kill_every_older_token,
    revocations::all_tokens_of_an_account_die_at_once,
    purging::old_messages_go_with_their_attempts_and_younger_ones_stay,
    purging::dead_letters_go_when_they_are_old_or_were_sent_since,
    purging::refusals_changes_of_bans_and_revocations_go,
    purging::bans_that_ended_go_and_those_in_force_stay,
    purging::a_purge_that_is_cut_off_goes_on_later_and_writers_go_on_beside_it,
}

async fn sqlite() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&folder.path().join("test.db")).await.unwrap();
    let database = Database::sqlite(sqlite);
    database.migrate().await.unwrap();
    (folder, database)
}

async fn connect(url: &str) -> Database {
    let database = Database::new(&SecretString::from(url), 4).unwrap();
    database.migrate().await.unwrap();
    database.ping().await.unwrap();
    database
}

fn row(create_time: i64) -> Row {
    Row {
        id: MessageId::generate(),
        account_id: ACCOUNT,
        verification_id: Some(VerificationId::generate()),
        key_id: "0a1b2c3d".to_owned(),
        lane: Lane::Code,
        phone_number: "+8613800138000".to_owned(),
        code: Some("0a1b2c3d.c2VhbGVk".to_owned()),
        purpose: Some("login".to_owned()),
        template_code: "verify".to_owned(),
        client_ip: Some("2001:db8::7".to_owned()),
        provider: Some("main".to_owned()),
        provider_message_id: Some("900".to_owned()),
        provider_message_hash: Some("0a0b0c0d.ff".to_owned()),
        attempts: 2,
        status: RowStatus::Sent,
        error_code: None,
        error_message: None,
        response: Some("{\"Code\":\"OK\",\"Message\":\"成功 ✅\"}".to_owned()),
        create_time,
        update_time: create_time + 5,
        verify_time: None,
        test: false,
        deadline: 0,
    }
}

fn record(row: Row) -> Record {
    Record { row: Some(row), attempts: Vec::new(), dead_letter: None }
}

fn failed(create_time: i64, error_code: &str) -> Row {
    let error_code = Some(error_code.to_owned());
    Row { status: RowStatus::Failed, error_code, ..row(create_time) }
}

fn attempt(number: u32, outcome: Outcome) -> Attempt {
    Attempt {
        number,
        provider: "main".to_owned(),
        outcome,
        scope: AnswerScope::Message,
        at: 1000,
        duration_ms: 20,
        provider_message_id: None,
        provider_message_hash: Some("0a0b0c0d.00".to_owned()),
        error_code: Some("timeout".to_owned()),
        error_message: None,
    }
}

fn dead_letter(id: &str, create_time: i64) -> NewDeadLetter {
    NewDeadLetter {
        id: id.to_owned(),
        message_id: Some(MessageId::generate()),
        lane: Some(Lane::Notice),
        reason: DeadReason::AttemptsSpent,
        detail: "every attempt was used".to_owned(),
        attempts: vec![attempt(1, Outcome::Later)],
        job: "sealed".to_owned(),
        create_time,
    }
}
