//! `account`, as who logs in sees it: registration, password and security answer.

use sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use secrecy::{ExposeSecret as _, SecretString};

use super::account::{Account, COLUMNS, Role, is_name, new_id};
use super::error::refused;
use super::revocation::{at_least, change_of};
use super::statement::Write;
use super::{Database, DatabaseError};

/// How often a registration is begun again that met neither the name nor the address of another: its id was taken, or
/// the other was undone meanwhile.
const TRIES: usize = 3;

/// What a log-in is checked against.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub account_id: i64,
    /// argon2id, as a PHC string; `None`: it can't log in by password.
    pub password_hash: Option<SecretString>,
    /// The same of the security answer; `None`: it has none.
    pub security_answer_hash: Option<SecretString>,
}

#[derive(Debug, Clone)]
pub struct NewAccount {
    pub username: String,
    /// In lower case.
    pub email: String,
    pub password_hash: SecretString,
    pub security_question: String,
    pub security_answer_hash: SecretString,
    pub may_send: bool,
    /// Unix milliseconds.
    pub create_time: i64,
}

/// What came of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    Made(Account),
    UsernameTaken,
    EmailTaken,
}

#[derive(sqlx::FromRow)]
struct CredentialsRead {
    id: i64,
    password_hash: Option<String>,
    security_answer_hash: Option<String>,
}

impl Database {
    /// Makes an account, unless its name or its e-mail address is another's: the unique indexes decide, so that of two
    /// at once one is made.
    pub async fn register(&self, new: &NewAccount) -> Result<Registered, DatabaseError> {
        if !is_name(&new.username) {
            return Err(refused("an account's name has 1 to 128 characters, no space at its ends"));
        }
        for _ in 0..TRIES {
            let id = new_id();
            self.write(&[Write::Insert(insert(id, new)?)]).await?;
            match self.account(id).await? {
                Some(account) if account.username == new.username => {
                    return Ok(Registered::Made(account));
                }
                _ if self.account_by_name(&new.username).await?.is_some() => {
                    return Ok(Registered::UsernameTaken);
                }
                _ if self.has_email(&new.email).await? => return Ok(Registered::EmailTaken),
                _ => {}
            }
        }
        Err(DatabaseError::Unavailable("an account that was just made is not there".to_owned()))
    }

    /// What a log-in of the account of exactly this name is checked against.
    pub async fn credentials(&self, username: &str) -> Result<Option<Credentials>, DatabaseError> {
        if !is_name(username) {
            return Ok(None);
        }
        let mut select = Query::select();
        select
            .columns(["id", "password_hash", "security_answer_hash"])
            .from("account")
            .and_where(Expr::col("username").eq(username));
        let read = self.fetch::<CredentialsRead>(&select).await?.into_iter().next();
        Ok(read.map(|read| Credentials {
            account_id: read.id,
            password_hash: read.password_hash.map(SecretString::from),
            security_answer_hash: read.security_answer_hash.map(SecretString::from),
        }))
    }

    /// Sets a password, and ends every token issued before `now`; the version rises. With `old` only in place of the
    /// password with that hash. `false`: it has another by now, or there is no such account.
    pub async fn set_password(
        &self,
        account_id: i64,
        old: Option<&SecretString>,
        new: &SecretString,
        now: i64,
    ) -> Result<bool, DatabaseError> {
        let mut set = change_of(account_id, now);
        set.value("password_hash", new.expose_secret()).value("tokens_valid_from", at_least(now));
        if let Some(old) = old {
            set.and_where(Expr::col("password_hash").eq(old.expose_secret()));
        }
        Ok(self.write(&[Write::Update(set)]).await? == [1])
    }

    async fn has_email(&self, email: &str) -> Result<bool, DatabaseError> {
        let mut select = Query::select();
        select.column("id").from("account").and_where(Expr::col("email").eq(email));
        Ok(!self.fetch::<(i64,)>(&select).await?.is_empty())
    }
}

fn insert(id: i64, new: &NewAccount) -> Result<sea_query::InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    let secrets = ["password_hash", "security_question", "security_answer_hash"];
    insert.into_table("account").columns(COLUMNS.into_iter().chain(secrets));
    let values: [Expr; 14] = [
        id.into(),
        new.username.as_str().into(),
        new.email.as_str().into(),
        Role::Account.as_str().into(),
        i32::from(new.may_send).into(),
        0.into(),
        1_i64.into(),
        0_i64.into(),
        0_i64.into(),
        new.create_time.into(),
        new.create_time.into(),
        new.password_hash.expose_secret().into(),
        new.security_question.as_str().into(),
        new.security_answer_hash.expose_secret().into(),
    ];
    insert.values(values).map_err(refused)?;
    // Whatever it clashes with. (MySQL is told to set a column to itself.)
    insert.on_conflict(OnConflict::new().do_nothing_on(["id"]).to_owned());
    Ok(insert)
}
