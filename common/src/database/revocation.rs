//! `revocation`: tokens that are dead before their time. They are loaded with their account, and each one raises its
//! version, so that every process has them with the next request.

use std::collections::BTreeSet;

use sea_query::{
    DeleteStatement, Expr, ExprTrait as _, InsertStatement, OnConflict, Query, UpdateStatement,
};

use super::account::changed;
use super::error::refused;
use super::statement::Write;
use super::{Database, DatabaseError};

/// Live revocations of an account at the most, since every process that knows it carries them in memory: one more
/// kills all tokens that were issued until then.
pub const MOST: usize = 1000;

const COLUMNS: [&str; 4] = ["jti", "account_id", "expires_at", "create_time"];

#[derive(sqlx::FromRow)]
struct RevocationRead {
    jti: String,
    expires_at: i64,
}

impl Database {
    /// Revokes one token of an account until `expires_at`, when it is refused for its age. Gives the account's new
    /// version; `None` where the token was revoked already. Times are unix milliseconds.
    pub async fn revoke(
        &self,
        jti: &str,
        account_id: i64,
        expires_at: i64,
        now: i64,
    ) -> Result<Option<i64>, DatabaseError> {
        let known = self.read_revocations(account_id).await?;
        if known.iter().any(|row| row.jti == jti) {
            return Ok(None);
        }
        let too_many = known.iter().filter(|row| row.expires_at > now).count() >= MOST;
        let mut change = change_of(account_id, now);
        if too_many {
            change.value("tokens_valid_from", at_least(now + 1));
        }
        // The account first: whoever revokes at the same time waits for its row.
        let writes = [
            Write::Update(change),
            Write::Delete(rows_of(account_id, (!too_many).then_some(now))),
            Write::Insert(insert(jti, account_id, expires_at, now)?),
        ];
        self.write(&writes).await?;
        self.version_of(account_id).await
    }

    /// Kills every token of an account that was issued up to now (unix milliseconds). Gives the account's new version;
    /// `None` where there is no such account.
    pub async fn revoke_all(
        &self,
        account_id: i64,
        now: i64,
    ) -> Result<Option<i64>, DatabaseError> {
        let mut change = change_of(account_id, now);
        // A token of this very millisecond dies too.
        change.value("tokens_valid_from", at_least(now + 1));
        let writes = [Write::Update(change), Write::Delete(rows_of(account_id, None))];
        self.write(&writes).await?;
        self.version_of(account_id).await
    }

    /// The `jti` of every token of an account that is revoked; of some that have expired, too.
    pub(super) async fn revoked(&self, account_id: i64) -> Result<BTreeSet<String>, DatabaseError> {
        let rows = self.read_revocations(account_id).await?;
        Ok(rows.into_iter().map(|row| row.jti).collect())
    }

    async fn read_revocations(
        &self,
        account_id: i64,
    ) -> Result<Vec<RevocationRead>, DatabaseError> {
        let mut select = Query::select();
        select
            .columns(["jti", "expires_at"])
            .from("revocation")
            .and_where(Expr::col("account_id").eq(account_id));
        self.fetch(&select).await
    }

    async fn version_of(&self, account_id: i64) -> Result<Option<i64>, DatabaseError> {
        Ok(self.account(account_id).await?.map(|account| account.version))
    }
}

/// Raises an account's version.
pub(super) fn change_of(account_id: i64, now: i64) -> UpdateStatement {
    let mut change = changed(now);
    change.and_where(Expr::col("id").eq(account_id));
    change
}

/// `tokens_valid_from` never falls: tokens that ended stay ended, whatever the clock of the next says.
pub(super) fn at_least(now: i64) -> Expr {
    let valid_from = Expr::col("tokens_valid_from");
    Expr::case(valid_from.clone().gt(now), valid_from).finally(now).into()
}

/// An account's revocations: those that have expired by a time, or all.
fn rows_of(account_id: i64, expired_by: Option<i64>) -> DeleteStatement {
    let mut delete = Query::delete();
    delete.from_table("revocation").and_where(Expr::col("account_id").eq(account_id));
    if let Some(now) = expired_by {
        delete.and_where(Expr::col("expires_at").lte(now));
    }
    delete
}

fn insert(
    jti: &str,
    account_id: i64,
    expires_at: i64,
    now: i64,
) -> Result<InsertStatement, DatabaseError> {
    let mut insert = Query::insert();
    let values: [Expr; 4] = [jti.into(), account_id.into(), expires_at.into(), now.into()];
    insert.into_table("revocation").columns(COLUMNS).values(values).map_err(refused)?;
    insert.on_conflict(OnConflict::column("jti").do_nothing_on(["jti"]).to_owned());
    Ok(insert)
}
