//! A write that waits for its commit, with its type forgotten.

use futures::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use super::{Call, SqliteError};

/// A write with its type forgotten.
pub(super) trait Operation: Send {
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

pub(super) struct Run<F, T> {
    pub(super) operation: F,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, SqliteError>>,
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

pub(super) struct Ask<F, T> {
    pub(super) first: Call,
    pub(super) then: F,
    pub(super) result: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, SqliteError>>,
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
