//! How a statement is run on each engine: built once by sea-query, run by the engine's own driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use sea_query::{
    DeleteStatement, Expr, ExprTrait as _, InsertStatement, MysqlQueryBuilder,
    PostgresQueryBuilder, QueryBuilder, SelectStatement, SqliteQueryBuilder, UpdateStatement,
};
use sea_query_sqlx::{SqlxBinder as _, SqlxValues};
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow};

use super::{Database, DatabaseError};
use crate::sqlite::Sqlite;

/// How long a server may take to answer: one that hangs is as good as gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A row that reads alike from all three.
pub(super) trait AnyRow:
    for<'r> FromRow<'r, SqliteRow>
    + for<'r> FromRow<'r, PgRow>
    + for<'r> FromRow<'r, MySqlRow>
    + Send
    + Unpin
{
}

impl<T> AnyRow for T where
    T: for<'r> FromRow<'r, SqliteRow>
        + for<'r> FromRow<'r, PgRow>
        + for<'r> FromRow<'r, MySqlRow>
        + Send
        + Unpin
{
}

/// A statement that writes.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Insert(InsertStatement),
    Update(UpdateStatement),
    Delete(DeleteStatement),
}

impl Write {
    fn build<B: QueryBuilder>(&self, builder: B) -> (String, SqlxValues) {
        match self {
            Self::Insert(statement) => statement.build_sqlx(builder),
            Self::Update(statement) => statement.build_sqlx(builder),
            Self::Delete(statement) => statement.build_sqlx(builder),
        }
    }
}

/// Runs built statements in order on a connection; gives the rows that each touched. (A macro, because a function
/// over any driver needs a dozen bounds to say the same.) Not kept as prepared statements: a batch's text
/// differs with its number of rows, and would push out those that are used again.
macro_rules! execute {
    ($built:expr, $connection:expr) => {{
        let mut touched = Vec::new();
        for (sql, values) in $built {
            let query = sqlx::query_with(AssertSqlSafe(sql), values).persistent(false);
            touched.push(query.execute(&mut *$connection).await?.rows_affected());
        }
        Ok::<Vec<u64>, sqlx::Error>(touched)
    }};
}

/// Rows before this one, newest first. Said twice, so that an index on (`create_time`, `id`) is entered at the right
/// place: no engine does that for the `OR` alone.
pub(super) fn before(create_time: i64, id: &str) -> Expr {
    let earlier = Expr::col("create_time").lt(create_time);
    let at_most = Expr::col("create_time").lte(create_time);
    at_most.and(earlier.or(Expr::col("id").lt(id)))
}

/// Runs built statements in one transaction on a server, and keeps it if `keep` says so. (A macro for the same reason.)
macro_rules! transaction {
    ($pool:expr, $built:expr, $keep:expr) => {{
        let write = async {
            let begun = $pool.begin().await;
            let mut transaction = begun.map_err(|error| DatabaseError::of_connecting(&error))?;
            let touched = execute!($built, transaction)?;
            if $keep(&touched) {
                transaction.commit().await?;
            } else {
                transaction.rollback().await?;
            }
            Ok(touched)
        };
        in_time(write).await
    }};
}

impl Database {
    pub(super) async fn fetch<R: AnyRow + 'static>(
        &self,
        select: &SelectStatement,
    ) -> Result<Vec<R>, DatabaseError> {
        let rows = async {
            Ok(match self {
                Self::Sqlite(sqlite) => {
                    let (sql, values) = select.build_sqlx(SqliteQueryBuilder);
                    let query = sqlx::query_as_with(AssertSqlSafe(sql), values);
                    query.fetch_all(sqlite.readers()).await?
                }
                Self::Postgres(pool) => {
                    let (sql, values) = select.build_sqlx(PostgresQueryBuilder);
                    let query = sqlx::query_as_with(AssertSqlSafe(sql), values);
                    fetch_in_transaction(pool, query.persistent(false)).await?
                }
                Self::Mysql(pool) => {
                    let (sql, values) = select.build_sqlx(MysqlQueryBuilder);
                    sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_all(pool).await?
                }
            })
        };
        // On the heap: every caller's future would be as large as all three drivers'.
        in_time(Box::pin(rows)).await
    }

    /// Runs statements in one transaction; gives the rows that each touched.
    pub(super) async fn write(&self, writes: &[Write]) -> Result<Vec<u64>, DatabaseError> {
        self.write_if(writes, |_| true).await
    }

    /// Runs statements in one transaction that is kept only if each touched a row; gives whether it was.
    pub(super) async fn write_whole(&self, writes: &[Write]) -> Result<bool, DatabaseError> {
        let whole = |touched: &[u64]| !touched.contains(&0);
        Ok(whole(&self.write_if(writes, whole).await?))
    }

    async fn write_if(
        &self,
        writes: &[Write],
        keep: fn(&[u64]) -> bool,
    ) -> Result<Vec<u64>, DatabaseError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(sqlite) => write_sqlite(sqlite, writes, keep).await,
            Self::Postgres(pool) => {
                let built = writes.iter().map(|write| write.build(PostgresQueryBuilder));
                transaction!(pool, built, keep)
            }
            Self::Mysql(pool) => {
                let built = writes.iter().map(|write| write.build(MysqlQueryBuilder));
                transaction!(pool, built, keep)
            }
        }
    }
}

/// Runs a query in a transaction of its own: `PgBouncer`'s transaction mode keeps a connection to the server for as long,
/// and the driver needs the same one for a statement and its execution. (`BEGIN` and `COMMIT` are two round trips more;
/// no send waits for any of them but for its account's first.)
pub(super) async fn fetch_in_transaction<'q, R, A>(
    pool: &sqlx::PgPool,
    query: sqlx::query::QueryAs<'q, sqlx::Postgres, R, A>,
) -> Result<Vec<R>, DatabaseError>
where
    A: sqlx::IntoArguments<sqlx::Postgres> + Send + 'q,
    R: for<'r> FromRow<'r, PgRow> + Send + Unpin + 'q,
{
    let begun = pool.begin().await;
    let mut transaction = begun.map_err(|error| DatabaseError::of_connecting(&error))?;
    let rows = query.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

/// Writes through the one writer, together with what else waits for it.
async fn write_sqlite(
    sqlite: &Sqlite,
    writes: &[Write],
    keep: fn(&[u64]) -> bool,
) -> Result<Vec<u64>, DatabaseError> {
    let built: Vec<_> = writes.iter().map(|write| write.build(SqliteQueryBuilder)).collect();
    // The writer hands errors on as text. What one meant is kept here: a record that is refused must not
    // be taken for one that may be written later.
    let outcome = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&outcome);
    let written = sqlite.write(move |connection| {
        let (built, seen) = (built.clone(), Arc::clone(&seen));
        Box::pin(async move {
            let run = async { execute!(built, connection) };
            let ran = run.await;
            // It may run twice, in a group and then alone: what came of it last stands.
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = match &ran {
                Ok(touched) if keep(touched) => None,
                Ok(touched) => Some(Ok(touched.clone())),
                Err(error) => Some(Err(DatabaseError::of(error))),
            };
            // An error undoes it.
            ran.and_then(
                |touched| if keep(&touched) { Ok(touched) } else { Err(sqlx::Error::RowNotFound) },
            )
        }) as BoxFuture<'_, _>
    });
    let written = written.await;
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    written.or_else(|error| outcome.unwrap_or_else(|| Err(error.into())))
}

/// The result of `work`, unless the server hangs.
pub(super) async fn in_time<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let answered = tokio::time::timeout(PATIENCE, work).await;
    answered.unwrap_or_else(|_elapsed| {
        Err(DatabaseError::Unavailable("it gave no answer in time".to_owned()))
    })
}
