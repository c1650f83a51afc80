//! The embedded database file: one writer that commits in groups, and readers beside it.

mod operation;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use self::operation::{Ask, Operation, Run};
use self::writer::{Outage, WRITE_NOTHING, Writer};
use crate::runtime::write_health::WriteHealth;

/// Operations waiting for the writer at the most; more wait for a place.
const WAITING: usize = 4096;
const READERS: u32 = 4;
/// How long a writer waits for a command that writes beside it.
const BUSY: Duration = Duration::from_secs(5);

/// Phone numbers are in the file: its owner reads and writes it, nobody else.
const MODE: u32 = 0o600;

/// A handle on the file; clones share writer and readers.
#[derive(Debug, Clone)]
pub struct Sqlite {
    options: Arc<SqliteConnectOptions>,
    writer: mpsc::Sender<Box<dyn Operation>>,
    outage: watch::Receiver<Outage>,
    health: Arc<WriteHealth<SqliteError>>,
    readers: SqlitePool,
}

/// Why nothing was written or read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the embedded database: {0}")]
pub struct SqliteError(pub String);

impl From<sqlx::Error> for SqliteError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl Sqlite {
    /// Opens the file, making it where it isn't, for its owner alone, and starts the writer on this runtime. It
    /// ends when the last handle is gone.
    pub async fn open(path: &Path) -> Result<Self, SqliteError> {
        make_private(path).map_err(|error| SqliteError(error.to_string()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Every commit is on disk before it is answered: 202 means kept.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let writing = (options.clone())
            // 32 MiB: what of the tables is written over and over.
            .pragma("cache_size", "-32768")
            // Pages until a checkpoint, 16 MiB: what was written many times meanwhile is copied once, and hardly read again.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("temp_store", "MEMORY");
        let (writing, outage) = Writer::open(writing).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.clone().read_only(true))
            .await?;
        let (writer, operations) = mpsc::channel(WAITING);
        tokio::spawn(writing.run(operations));
        let health = Arc::new(WriteHealth::new("embedded database"));
        Ok(Self { options: Arc::new(options), writer, outage, health, readers })
    }

    /// A connection of its own beside the writer, for migrations.
    pub async fn connect(&self) -> Result<SqliteConnection, SqliteError> {
        Ok(SqliteConnection::connect_with(&self.options).await?)
    }

    /// Whether the file takes writes now, as known from the writer or from a probe of the last second.
    pub async fn check_writes(&self) -> Result<(), SqliteError> {
        if let Some(outage) = self.outage.borrow().clone() {
            return Err(outage);
        }
        let probe = self.write(|connection| {
            Box::pin(async move { sqlx::query(WRITE_NOTHING).execute(connection).await.map(drop) })
        });
        self.health.check(probe, || SqliteError("no answer in time".to_owned())).await
    }

    /// Connections that only read; they see every commit that was answered.
    #[must_use]
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Runs `operation` in the writer's next transaction, together with what else waits, and answers once it is
    /// committed. It may run twice: where an operation of a group fails, the group is rolled back
    /// and each is run again alone. It must touch nothing but the connection.
    pub async fn write<T, F>(&self, operation: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.hand_over(Box::new(Run { operation, result: None, reply }), answer).await
    }

    /// Makes a call in the writer's next transaction, and the one that `then` makes of its answer, if any; gives what
    /// else `then` gives once all is committed. Calls of one name are made together, in one statement. As with
    /// [`Sqlite::write`] it may be done twice.
    pub async fn call<T, F>(&self, first: Call, then: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: Fn(String) -> Result<(T, Option<Call>), sqlx::Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.hand_over(Box::new(Ask { first, then, result: None, reply }), answer).await
    }

    async fn hand_over<T>(
        &self,
        operation: Box<dyn Operation>,
        answer: oneshot::Receiver<Result<T, SqliteError>>,
    ) -> Result<T, SqliteError> {
        let gone = || SqliteError("its writer has ended".to_owned());
        self.writer.send(operation).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A row put into a view of the writer's session; its trigger does the work and puts a row into `answer`.
#[derive(Debug, Clone)]
pub struct Call {
    pub view: &'static str,
    /// JSON.
    pub request: String,
}

/// Makes calls of one view within the caller's transaction, one after the other; gives their answers.
pub(crate) async fn call_all(
    connection: &mut SqliteConnection,
    view: &'static str,
    requests: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    // The first statement has nothing to give: it has SQLite look whether another connection changed the schema, which
    // it doesn't do for what a trigger names.
    let sql = format!(
        "SELECT 1 FROM store_epoch LIMIT 0;
         DELETE FROM answer;
         INSERT INTO {view} SELECT key, value FROM jsonb_each(?1);
         SELECT answer FROM answer ORDER BY id"
    );
    let requests = format!("[{}]", requests.join(","));
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(requests);
    query.fetch_all(connection).await
}

/// Makes the file with its mode before `SQLite` opens it, which gives `-wal` and `-shm` the same one. Files that were
/// made wider are narrowed, by name: to open and close one here would drop this process's locks on it.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made.map(drop),
    }
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        narrow(&PathBuf::from(name));
    }
    Ok(())
}

/// Where that can't be done the file is another's, who decides.
fn narrow(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.permissions().mode() & 0o777 & !MODE == 0 {
        return;
    }
    let file = path.display();
    if let Err(error) = fs::set_permissions(path, Permissions::from_mode(MODE)) {
        tracing::warn!(%file, %error, "others can open it");
    } else {
        tracing::warn!(%file, "others could open it: now its owner alone");
    }
}
