//! The route table: every endpoint, and who may call it. (A handler's extractors say the same and enforce it.)

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{delete, get, post, put};

use crate::http::layers::bounded;
use crate::http::request_id;
use crate::routes::{
    accounts, api_keys, blacklist, credits, docs, explain, health, log_out, message_list, messages,
    metrics, notices, password_change, queues, sandbox, sessions, verification_checks,
    verifications,
};
use crate::server::state::AppState;
use crate::{dialects, openapi};

/// The API, with the dialects' paths beside it. A listener is passed in by whoever serves it.
pub fn app(app: AppState) -> Router {
    let routes = Router::new()
        //     path                                  who: a token's scope
        .route("/v1/verifications", post(verifications::send)) // send
        .route("/v1/verifications/check", post(verification_checks::check)) // verify
        .route("/v1/verifications/{id}", get(verifications::show)) // read; its own
        .route("/v1/notices", post(notices::send).layer(DefaultBodyLimit::max(notices::LARGEST))) // send
        .route("/v1/messages", get(message_list::list)) // read; its own
        .route("/v1/messages/{id}", get(messages::show)) // read; its own
        .route("/v1/api-keys", get(api_keys::list).post(api_keys::make)) // any session token; its own
        .route("/v1/api-keys/{id}", delete(api_keys::delete)) // any session token; its own
        .route("/v1/accounts", get(accounts::list).post(accounts::post)) // admin; anybody, where it is open
        .route("/v1/accounts/me", get(accounts::me)) // read; its own
        .route("/v1/accounts/me/password", put(password_change::put)) // any session token
        .route("/v1/accounts/{id}", get(accounts::show).patch(accounts::patch)) // admin
        .route("/v1/accounts/{id}/credits", post(credits::post)) // admin
        .route("/v1/sessions", post(sessions::create)) // anybody with a password
        .route("/v1/sessions/current", delete(log_out::this_session)) // any session token
        .route("/v1/accounts/{id}/sessions", delete(log_out::every_session)) // admin
        .route("/v1/queues", get(queues::list)) // admin
        .route(
            "/v1/blacklist",
            get(blacklist::list).post(blacklist::add).delete(blacklist::remove),
        ) // admin
        .route("/v1/blacklist/changes", get(blacklist::changes)) // admin
        .route("/v1/explain", post(explain::explain)) // admin
        .route("/sandbox/messages", get(sandbox::list)) // read; its own
        .route("/metrics", get(metrics::for_admins)) // admin
        .route("/openapi.json", get(openapi::show)) // anybody
        .route("/docs", get(docs::redirect)) // anybody
        .route("/docs/", get(docs::page)) // anybody
        .route("/docs/{file}", get(docs::file)) // anybody
        .route("/healthz", get(health::healthz)) // anybody
        .route("/readyz", get(health::readyz)) // anybody
        .fallback(async || StatusCode::NOT_FOUND);
    let timeout = app.settings.server.request_timeout;
    layered(bounded(routes, timeout).merge(dialects::routes(&app)), app)
}

/// What `[metrics] listen` serves, to whoever reaches it.
pub fn operations(app: AppState) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics::open)) // anybody
        .route("/healthz", get(health::healthz)) // anybody
        .route("/readyz", get(health::readyz)) // anybody
        .fallback(async || StatusCode::NOT_FOUND);
    let timeout = app.settings.server.request_timeout;
    layered(bounded(routes, timeout), app)
}

/// The id and the body of problems are outermost, so that also a panic and a time-out have both. The dialects'
/// problems arrive here told in their own words.
fn layered(routes: Router<AppState>, app: AppState) -> Router {
    routes.layer(middleware::from_fn(request_id::identify)).with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::token::Grant;
    use crate::http::body;
    use crate::testing::{TestApp, ask, ask_undescribed};
    use axum::body::Body;
    use axum::extract::Request;

    const SEND: &str = "/v1/verifications";
    const CODE: &str = r#"{"phone":"13800138000","purpose":"login"}"#;

    #[tokio::test]
    async fn whatever_goes_wrong_is_a_problem() {
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        assert_eq!(test.get("/nowhere", &token).await.problem(), (404, "not_found"));
        let wrong_method = test.get(SEND, &token).await;
        assert_eq!(wrong_method.problem(), (405, "method_not_allowed"));
        assert_eq!(wrong_method.headers["allow"], "POST");
        let large = format!("{{\"phone\":\"{}\"}}", "1".repeat(body::LARGEST));
        assert_eq!(test.post(SEND, &token, large).await.problem(), (413, "body_too_large"));
        assert_eq!(test.post(SEND, &token, "{").await.problem(), (400, "body_malformed"));
        assert_eq!(test.post(SEND, &token, "[]").await.problem(), (422, "fields_invalid"));
        assert_eq!(test.post(SEND, &token, "{}").await.problem(), (422, "fields_invalid"));
        let untyped = Request::post(SEND).header("authorization", format!("Bearer {token}"));
        let untyped =
            ask(super::app(test.app.clone()), untyped.body(Body::from("{}")).unwrap()).await;
        assert_eq!(untyped.problem(), (415, "content_type_unsupported"));
    }

    #[tokio::test]
    async fn who_may_not_is_told_why() {
        let test = TestApp::start(&[]).await;
        let reader = test.token("shop", &[Grant::Read]).await;
        let anonymous = Request::post(SEND).body(Body::empty()).unwrap();
        let anonymous = ask(super::app(test.app.clone()), anonymous).await;
        assert_eq!(anonymous.problem(), (401, "token_missing"));
        assert_eq!(anonymous.headers["www-authenticate"], "Bearer");
        assert_eq!(test.post(SEND, "nonsense", CODE).await.problem(), (401, "token_invalid"));
        assert_eq!(test.post(SEND, &reader, CODE).await.problem(), (403, "scope_missing"));
        assert_eq!(test.get("/v1/queues", &reader).await.problem(), (403, "scope_missing"));
        let admin = test.token("ops", &[Grant::Admin]).await;
        assert_eq!(test.get("/v1/queues", &admin).await.status, StatusCode::OK);
        let pretender = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
        let now = crate::http::clock::unix_ms();
        let scope_alone =
            crate::auth::token::issue(&test.app.keys, pretender, &[Grant::Admin], now, 1000)
                .unwrap();
        assert_eq!(test.get("/v1/queues", &scope_alone).await.problem(), (403, "scope_missing"));
    }

    #[tokio::test]
    async fn a_second_send_is_refused_and_says_when_to_come_back() {
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        let first = test.post(SEND, &token, CODE).await;
        assert_eq!(first.status, StatusCode::ACCEPTED, "{}", first.body);
        let second = test.post(SEND, &token, CODE).await;
        assert_eq!(second.problem(), (429, "phone_limited"));
        assert!(second.headers.contains_key("ratelimit-policy"));
        let seconds: u64 = second.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((59..=60).contains(&seconds));

        let other = test.token("other", &Grant::USUAL).await;
        let message = format!("/v1/messages/{}", first.body["message_id"].as_str().unwrap());
        assert_eq!(test.get(&message, &token).await.body["status"], "accepted");
        assert_eq!(test.get(&message, &other).await.problem(), (404, "message_not_found"));
        let verification = format!("{SEND}/{}", first.body["id"].as_str().unwrap());
        assert_eq!(test.get(&verification, &token).await.body["status"], "pending");
        assert_eq!(test.get(&verification, &other).await.problem().0, 404);
    }

    #[tokio::test]
    async fn other_countries_are_refused_unless_they_are_allowed() {
        const ABROAD: &str = r#"{"phone":"+14155552671","purpose":"login"}"#;
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        let refused = test.post(SEND, &token, ABROAD).await;
        assert_eq!(refused.problem(), (422, "country_not_allowed"));
        let test = TestApp::start(&[("POSTRIDER_SERVER__COUNTRIES", "CN,US")]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        assert_eq!(test.post(SEND, &token, ABROAD).await.status, StatusCode::ACCEPTED);
        let canada = r#"{"phone":"+16045550123","purpose":"login"}"#;
        let refused = test.post(SEND, &token, canada).await;
        assert_eq!(refused.problem(), (422, "country_not_allowed"), "it shares the US's code");
    }

    #[tokio::test]
    async fn what_is_refused_is_written_down_masked() {
        let test = TestApp::start(&[]).await;
        let token = test.token("shop", &Grant::USUAL).await;
        test.post(SEND, &token, CODE).await;
        assert_eq!(test.post(SEND, &token, CODE).await.problem().0, 429);
        let wrong = r#"{"phone":"13800138000","purpose":"login","code":"000000"}"#;
        let failed = test.post("/v1/verifications/check", &token, wrong).await;
        assert_eq!(failed.problem(), (422, "code_mismatch"));
        let unreadable = test.post(SEND, &token, r#"{"phone":"12","purpose":"login"}"#).await;
        assert_eq!(unreadable.problem(), (422, "phone_invalid"));
        assert_eq!(test.get("/v1/queues", &token).await.problem(), (403, "scope_missing"));
        let account = test.app.database.account_by_name("shop").await.unwrap().unwrap().id;
        let rows = loop {
            let rows = test.app.database.refusals(Some(account), 10).await.unwrap();
            if rows.len() == 4 {
                break rows;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let said: Vec<_> = rows
            .iter()
            .map(|r| (r.kind.as_str(), r.rule.as_str(), r.policy.as_deref(), r.purpose.as_deref()))
            .collect();
        assert_eq!(
            said,
            [
                ("access", "scope_missing", None, None),
                ("code", "phone_invalid", None, None),
                ("check", "code_mismatch", None, Some("login")),
                ("code", "phone_limited", Some("phone-60s"), Some("login")),
            ]
        );
        assert!(rows[2..].iter().all(|row| row.phone_number.as_deref() == Some("+86138****8000")));
        assert_eq!(rows[2].request_id.as_deref(), failed.headers["x-request-id"].to_str().ok());
    }

    #[tokio::test]
    async fn not_ready_says_what_is_down() {
        let test = TestApp::start(&[]).await;
        assert_eq!(test.get("/readyz", "").await.status, StatusCode::OK);
        test.break_store().await;
        let answer = test.get("/readyz", "").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!((&answer.body["store"], &answer.body["queue"]), (&"down".into(), &"up".into()));
    }

    #[tokio::test]
    async fn a_panic_and_a_time_out_are_problems_too() {
        let test = TestApp::start(&[("POSTRIDER_SERVER__REQUEST_TIMEOUT", "20ms")]).await;
        let routes = Router::new()
            .route("/panics", get(async || -> StatusCode { panic!("broken") }))
            .route("/hangs", get(std::future::pending::<StatusCode>));
        let layers =
            layered(bounded(routes, test.app.settings.server.request_timeout), test.app.clone());
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(
            ask_undescribed(layers.clone(), get("/panics")).await.problem(),
            (500, "internal")
        );
        assert_eq!(
            ask_undescribed(layers, get("/hangs")).await.problem(),
            (503, "request_timeout")
        );
    }
}
