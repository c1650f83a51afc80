//! `GET /v1/queues`: what waits where, for operators.

use axum::Json;
use axum::extract::State;
use postrider_common::job::Lane;
use postrider_common::queue::Depth;
use serde::Serialize;

use crate::app::{App, Shared};
use crate::caller::Admin;
use crate::problem::{Code, Problem};

#[derive(Debug, Serialize)]
pub struct Queues {
    queues: Vec<Queue>,
}

/// One queue; what only lanes have is missing elsewhere.
#[derive(Debug, Serialize)]
struct Queue {
    name: String,
    kind: &'static str,
    ready: u64,
    consumers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_last_minute: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_last_minute: Option<u64>,
}

/// `GET /v1/queues`
pub async fn list(State(app): State<Shared>, _: Admin) -> Result<Json<Queues>, Problem> {
    let depths = app.queue.depths().await;
    let depths = depths.map_err(|error| Problem::new(Code::QueueUnavailable).because(&error))?;
    let mut queues = Vec::with_capacity(depths.len());
    for depth in depths {
        queues.push(Queue::of(&app, depth).await);
    }
    Ok(Json(Queues { queues }))
}

impl Queue {
    async fn of(app: &App, Depth { queue, ready, consumers }: Depth) -> Self {
        let lane = Lane::ALL.into_iter().find(|lane| lane.queue() == queue);
        // Depths are worth showing also while the store can't say more about them.
        let (age, counts) = match lane {
            Some(lane) => {
                let age = app.store.oldest_age(lane, ready).await.ok();
                (age, app.store.lane_counts(lane).await.ok())
            }
            None => (None, None),
        };
        Self {
            kind: kind(&queue),
            name: queue,
            ready,
            consumers,
            oldest_age_seconds: age.map(|age| age.as_secs()),
            accepted_last_minute: counts.map(|counts| counts.accepted),
            done_last_minute: counts.map(|counts| counts.done),
        }
    }
}

fn kind(queue: &str) -> &'static str {
    match queue.strip_prefix("sms.").unwrap_or(queue) {
        "code" | "notice" => "lane",
        "rows" => "rows",
        "dead" => "dead",
        "unrouted" => "unrouted",
        name if name.starts_with("retry.") => "retry",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_common::queue::Source;

    #[test]
    fn every_queue_has_a_kind() {
        for source in [Source::Rows, Source::Dead, Source::Unrouted, Source::Lane(Lane::Code)] {
            assert_ne!(kind(source.queue()), "other");
        }
        assert_eq!((kind("sms.retry.8"), kind("sms.notice")), ("retry", "lane"));
    }
}
