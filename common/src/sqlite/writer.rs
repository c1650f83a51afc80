//! The one writer: commits what waits in groups, and goes on after whatever error as soon as the file takes writes again.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::operation::Operation;
use super::{Call, SqliteError, call_all};

/// Operations in one commit at the most.
const GROUP: usize = 512;
/// Pause between two looks at a file that takes no writes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest rollback: it touches little but memory.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Writes one page, and changes nothing that anybody reads.
pub(super) const WRITE_NOTHING: &str = "PRAGMA user_version = 0";

/// `SQLite`'s primary codes that say something of the file or the machine, and nothing of the operation: busy, locked,
/// no memory, read-only, I/O, corrupt, full, can't open, lock protocol, not authorised, no database.
/// <https://www.sqlite.org/rescode.html>
const OUTAGE_CODES: [i32; 11] = [BUSY, 6, 7, 8, 10, 11, FULL, 14, 15, 23, 26];
const BUSY: i32 = 5;
const FULL: i32 = 13;

/// Why the file takes no writes now; `None` while it does.
pub(super) type Outage = Option<SqliteError>;

pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: SqliteConnection,
    /// Whether the connection answers nothing any more.
    hangs: bool,
    outage: watch::Sender<Outage>,
    /// When the file is looked at next, during an outage.
    next_look: Instant,
}

impl Writer {
    /// Opens the writer's connection; the second value shows whether the file takes writes.
    pub(super) async fn open(
        options: SqliteConnectOptions,
    ) -> Result<(Self, watch::Receiver<Outage>), sqlx::Error> {
        let connection = connect(&options).await?;
        let (outage, seen) = watch::channel(None);
        let next_look = Instant::now();
        Ok((Self { options, connection, hangs: false, outage, next_look }, seen))
    }

    /// Commits operations until the last handle is gone.
    pub(super) async fn run(mut self, mut operations: mpsc::Receiver<Box<dyn Operation>>) {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            let is_out = self.outage.borrow().is_some();
            tokio::select! {
                received = operations.recv_many(&mut group, GROUP) => match received {
                    0 => return,
                    _ => self.write(&mut group).await,
                },
                () = sleep_until(self.next_look), if is_out => self.look().await,
            }
        }
    }

    /// Commits a group; where that fails, each of its operations alone.
    async fn write(&mut self, group: &mut Vec<Box<dyn Operation>>) {
        if self.commit(group).await.is_ok() {
            group.drain(..).for_each(|operation| operation.finish(Ok(())));
            return;
        }
        for operation in group.drain(..) {
            let mut alone = [operation];
            let committed = self.commit(&mut alone).await;
            if let Err(error) = &committed {
                self.begin_outage(error);
            }
            let outcome = committed.map_err(SqliteError::from);
            for operation in alone {
                operation.finish(outcome.clone());
            }
        }
    }

    /// Runs operations in one transaction. After an error nothing of it is left.
    async fn commit(&mut self, operations: &mut [Box<dyn Operation>]) -> Result<(), sqlx::Error> {
        self.begin().await?;
        let committed = run_and_commit(&mut self.connection, operations).await;
        if committed.is_err() {
            self.roll_back().await;
        }
        committed
    }

    /// Begins a transaction: on a new connection, if the one at hand has an open transaction that it can't end, or
    /// is broken. (Not by `sqlx`'s own transactions: these count how deep they are, and after an error that `SQLite`
    /// rolled back by itself the count is wrong for good.)
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        if !self.hangs {
            match execute(&mut self.connection, "BEGIN IMMEDIATE").await {
                Err(error) if primary_code(&error) != Some(BUSY) => {
                    tracing::debug!(%error, "the writer opens a new connection");
                }
                begun => return begun,
            }
        }
        // The old one ends its transaction, if it has one, and gives its lock back.
        self.connection = connect(&self.options).await?;
        self.hangs = false;
        execute(&mut self.connection, "BEGIN IMMEDIATE").await
    }

    async fn roll_back(&mut self) {
        match timeout(ROLLBACK_TIMEOUT, execute(&mut self.connection, "ROLLBACK")).await {
            Ok(Ok(())) => {}
            // After some errors SQLite has done so by itself; any other failure is met by the next BEGIN.
            Ok(Err(error)) => tracing::debug!(%error, "nothing was rolled back"),
            // sqlx's thread ended in a panic with this command unread: it is never answered.
            Err(_elapsed) => self.hangs = true,
        }
    }

    fn begin_outage(&mut self, error: &sqlx::Error) {
        if !is_outage(error) {
            return;
        }
        self.next_look = Instant::now() + LOOK_INTERVAL;
        if self.outage.send_replace(Some(error_of_outage(error))).is_none() {
            let error = error_of_outage(error);
            tracing::error!(%error, "embedded database takes no writes: nothing is accepted until it does");
        }
    }

    /// Ends the outage if a page can be written.
    async fn look(&mut self) {
        self.next_look = Instant::now() + LOOK_INTERVAL;
        let looked = async {
            self.begin().await?;
            execute(&mut self.connection, WRITE_NOTHING).await?;
            execute(&mut self.connection, "COMMIT").await
        };
        if let Err(error) = looked.await {
            tracing::debug!(%error, "embedded database still takes no writes");
            return self.roll_back().await;
        }
        self.outage.send_replace(None);
        tracing::warn!("embedded database takes writes again");
    }
}

/// Opens a connection with what every operation needs beside the tables.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    let session = AssertSqlSafe(crate::store::sqlite::session());
    sqlx::raw_sql(session).execute(&mut connection).await?;
    Ok(connection)
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}

async fn run_and_commit(
    connection: &mut SqliteConnection,
    operations: &mut [Box<dyn Operation>],
) -> Result<(), sqlx::Error> {
    make_calls(connection, operations).await?;
    for operation in operations {
        operation.run(connection).await?;
    }
    execute(connection, "COMMIT").await
}

/// The lowest byte of an extended code.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    Some(code.parse::<i32>().ok()? & 0xff)
}

fn is_outage(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::WorkerCrashed | sqlx::Error::Io(_))
        || primary_code(error).is_some_and(|code| OUTAGE_CODES.contains(&code))
}

fn error_of_outage(error: &sqlx::Error) -> SqliteError {
    match primary_code(error) {
        Some(FULL) => SqliteError("the disk is full".to_owned()),
        _ => SqliteError(error.to_string()),
    }
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
