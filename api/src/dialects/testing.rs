//! What the dialects' tests share: requests as older clients make them, codes as phones get them, and time that passes.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, request};
use postrider_common::accept::Acceptor;
use postrider_common::model::code::Code;
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{Ban, BanSubject, Read, Which, verification_subject};
use serde_json::Value;

use crate::testing::{Answer, TestApp, ask};

/// Requests of one caller.
#[derive(Clone, Default)]
pub(super) struct Client {
    pub(super) token: Option<String>,
    pub(super) peer: Option<&'static str>,
    pub(super) forwarded_for: Option<&'static str>,
}

impl Client {
    pub(super) fn with_token(token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::default() }
    }

    pub(super) fn from(peer: &'static str) -> Self {
        Self { peer: Some(peer), ..Self::default() }
    }

    pub(super) async fn post(
        &self,
        test: &TestApp,
        path: &str,
        body: impl ToString,
    ) -> (u16, Value) {
        let answer = self.ask(test, Method::POST, path, body.to_string()).await;
        (answer.status.as_u16(), answer.body)
    }

    pub(super) async fn get(&self, test: &TestApp, path: &str) -> (u16, Value) {
        let answer = self.ask(test, Method::GET, path, "").await;
        (answer.status.as_u16(), answer.body)
    }

    pub(super) async fn ask(
        &self,
        test: &TestApp,
        method: Method,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = self.request(method, path).header("content-type", "application/json");
        let answer =
            ask(crate::routes::router::app(test.app.clone()), request.body(body.into()).unwrap())
                .await;
        assert!(answer.headers.contains_key("x-request-id"));
        answer
    }

    pub(super) fn request(&self, method: Method, path: &str) -> request::Builder {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(user) = self.forwarded_for {
            request = request.header("x-forwarded-for", user);
        }
        if let Some(peer) = self.peer {
            let peer = SocketAddr::new(peer.parse().unwrap(), 40_000);
            request = request.extension(ConnectInfo(peer));
        }
        request
    }
}

impl TestApp {
    /// The code that `phone` was sent last.
    pub(crate) async fn code(&self, account: &str, purpose: &str, phone: &str) -> String {
        let account = self.app.database.account_by_name(account).await.unwrap().unwrap().id;
        let owner = Owner::new(account, false);
        let phone = PhoneNumber::from_e164(phone).unwrap();
        let which = Which::Subject(verification_subject(owner, purpose, &phone));
        let asked = Read { account_id: owner.store_id(), which };
        let live = self.app.store.read(&asked).await.unwrap().unwrap();
        let key = &self.app.keys.get(&live.key_id).unwrap().code;
        Code::derive(key, live.id, live.digits).expose().to_owned()
    }

    pub(super) async fn ban(&self, subject: BanSubject) {
        self.app.store.ban(&[Ban { subject, until: 0 }]).await.unwrap();
    }

    /// Makes all that the store knows so much older.
    pub(crate) async fn pass(&self, time: Duration) {
        let Acceptor::Embedded { sqlite, .. } = &self.app.acceptor else { panic!("embedded") };
        let mut connection = sqlite.connect().await.unwrap();
        let ms = i64::try_from(time.as_millis()).unwrap();
        for older in [
            r#"UPDATE store_limit_entry SET "at" = "at" - ?1, keep_until = keep_until - ?1"#,
            "UPDATE store_live SET keep_until = keep_until - ?1",
            "UPDATE store_verification SET first_at = first_at - ?1, expires_at = expires_at - ?1, \
             approved_at = approved_at - ?1, keep_until = keep_until - ?1",
            r#"UPDATE store_ban SET "until" = "until" - ?1 WHERE "until" > 0"#,
        ] {
            sqlx::query(older).bind(ms).execute(&mut connection).await.unwrap();
        }
    }
}
