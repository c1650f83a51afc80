//! An embedded app on a directory of its own, for tests that speak HTTP to the router.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use postrider_common::accept::Acceptor;
use postrider_common::config::{self, Settings};
use postrider_common::database::Database;
use postrider_common::database::account::Role;
use postrider_common::queue::Queue;
use postrider_common::queue::sqlite::SqliteQueue;
use postrider_common::secrets::KeyRing;
use postrider_common::sqlite::Sqlite;
use postrider_common::store::Store;
use postrider_common::store::sqlite::SqliteStore;
use serde_json::Value;
use tower::ServiceExt as _;

use self::conformance::{Conformance, Exchange};
use crate::auth::accounts::AccountCache;
use crate::auth::identity_provider::IdentityProvider;
use crate::auth::passwords::Passwords;
use crate::auth::token::{self, Grant};
use crate::background::approvals::Verified;
use crate::background::automatic_bans::AutomaticBans;
use crate::background::key_uses::KeyUses;
use crate::background::refusals::Refusals;
use crate::background::store_recovery::StoreRecovery;
use crate::http::clock::unix_ms;
use crate::messages::back_pressure::BackPressure;
use crate::server::backends;
use crate::server::state::{App, AppState};

pub(crate) mod conformance;

pub(crate) struct TestApp {
    pub(crate) app: AppState,
    dir: Arc<tempfile::TempDir>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl TestApp {
    /// With these variables beside those that give it its place.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = ("POSTRIDER_DATA_DIR", dir.path().to_str().unwrap());
        let environment =
            variables.iter().chain([&data]).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let config = config::load(&environment.collect()).unwrap();
        let sqlite = backends::open_embedded(dir.path()).await.unwrap();
        let table = SqliteQueue::start(sqlite.clone()).await.unwrap();
        let app = Self::app(config.settings, config.keys, &sqlite, &table);
        Self { app, dir: Arc::new(dir) }
    }

    /// Another process of the same settings on the same data, which has seen nothing yet.
    pub(crate) fn replica(&self) -> Self {
        let Acceptor::Embedded { sqlite, queue } = &self.app.acceptor else { panic!("embedded") };
        let (settings, keys) = (self.app.settings.clone(), self.app.keys.clone());
        Self { app: Self::app(settings, keys, sqlite, queue), dir: Arc::clone(&self.dir) }
    }

    fn app(settings: Settings, keys: KeyRing, sqlite: &Sqlite, table: &SqliteQueue) -> AppState {
        let database = Database::sqlite(sqlite.clone());
        let store = Store::Sqlite(SqliteStore::new(sqlite.clone()));
        let queue = Queue::Sqlite(table.clone());
        let recovery = StoreRecovery::new(store.clone(), database.clone());
        let permanent = settings.bans.auto_permanent;
        Arc::new(App {
            automatic_bans: AutomaticBans::start(database.clone(), store.clone(), permanent).0,
            phone_rules: settings.phone_rules().unwrap(),
            identity_provider: IdentityProvider::load(&settings.jwt).unwrap(),
            keys,
            acceptor: Acceptor::embedded(sqlite.clone(), table.clone()),
            verified: Verified::start(database.clone()).0,
            refusals: Refusals::start(database.clone()).0,
            key_uses: KeyUses::start(database.clone()).0,
            accounts: Arc::new(AccountCache::new(
                database.clone(),
                store.clone(),
                recovery.clone(),
            )),
            passwords: Passwords::patient(),
            pressure: Arc::new(BackPressure::new(
                queue.clone(),
                store.clone(),
                recovery.clone(),
                settings.queue.max_ready,
            )),
            trusted_proxies: settings.server.trusted_proxies.as_slice().into(),
            store,
            queue,
            database,
            settings,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            recovery,
        })
    }

    /// Makes the store forget everything, as Redis does that lost its data.
    pub(crate) async fn break_store(&self) {
        self.app.recovery.running.store(true, std::sync::atomic::Ordering::Release);
        self.run("DELETE FROM store_epoch").await;
    }

    /// Changes the database behind the app's back.
    pub(crate) async fn run(&self, sql: &'static str) {
        let Acceptor::Embedded { sqlite, .. } = &self.app.acceptor else { panic!("embedded") };
        let mut connection = sqlite.connect().await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }

    /// A token of an account that is made for it.
    pub(crate) async fn token(&self, account: &str, grants: &[Grant]) -> String {
        let role = if grants.contains(&Grant::Admin) { Role::Admin } else { Role::Account };
        let account = self.app.database.ensure_account(account, role, 0).await.unwrap();
        if grants.contains(&Grant::OnBehalf) {
            self.app.database.grant_on_behalf(account.id, 0).await.unwrap();
        }
        token::issue(&self.app.keys, account.id, grants, unix_ms(), 60_000).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        ask(crate::routes::router::app(Arc::clone(&self.app)), request.body(body.into()).unwrap())
            .await
    }

    /// Any request, from this address.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        ip: &str,
        body: &Value,
    ) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let request = match token {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        };
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        let peer = SocketAddr::new(ip.parse().unwrap(), 4711);
        request.extensions_mut().insert(ConnectInfo(peer));
        ask(crate::routes::router::app(Arc::clone(&self.app)), request).await
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        let request = Request::delete(path).header("authorization", format!("Bearer {token}"));
        ask(crate::routes::router::app(Arc::clone(&self.app)), request.body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn delete_with(
        &self,
        path: &str,
        token: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::delete(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        ask(crate::routes::router::app(Arc::clone(&self.app)), request.body(body.into()).unwrap())
            .await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {token}"));
        ask(crate::routes::router::app(Arc::clone(&self.app)), request.body(Body::empty()).unwrap())
            .await
    }
}

/// Asks the API. What it answers must be described.
pub(crate) async fn ask(router: Router, request: Request<Body>) -> Answer {
    static CONFORMANCE: LazyLock<Conformance> =
        LazyLock::new(|| Conformance::new(crate::openapi::document()));
    let (head, body) = request.into_parts();
    let sent = to_bytes(body, usize::MAX).await.unwrap();
    let (method, uri) = (head.method.clone(), head.uri.clone());
    let (answer, body) = answered(router, Request::from_parts(head, sent.clone().into())).await;
    CONFORMANCE.assert(&Exchange {
        method: method.as_str(),
        target: uri.path_and_query().map_or("/", |target| target.as_str()),
        sent: &sent,
        status: answer.status.as_u16(),
        headers: &answer.headers,
        body: &body,
    });
    answer
}

/// Asks routes that a test made up, which no description has.
pub(crate) async fn ask_undescribed(router: Router, request: Request<Body>) -> Answer {
    answered(router, request).await.0
}

async fn answered(router: Router, request: Request<Body>) -> (Answer, Bytes) {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (Answer { status: parts.status, headers: parts.headers, body }, bytes)
}

impl Answer {
    /// The status and the problem's word.
    pub(crate) fn problem(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        (self.status.as_u16(), self.body["code"].as_str().unwrap())
    }
}
