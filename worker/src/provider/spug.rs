//! Spug push: the variables of a template and the phone, posted to the template's own URL. The token in the URL is
//! the credential: no URL is ever logged or kept.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use postrider_common::config;
use postrider_common::job::Outcome;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{self, Response};
use super::{Answer, Provider, Sms};

const ENDPOINT: &str = "https://push.spug.cc/send/";

pub(super) struct Spug {
    client: Client,
    endpoint: String,
    token: SecretString,
    /// Our name to the name in the body.
    fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Body {
    code: i64,
    #[serde(default)]
    msg: String,
    request_id: Option<String>,
}

impl Spug {
    pub(super) fn new(config: &config::Provider) -> Result<Self, reqwest::Error> {
        let endpoint =
            config.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').to_owned();
        let mut fields = config.fields.clone();
        fields.entry("code".to_owned()).or_insert_with(|| "code".to_owned());
        fields.entry("phone".to_owned()).or_insert_with(|| "targets".to_owned());
        let token = config.token.clone().unwrap_or_default();
        Ok(Self { client: http::client(config)?, endpoint, token, fields })
    }

    async fn call(&self, sms: &Sms) -> Answer {
        let Some(national) = sms.phone.as_e164().strip_prefix("+86") else {
            return Answer::of(Outcome::RefusedHere, "country_not_supported")
                .with_message("this provider reaches mainland numbers alone");
        };
        let url = format!("{}/{}", self.endpoint, self.token.expose_secret());
        let post = self.client.post(url).json(&self.body(sms, national));
        match http::exchange(post).await {
            Ok(response) => self.without_token(classify(&response)),
            Err(answer) => answer,
        }
    }

    /// Our parameters under the names that the template has; one that isn't mapped keeps its own.
    fn body(&self, sms: &Sms, national: &str) -> Value {
        let named = |ours: &str| self.fields.get(ours).cloned().unwrap_or_else(|| ours.to_owned());
        let mut body: Map<String, Value> =
            sms.params.iter().map(|(name, value)| (named(name), value.clone().into())).collect();
        body.insert(named("phone"), national.into());
        Value::Object(body)
    }

    /// An answer that repeats the URL must not carry the token into a table.
    fn without_token(&self, mut answer: Answer) -> Answer {
        let blot = |text: String| text.replace(self.token.expose_secret(), "******");
        answer.error_message = answer.error_message.map(blot);
        answer.response = answer.response.map(blot);
        answer
    }
}

impl Provider for Spug {
    fn send<'a>(&'a self, sms: &'a Sms) -> BoxFuture<'a, Answer> {
        Box::pin(self.call(sms))
    }
}

/// `code` 200 is accepted. The other codes aren't documented: those like HTTP's that tell of credentials, balance or
/// limits are this provider's own, 5xx is try later (it did say no), the rest is this request's fault.
pub(super) fn classify(response: &Response) -> Answer {
    let Some(body) = response.object::<Body>() else {
        return response.by_status().unwrap_or_else(|| response.broken());
    };
    let outcome = match body.code {
        200 if response.status.is_success() => Outcome::Accepted,
        // Status and body contradict each other.
        200 => return response.broken(),
        401..=404 => Outcome::RefusedHere,
        429 => Outcome::TooFast,
        500..=599 => Outcome::Later,
        _ => Outcome::Refused,
    };
    let mut answer = Answer::of(outcome, &format!("spug.{}", body.code));
    if outcome == Outcome::Accepted {
        answer.provider_message_id = body.request_id;
    } else {
        answer.error_message = Some(body.msg);
    }
    answer.response = Some(response.body.clone());
    answer.retry_after = response.retry_after();
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::provider::http::any_response;

    #[test]
    fn answers_have_their_class() {
        let cases = [
            (200, r#"{"code":200,"msg":"请求成功","request_id":"abc"}"#, Outcome::Accepted),
            (200, r#"{"code":400,"msg":"参数错误"}"#, Outcome::Refused),
            (200, r#"{"code":401,"msg":"token"}"#, Outcome::RefusedHere),
            (200, r#"{"code":402,"msg":"余额不足"}"#, Outcome::RefusedHere),
            (200, r#"{"code":403,"msg":"x"}"#, Outcome::RefusedHere),
            (200, r#"{"code":404,"msg":"模板不存在"}"#, Outcome::RefusedHere),
            (200, r#"{"code":429,"msg":"x"}"#, Outcome::TooFast),
            (200, r#"{"code":500,"msg":"x"}"#, Outcome::Later),
            (503, "", Outcome::Later),
            (500, "", Outcome::Unknown),
            (429, "", Outcome::TooFast),
            (200, "ok", Outcome::Unknown),
            (200, r#"[200,"m","abc"]"#, Outcome::Unknown),
            (503, r#"{"code":200,"msg":"请求成功"}"#, Outcome::Unknown),
        ];
        for (status, body, outcome) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let response = Response { status, headers: HeaderMap::new(), body: body.to_owned() };
            assert_eq!(classify(&response).outcome, outcome, "{status} {body}");
        }
    }

    #[test]
    fn the_token_stays_out_of_what_is_kept() {
        let mut config = config::Provider::sandbox();
        config.token = Some("s3cr3t-token".into());
        let spug = Spug::new(&config).unwrap();
        let mut answer =
            Answer::of(Outcome::Refused, "spug.400").with_message("no /send/s3cr3t-token");
        answer.response = Some("s3cr3t-token".to_owned());
        assert!(!format!("{:?}", spug.without_token(answer)).contains("s3cr3t"));
    }

    fn any_body() -> impl Strategy<Value = String> {
        let code = prop_oneof![Just(200), 190..600_i64, any::<i64>()];
        let numbered = (code, any::<String>()).prop_map(|(code, msg)| {
            serde_json::json!({ "code": code, "msg": msg, "request_id": "abc" }).to_string()
        });
        prop_oneof![
            numbered,
            any::<String>(),
            Just(r#"{"code":"200"}"#.to_owned()),
            Just(r#"{"code":200.0}"#.to_owned()),
            Just(r#"{"code":200} trailing"#.to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn only_the_documented_success_is_accepted(response in any_response(any_body())) {
            let answer = classify(&response);
            let body = serde_json::from_str::<Value>(&response.body).unwrap_or_default();
            let documented = response.status.is_success() && body["code"] == 200;
            prop_assert_eq!(answer.outcome == Outcome::Accepted, documented, "{:?}", answer);
            let has_id = documented && body["request_id"].is_string();
            prop_assert_eq!(answer.provider_message_id.is_some(), has_id);
        }
    }
}
