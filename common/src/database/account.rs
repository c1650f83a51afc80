//! `account`: who calls the API.

use std::collections::BTreeSet;
use std::sync::Arc;

use sea_query::{Expr, ExprTrait as _, OnConflict, Query, SelectStatement, UpdateStatement};

use super::api_key::ApiKey;
use super::error::{refused, unreadable};
use super::revocation::change_of;
use super::statement::Write;
use super::{Database, DatabaseError};

/// One account. Every change of it but of its balance raises `version`, which each request is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: i64,
    pub username: String,
    /// In lower case; `None`: made by an operator's command.
    pub email: Option<String>,
    pub role: Role,
    pub version: i64,
    /// Tokens issued before this time (unix milliseconds) are dead.
    pub tokens_valid_from: i64,
    /// Whether it may send.
    pub may_send: bool,
    /// Whether it may say whose address a request comes from.
    pub on_behalf: bool,
    /// In minor units, as it was when this was read: only the table knows it.
    pub balance: i64,
    /// Unix milliseconds.
    pub create_time: i64,
    /// The `jti` of its tokens that are dead before their time.
    pub revoked: BTreeSet<String>,
    pub api_keys: Vec<Arc<ApiKey>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Account,
    Admin,
}

pub(super) const COLUMNS: [&str; 11] = [
    "id",
    "username",
    "email",
    "role",
    "may_send",
    "on_behalf",
    "version",
    "tokens_valid_from",
    "balance",
    "create_time",
    "update_time",
];

/// The column's width, in characters.
const USERNAME: usize = 128;

/// Ids stay below 10^14: so many digits a number keeps in every JSON that it passes through, Lua's among them.
const IDS: i64 = 100_000_000_000_000;

#[derive(sqlx::FromRow)]
struct AccountRead {
    id: i64,
    username: String,
    email: Option<String>,
    role: String,
    may_send: i32,
    on_behalf: i32,
    version: i64,
    tokens_valid_from: i64,
    balance: i64,
    create_time: i64,
}

impl Database {
    pub async fn account(&self, id: i64) -> Result<Option<Account>, DatabaseError> {
        let account = self.first_account(select().and_where(Expr::col("id").eq(id))).await?;
        asked_for(account, |account| account.id == id)
    }

    /// The account of exactly this name.
    pub async fn account_by_name(&self, username: &str) -> Result<Option<Account>, DatabaseError> {
        if !is_name(username) {
            return Ok(None);
        }
        let account = select().and_where(Expr::col("username").eq(username)).take();
        asked_for(self.first_account(&account).await?, |account| account.username == username)
    }

    /// The account of this name, made where there is none. With `role` Admin an existing account becomes
    /// one, and its version rises.
    pub async fn ensure_account(
        &self,
        username: &str,
        role: Role,
        now: i64,
    ) -> Result<Account, DatabaseError> {
        if !is_name(username) {
            return Err(refused("an account's name has 1 to 128 characters, no space at its ends"));
        }
        let mut insert = Query::insert();
        insert.into_table("account").columns(COLUMNS);
        let values: [Expr; 11] = [
            new_id().into(),
            username.into(),
            Option::<String>::None.into(),
            role.as_str().into(),
            1.into(),
            0.into(),
            1_i64.into(),
            0_i64.into(),
            0_i64.into(),
            now.into(),
            now.into(),
        ];
        insert.values(values).map_err(refused)?;
        insert.on_conflict(OnConflict::column("username").do_nothing_on(["username"]).to_owned());
        let mut writes = vec![Write::Insert(insert)];
        if role == Role::Admin {
            let mut promote = changed(now);
            promote
                .value("role", role.as_str())
                .and_where(Expr::col("username").eq(username))
                .and_where(Expr::col("role").ne(role.as_str()));
            writes.push(Write::Update(promote));
        }
        self.write(&writes).await?;
        let account = self.account_by_name(username).await?;
        account.ok_or_else(|| unreadable("an account that was just made is not there"))
    }

    /// Lets an account say whose address a request comes from; its version rises. `None`: there is no such account.
    pub async fn grant_on_behalf(
        &self,
        id: i64,
        now: i64,
    ) -> Result<Option<Account>, DatabaseError> {
        let mut grant = change_of(id, now);
        grant.value("on_behalf", 1).and_where(Expr::col("on_behalf").eq(0));
        self.write(&[Write::Update(grant)]).await?;
        self.account(id).await
    }

    /// Sets what an account may do; what is `None` stays. Its version rises. `None`: there is no such account.
    pub async fn set_grants(
        &self,
        id: i64,
        may_send: Option<bool>,
        on_behalf: Option<bool>,
        now: i64,
    ) -> Result<Option<Account>, DatabaseError> {
        let mut set = change_of(id, now);
        for (column, value) in [("may_send", may_send), ("on_behalf", on_behalf)] {
            if let Some(value) = value {
                set.value(column, i32::from(value));
            }
        }
        self.write(&[Write::Update(set)]).await?;
        self.account(id).await
    }

    async fn first_account(
        &self,
        select: &SelectStatement,
    ) -> Result<Option<Account>, DatabaseError> {
        let Some(read) = self.fetch::<AccountRead>(select).await?.into_iter().next() else {
            return Ok(None);
        };
        // What belongs to it is read after its version: it may be newer than that, and never older.
        let (revoked, api_keys) =
            futures::try_join!(self.revoked(read.id), self.api_keys(read.id))?;
        Ok(Some(Account {
            id: read.id,
            username: read.username,
            email: read.email,
            role: if read.role == Role::Admin.as_str() { Role::Admin } else { Role::Account },
            version: read.version,
            tokens_valid_from: read.tokens_valid_from,
            may_send: read.may_send != 0,
            on_behalf: read.on_behalf != 0,
            balance: read.balance,
            create_time: read.create_time,
            revoked,
            api_keys,
        }))
    }
}

/// The account, if it is the one that was asked for: behind a pooler a connection may get another's answer.
fn asked_for(
    account: Option<Account>,
    is_it: impl FnOnce(&Account) -> bool,
) -> Result<Option<Account>, DatabaseError> {
    match account {
        Some(account) if !is_it(&account) => Err(unreadable("it gave another account")),
        account => Ok(account),
    }
}

/// Whether a text can be an account's name. MySQL compares without spaces at the end, the others with them: none has
/// any. PostgreSQL takes no NUL.
pub(super) fn is_name(text: &str) -> bool {
    (1..=USERNAME).contains(&text.chars().count())
        && text.trim() == text
        && !text.contains(char::is_control)
}

pub(super) fn new_id() -> i64 {
    rand::random_range(1..IDS)
}

fn select() -> SelectStatement {
    let mut select = Query::select();
    select.columns(COLUMNS).from("account");
    select
}

/// An update that raises the version.
pub(super) fn changed(now: i64) -> UpdateStatement {
    let mut update = Query::update();
    update.table("account").value("version", Expr::col("version").add(1)).value("update_time", now);
    update
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Admin => "admin",
        }
    }
}
