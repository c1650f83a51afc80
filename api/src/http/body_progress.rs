//! How far a request's body was read, for whoever gives up waiting.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use futures::{Stream as _, stream};

/// Tells whether the next piece of a body is being waited for.
#[derive(Debug, Clone, Default)]
pub struct BodyProgress(Arc<AtomicBool>);

impl BodyProgress {
    /// Gives the request back with its progress.
    pub fn watch(request: Request) -> (Request, Self) {
        let progress = Self::default();
        if request.body().is_end_stream() {
            return (request, progress);
        }
        let awaited = Arc::clone(&progress.0);
        let request = request.map(|body| {
            let mut pieces = body.into_data_stream();
            Body::from_stream(stream::poll_fn(move |context| {
                let piece = Pin::new(&mut pieces).poll_next(context);
                awaited.store(piece.is_pending(), Ordering::Relaxed);
                piece
            }))
        });
        (request, progress)
    }

    /// Returns whether somebody asked for more of the body, and none has come since.
    pub fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
