//! `GET /v1/queues`: what waits where, for operators.

use axum::Json;
use axum::extract::State;
use postrider_common::model::job::Lane;
use postrider_common::queue::Depth;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;

use crate::auth::caller::Admin;
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::openapi::schemas::one_of;
use crate::server::state::{App, AppState};

#[derive(Debug, Serialize, ToSchema)]
pub struct Queues {
    queues: Vec<Queue>,
}

/// One queue; what only lanes have is missing elsewhere.
#[derive(Debug, Serialize, ToSchema)]
struct Queue {
    name: String,
    #[schema(schema_with = kinds)]
    kind: &'static str,
    /// Jobs that wait
    ready: u64,
    consumers: u64,
    /// Of the job that has waited longest
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    oldest_age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    accepted_last_minute: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    done_last_minute: Option<u64>,
}

fn kinds() -> Object {
    one_of(&["lane", "retry", "rows", "dead", "unrouted", "other"])
}

/// List queues
///
/// What waits where: lanes, retry rungs, dead letters.
#[utoipa::path(
    get, path = "/v1/queues", tag = "operation", operation_id = "list_queues", security(("bearer" = ["admin"])),
    responses((status = 200, description = "Every queue", body = Queues, example = json!({"queues": [
        {"name": "sms.code", "kind": "lane", "ready": 3, "consumers": 2, "oldest_age_seconds": 1,
         "accepted_last_minute": 240, "done_last_minute": 238},
        {"name": "sms.retry.8", "kind": "retry", "ready": 1, "consumers": 0}
    ]}))),
    extensions(("x-problems" = json!(problems(&[&[Code::QueueUnavailable]])))),
)]
pub async fn list(State(app): State<AppState>, _: Admin) -> Result<Json<Queues>, Problem> {
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
