//! Spug push: the variables of a template and the phone, posted to the template's own URL. The token in the URL is
//! the credential: no URL is ever logged or kept.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use postrider_common::config;
use postrider_common::model::job::Outcome;
use postrider_common::model::phone::PhoneNumber;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::class::Class;
use super::http::{self, Response, text};
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
    msg: Value,
    #[serde(default)]
    request_id: Value,
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
        let Some(national) = national(&sms.phone) else {
            return Answer::of(Outcome::RefusedHere, "country_not_supported")
                .with_message("this provider reaches mainland numbers alone");
        };
        let url = format!("{}/{}", self.endpoint, self.token.expose_secret());
        let post = self.client.post(url).json(&self.body(sms, national));
        match http::exchange(post).await {
            Ok(response) => self.without_token(classify(&response)),
            Err(answer) => self.without_token(answer),
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
    fn send<'a>(&'a self, sms: &'a Sms, _begin_by: Instant) -> BoxFuture<'a, Answer> {
        Box::pin(self.call(sms))
    }
}

/// A mainland number without its country code; no other is one that this provider reaches.
fn national(phone: &PhoneNumber) -> Option<&str> {
    phone.as_e164().strip_prefix("+86")
}

/// The meaning of an answer.
pub(super) fn classify(response: &Response) -> Answer {
    let Some(body) = response.object::<Body>() else { return response.without_code() };
    let listed = listed(body.code);
    let class = response.class(listed);
    if class == Class::Unknown && listed == Some(Class::Accepted) {
        return response.broken();
    }
    let mut answer = response.answer(class, &format!("spug.{}", body.code));
    if class == Class::Accepted {
        answer.provider_message_id = text(body.request_id);
    } else {
        answer.error_message = text(body.msg);
    }
    answer
}

/// The class of a `code`. Only 200 is documented; those that are HTTP's own tell of token and template, of balance, of
/// limits, and of a failure, in which it did say no. None is known to blame the number or the text.
fn listed(code: i64) -> Option<Class> {
    match code {
        200 => Some(Class::Accepted),
        401..=404 => Some(Class::Account),
        429 => Some(Class::Throttled),
        500..=599 => Some(Class::Later),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use postrider_common::model::job::AnswerScope;
    use proptest::prelude::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::provider::http::any_response;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        classify(&Response { status, headers: HeaderMap::new(), body: body.to_owned() })
    }

    #[test]
    fn answers_have_their_class() {
        use AnswerScope::{Message, Provider};
        let cases = [
            (
                200,
                r#"{"code":200,"msg":"请求成功","request_id":"abc"}"#,
                Outcome::Accepted,
                Message,
            ),
            (200, r#"{"code":401,"msg":"token"}"#, Outcome::RefusedHere, Provider),
            (200, r#"{"code":402,"msg":"余额不足"}"#, Outcome::RefusedHere, Provider),
            (200, r#"{"code":403,"msg":"x"}"#, Outcome::RefusedHere, Provider),
            (200, r#"{"code":404,"msg":"模板不存在"}"#, Outcome::RefusedHere, Provider),
            (400, r#"{"code":404,"msg":"模板不存在"}"#, Outcome::RefusedHere, Provider),
            (401, r#"{"code":400,"msg":"x"}"#, Outcome::RefusedHere, Provider),
            (403, "<html>", Outcome::RefusedHere, Provider),
            (404, "", Outcome::RefusedHere, Provider),
            (404, r#"{"detail":"Not Found"}"#, Outcome::RefusedHere, Provider),
            (400, "<html>", Outcome::RefusedHere, Provider),
            (408, "<html>", Outcome::Unknown, Message),
            (200, r#"{"code":429,"msg":"x"}"#, Outcome::TooFast, Provider),
            (429, "", Outcome::TooFast, Provider),
            (429, r#"{"code":400,"msg":"x"}"#, Outcome::TooFast, Provider),
            (200, r#"{"code":500,"msg":"x"}"#, Outcome::Later, Message),
            (503, "", Outcome::Later, Message),
            (500, "", Outcome::Unknown, Message),
            (200, "ok", Outcome::Unknown, Message),
            (200, r#"[200,"m","abc"]"#, Outcome::Unknown, Message),
            (400, r#"{"code":200,"msg":"请求成功"}"#, Outcome::Unknown, Message),
            (503, r#"{"code":200,"msg":"请求成功"}"#, Outcome::Unknown, Message),
        ];
        for (status, body, outcome, scope) in cases {
            let answer = answer(status, body);
            assert_eq!((answer.outcome, answer.scope), (outcome, scope), "{status} {body}");
            assert!(!answer.try_next_now, "{status} {body}");
        }
    }

    #[test]
    fn unlisted_code_goes_to_the_next_provider_and_is_never_the_callers_fault() {
        for status in [200, 400, 422] {
            for code in [0, -1, 201, 400, 422, 600, i64::MAX] {
                let answer =
                    answer(status, &json!({ "code": code, "msg": "参数错误" }).to_string());
                assert_eq!(answer.outcome, Outcome::Later, "{status} {code}");
                assert!(answer.try_next_now, "{status} {code}");
            }
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

    proptest! {
        #[test]
        fn every_number_is_written_as_itself_or_not_sent(e164 in "\\+(86|1|[1-9][0-9]{0,2})[0-9]{6,11}") {
            let Ok(phone) = PhoneNumber::from_e164(&e164) else { return Ok(()) };
            match national(&phone) {
                Some(written) => prop_assert_eq!(format!("+86{written}"), e164),
                None => prop_assert!(!e164.starts_with("+86")),
            }
        }
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
