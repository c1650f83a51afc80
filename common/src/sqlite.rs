//! The embedded database file: one writer that commits in groups, and readers beside it.

use std::collections::BTreeMap;
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
use tokio::sync::{mpsc, oneshot};

/// Operations waiting for the writer at the most; more wait for a place.
const WAITING: usize = 4096;
/// Operations in one commit at the most.
const GROUP: usize = 512;
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
        let mut connection = SqliteConnection::connect_with(&writing).await?;
        let session = AssertSqlSafe(crate::store::sqlite::session());
        sqlx::raw_sql(session).execute(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.clone().read_only(true))
            .await?;
        let (writer, operations) = mpsc::channel(WAITING);
        tokio::spawn(write_groups(connection, operations));
        Ok(Self { options: Arc::new(options), writer, readers })
    }

    /// A connection of its own beside the writer, for migrations.
    pub async fn connect(&self) -> Result<SqliteConnection, SqliteError> {
        Ok(SqliteConnection::connect_with(&self.options).await?)
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

/// A write with its type forgotten.
trait Operation: Send {
    /// The call that it begins with.
    fn first(&mut self) -> Option<Call>;
    /// Takes the answer of its last call; gives the next one.
    fn answered(&mut self, answer: String) -> Result<Option<Call>, sqlx::Error>;
    /// What it does with the connection itself.
    fn run<'c>(
        &'c mut self,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>>;
    fn finish(self: Box<Self>, outcome: Result<(), SqliteError>);
}

struct Run<F, T> {
    operation: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, SqliteError>>,
}

impl<T, F> Operation for Run<F, T>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + Sync,
{
    fn first(&mut self) -> Option<Call> {
        None
    }

    fn answered(&mut self, _answer: String) -> Result<Option<Call>, sqlx::Error> {
        Ok(None)
    }

    fn run<'c>(
        &'c mut self,
        connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        Box::pin(async move {
            self.result = Some((self.operation)(connection).await?);
            Ok(())
        })
    }

    fn finish(self: Box<Self>, outcome: Result<(), SqliteError>) {
        tell(self.reply, outcome, self.result);
    }
}

struct Ask<F, T> {
    first: Call,
    then: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, SqliteError>>,
}

impl<T, F> Operation for Ask<F, T>
where
    T: Send + 'static,
    F: Fn(String) -> Result<(T, Option<Call>), sqlx::Error> + Send,
{
    fn first(&mut self) -> Option<Call> {
        self.result = None;
        Some(self.first.clone())
    }

    fn answered(&mut self, answer: String) -> Result<Option<Call>, sqlx::Error> {
        if self.result.is_some() {
            return Ok(None);
        }
        let (result, next) = (self.then)(answer)?;
        self.result = Some(result);
        Ok(next)
    }

    fn run<'c>(
        &'c mut self,
        _connection: &'c mut SqliteConnection,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(self: Box<Self>, outcome: Result<(), SqliteError>) {
        tell(self.reply, outcome, self.result);
    }
}

fn tell<T>(
    reply: oneshot::Sender<Result<T, SqliteError>>,
    outcome: Result<(), SqliteError>,
    result: Option<T>,
) {
    let result = outcome
        .and_then(|()| result.ok_or_else(|| SqliteError("an operation gave no result".to_owned())));
    // A caller that went away doesn't need the answer.
    drop(reply.send(result));
}

async fn write_groups(
    mut connection: SqliteConnection,
    mut operations: mpsc::Receiver<Box<dyn Operation>>,
) {
    let mut group = Vec::with_capacity(GROUP);
    while operations.recv_many(&mut group, GROUP).await > 0 {
        if commit(&mut connection, &mut group).await.is_ok() {
            group.drain(..).for_each(|operation| operation.finish(Ok(())));
            continue;
        }
        for operation in group.drain(..) {
            let mut alone = vec![operation];
            let outcome = commit(&mut connection, &mut alone).await.map_err(SqliteError::from);
            for operation in alone {
                operation.finish(outcome.clone());
            }
        }
    }
}

/// Runs operations in one transaction. After an error nothing of it is left.
async fn commit(
    connection: &mut SqliteConnection,
    operations: &mut [Box<dyn Operation>],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    make_calls(&mut transaction, operations).await?;
    for operation in operations {
        operation.run(&mut transaction).await?;
    }
    transaction.commit().await
}

/// Makes all calls of one view at once, until nobody has another one: every statement is a way to `SQLite`'s thread
/// and back, which costs as much as a small operation.
async fn make_calls(
    connection: &mut SqliteConnection,
    operations: &mut [Box<dyn Operation>],
) -> Result<(), sqlx::Error> {
    let mut waiting: BTreeMap<&'static str, Vec<(usize, String)>> = BTreeMap::new();
    for (place, operation) in operations.iter_mut().enumerate() {
        if let Some(Call { view, request }) = operation.first() {
            waiting.entry(view).or_default().push((place, request));
        }
    }
    while let Some((view, calls)) = waiting.pop_first() {
        let requests: Vec<&str> = calls.iter().map(|(_, request)| request.as_str()).collect();
        let answers = call_all(connection, view, &requests).await?;
        for ((place, _), answer) in calls.iter().zip(answers) {
            if let Some(Call { view, request }) = operations[*place].answered(answer)? {
                waiting.entry(view).or_default().push((*place, request));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(folder: &Path) -> Vec<(String, u32)> {
        let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mode = |file: &fs::DirEntry| file.metadata().unwrap().permissions().mode() & 0o777;
        let mut modes: Vec<_> =
            files.map(|file| (file.file_name().into_string().unwrap(), mode(&file))).collect();
        modes.sort();
        modes
    }

    fn private(names: &[&str]) -> Vec<(String, u32)> {
        names.iter().map(|name| ((*name).to_owned(), 0o600)).collect()
    }

    async fn open_and_write(path: &Path) -> Sqlite {
        let sqlite = Sqlite::open(path).await.unwrap();
        let sql = "CREATE TABLE IF NOT EXISTS kept (n INTEGER)";
        let write = sqlite.write(move |connection| {
            Box::pin(async move { sqlx::query(sql).execute(connection).await.map(drop) })
        });
        write.await.unwrap();
        sqlite
    }

    #[tokio::test]
    async fn the_files_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _sqlite = open_and_write(&folder.path().join("a.db")).await;
        assert_eq!(modes(folder.path()), private(&["a.db", "a.db-shm", "a.db-wal"]));
    }

    #[tokio::test]
    async fn files_that_were_made_wider_are_narrowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let _first = open_and_write(&path).await;
        for (name, _) in modes(folder.path()) {
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o644)).unwrap();
        }
        let _second = open_and_write(&path).await;
        assert_eq!(modes(folder.path()), private(&["a.db", "a.db-shm", "a.db-wal"]));
    }
}
