//! Alibaba Cloud SMS: Dysmsapi 2017-05-25, `SendSms`. All parameters travel in the query, the body is empty; a business
//! error comes with HTTP 200 and a `Code` other than `OK`.

use futures::future::BoxFuture;
use postrider_common::config;
use postrider_common::job::{AnswerScope, Outcome};
use postrider_common::phone::PhoneNumber;
use reqwest::{Client, RequestBuilder};
use secrecy::SecretString;
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;

use super::acs3::{self, Request};
use super::http::{self, Response};
use super::{Answer, Provider, Sms};

const ENDPOINT: &str = "https://dysmsapi.aliyuncs.com/";

pub(super) struct Aliyun {
    client: Client,
    endpoint: url::Url,
    host: String,
    key_id: SecretString,
    key_secret: SecretString,
    security_token: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    code: String,
    #[serde(default)]
    message: String,
    biz_id: Option<String>,
}

impl Aliyun {
    pub(super) fn new(config: &config::Provider) -> Result<Self, reqwest::Error> {
        #[expect(clippy::expect_used, reason = "checked when the configuration was loaded")]
        let endpoint: url::Url = config
            .endpoint
            .as_deref()
            .unwrap_or(ENDPOINT)
            .parse()
            .expect("the endpoint was checked");
        let host = match (endpoint.host_str(), endpoint.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            client: http::client(config)?,
            endpoint,
            host,
            key_id: config.access_key_id.clone().unwrap_or_default(),
            key_secret: config.access_key_secret.clone().unwrap_or_default(),
            security_token: config.security_token.clone(),
        })
    }

    async fn call(&self, sms: &Sms) -> Answer {
        let Some(template) = sms.template.aliyun.clone() else {
            return Answer::of(Outcome::RefusedHere, "template_missing")
                .with_message("the template has no `aliyun` template code");
        };
        match http::exchange(self.post(sms, template)).await {
            Ok(response) => classify(&response),
            Err(answer) => answer,
        }
    }

    /// The call, signed. What it is made from is gone before the answer is waited for.
    fn post(&self, sms: &Sms, template: String) -> RequestBuilder {
        #[expect(clippy::disallowed_methods, reason = "the signature is dated by the wall clock")]
        let now = OffsetDateTime::from(std::time::SystemTime::now());
        // A nonce is good for one try: the vendor refuses one that it has seen.
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let request = self.request(sms, template, now, nonce);
        let mut url = self.endpoint.clone();
        url.set_query(Some(&request.canonical_query()));
        let authorization = request.authorization(&self.key_id, &self.key_secret);
        let post = self.client.post(url).header("authorization", authorization);
        request.headers.iter().fold(post, |post, (name, value)| post.header(*name, value))
    }

    fn request(
        &self,
        sms: &Sms,
        template: String,
        now: OffsetDateTime,
        nonce: String,
    ) -> Request<'static> {
        use secrecy::ExposeSecret as _;
        let date = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let mut headers = vec![
            ("host", self.host.clone()),
            ("x-acs-action", "SendSms".to_owned()),
            ("x-acs-version", "2017-05-25".to_owned()),
            ("x-acs-date", now.format(date).unwrap_or_default()),
            ("x-acs-signature-nonce", nonce),
            ("x-acs-content-sha256", acs3::body_hash(b"")),
        ];
        if let Some(token) = &self.security_token {
            headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
        }
        let params = serde_json::to_string(&sms.params).unwrap_or_default();
        let query = vec![
            ("PhoneNumbers", number(&sms.phone)),
            ("SignName", sms.template.sign.clone()),
            ("TemplateCode", template),
            ("TemplateParam", params),
            ("OutId", sms.message_id.to_string()),
        ];
        Request { method: "POST", path: "/", query, headers }
    }
}

impl Provider for Aliyun {
    fn send<'a>(&'a self, sms: &'a Sms) -> BoxFuture<'a, Answer> {
        Box::pin(self.call(sms))
    }
}

/// A mainland number bare, another with its country code and no plus.
fn number(phone: &PhoneNumber) -> String {
    let e164 = phone.as_e164();
    e164.strip_prefix("+86").unwrap_or(e164.trim_start_matches('+')).to_owned()
}

pub(super) fn classify(response: &Response) -> Answer {
    let Some(body) = response.object::<Body>() else {
        return response.by_status().unwrap_or_else(|| response.broken());
    };
    let Some(outcome) = meaning(&body.code) else {
        // An error that isn't documented: what the status says, else that this request is wrong.
        let mut answer =
            response.by_status().unwrap_or_else(|| Answer::of(Outcome::Refused, &body.code));
        answer.error_code = Some(body.code);
        answer.error_message = Some(body.message);
        answer.response = Some(response.body.clone());
        return answer;
    };
    let accepted = outcome == Outcome::Accepted;
    if accepted && !response.status.is_success() {
        // Status and body contradict each other.
        return response.broken();
    }
    Answer {
        outcome,
        scope: AnswerScope::Message,
        try_next_now: false,
        provider_message_id: body.biz_id,
        error_code: (!accepted).then_some(body.code),
        error_message: (!accepted).then_some(body.message),
        response: Some(response.body.clone()),
        retry_after: response.retry_after(),
    }
}

/// What each documented `Code` means. The vendor lists cause and remedy; the class is our judgement.
fn meaning(code: &str) -> Option<Outcome> {
    Some(match code {
        "OK" => Outcome::Accepted,
        "isp.SYSTEM_ERROR" | "isp.UNKNOWN" | "isp.GATEWAY_ERROR" | "Throttling"
        | "Throttling.User" | "Throttling.Api" | "ServiceUnavailable" | "InternalError"
        | "SignatureNonceUsed" => Outcome::Later,
        "isv.MOBILE_NUMBER_ILLEGAL"
        | "isv.MOBILE_COUNT_OVER_LIMIT"
        | "isv.TEMPLATE_MISSING_PARAMETERS"
        | "isv.TEMPLATE_PARAMS_ILLEGAL"
        | "isv.INVALID_PARAMETERS"
        | "isv.INVALID_JSON_PARAM"
        | "isv.PARAM_LENGTH_LIMIT"
        | "isv.PARAM_NOT_SUPPORT_URL"
        | "isv.BLACK_KEY_CONTROL_LIMIT"
        | "isv.SMS_CONTENT_ILLEGAL"
        | "isv.DOMESTIC_NUMBER_NOT_SUPPORTED" => Outcome::Refused,
        // The vendor's own limits for that number, then sign, template, balance, credentials.
        "isv.BUSINESS_LIMIT_CONTROL"
        | "isv.DAY_LIMIT_CONTROL"
        | "isv.MONTH_LIMIT_CONTROL"
        | "isv.SMS_SIGNATURE_ILLEGAL"
        | "isv.SMS_SIGN_ILLEGAL"
        | "isv.SIGN_STATE_ILLEGAL"
        | "isv.SMS_SIGNATURE_SCENE_ILLEGAL"
        | "isv.SMS_TEMPLATE_ILLEGAL"
        | "isv.EXTEND_CODE_ERROR"
        | "isv.AMOUNT_NOT_ENOUGH"
        | "isv.OUT_OF_SERVICE"
        | "isv.ACCOUNT_NOT_EXISTS"
        | "isv.ACCOUNT_ABNORMAL"
        | "isv.PRODUCT_UN_SUBSCRIPT"
        | "isv.PRODUCT_UNSUBSCRIBE"
        | "isv.DENY_IP_RANGE"
        | "isp.RAM_PERMISSION_DENY"
        | "SignatureDoesNotMatch"
        | "InvalidTimeStamp.Expired"
        | "InvalidAccessKeyId.NotFound"
        | "InvalidAccessKeyId.Inactive"
        | "Forbidden.RAM" => Outcome::RefusedHere,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;
    use crate::provider::http::any_response;

    fn answer(status: u16, body: &str) -> Answer {
        let headers =
            HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        classify(&Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.to_owned(),
        })
    }

    #[test]
    fn every_documented_code_has_its_class() {
        let later = "isp.SYSTEM_ERROR isp.UNKNOWN isp.GATEWAY_ERROR Throttling Throttling.User Throttling.Api \
            ServiceUnavailable InternalError SignatureNonceUsed";
        let refused = "isv.MOBILE_NUMBER_ILLEGAL isv.MOBILE_COUNT_OVER_LIMIT isv.TEMPLATE_MISSING_PARAMETERS \
            isv.TEMPLATE_PARAMS_ILLEGAL isv.INVALID_PARAMETERS isv.INVALID_JSON_PARAM isv.PARAM_LENGTH_LIMIT \
            isv.PARAM_NOT_SUPPORT_URL isv.BLACK_KEY_CONTROL_LIMIT isv.SMS_CONTENT_ILLEGAL \
            isv.DOMESTIC_NUMBER_NOT_SUPPORTED";
        let refused_here = "isv.BUSINESS_LIMIT_CONTROL isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL \
            isv.SMS_SIGNATURE_ILLEGAL isv.SMS_SIGN_ILLEGAL isv.SIGN_STATE_ILLEGAL isv.SMS_SIGNATURE_SCENE_ILLEGAL \
            isv.SMS_TEMPLATE_ILLEGAL isv.EXTEND_CODE_ERROR isv.AMOUNT_NOT_ENOUGH isv.OUT_OF_SERVICE \
            isv.ACCOUNT_NOT_EXISTS isv.ACCOUNT_ABNORMAL isv.PRODUCT_UN_SUBSCRIPT isv.PRODUCT_UNSUBSCRIBE \
            isv.DENY_IP_RANGE isp.RAM_PERMISSION_DENY SignatureDoesNotMatch InvalidTimeStamp.Expired \
            InvalidAccessKeyId.NotFound InvalidAccessKeyId.Inactive Forbidden.RAM";
        for (codes, outcome) in [
            ("OK", Outcome::Accepted),
            (later, Outcome::Later),
            (refused, Outcome::Refused),
            (refused_here, Outcome::RefusedHere),
        ] {
            for code in codes.split_whitespace() {
                let body = format!(
                    r#"{{"Code":"{code}","Message":"m","RequestId":"r","BizId":"9006^0"}}"#
                );
                let answer = answer(200, &body);
                assert_eq!(answer.outcome, outcome, "{code}");
                assert_eq!(answer.error_code.is_some(), outcome != Outcome::Accepted);
                assert_eq!(answer.provider_message_id.as_deref(), Some("9006^0"));
            }
        }
    }

    #[test]
    fn what_is_not_documented_is_judged_by_its_status() {
        let cases = [
            (200, r#"{"Code":"isv.NEW","Message":"m"}"#, Outcome::Refused),
            (400, r#"{"Code":"MissingParameter","Message":"m"}"#, Outcome::Refused),
            (500, r#"{"Code":"Whatever","Message":"m"}"#, Outcome::Unknown),
            (500, r#"{"Code":"InternalError","Message":"m"}"#, Outcome::Later),
            (503, "<html>", Outcome::Later),
            (502, "<html>", Outcome::Unknown),
            (504, "", Outcome::Unknown),
            (429, "slow down", Outcome::TooFast),
            (200, "not json", Outcome::Unknown),
            (200, "{}", Outcome::Unknown),
            (200, r#"["OK","m","9006^0"]"#, Outcome::Unknown),
            (302, "", Outcome::Unknown),
            (503, r#"{"Code":"OK","Message":"OK"}"#, Outcome::Unknown),
        ];
        for (status, body, outcome) in cases {
            assert_eq!(answer(status, body).outcome, outcome, "{status} {body}");
        }
        assert_eq!(answer(429, "").retry_after.unwrap().as_secs(), 7);
    }

    #[test]
    fn numbers_go_as_the_vendor_wants_them() {
        let number = |e164: &str| number(&PhoneNumber::from_e164(e164).unwrap());
        assert_eq!(number("+8613800138000"), "13800138000");
        assert_eq!(number("+85291234567"), "85291234567");
    }

    fn any_body() -> impl Strategy<Value = String> {
        let code = prop_oneof![
            Just("OK".to_owned()),
            "[A-Za-z.]{0,12}",
            "(isv|isp)\\.[A-Z_]{1,12}",
            any::<String>()
        ];
        let spelled =
            (prop::sample::select(vec!["Code", "code", "CODE"]), code).prop_map(|(name, code)| {
                serde_json::json!({ name: code, "Message": "OK", "BizId": "9006^0" }).to_string()
            });
        prop_oneof![
            spelled,
            any::<String>(),
            Just(r#"{"Code":200}"#.to_owned()),
            Just(r#"["OK"]"#.to_owned()),
            Just(r#"{"Code":"OK"} trailing"#.to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn only_the_documented_success_is_accepted(response in any_response(any_body())) {
            let answer = classify(&response);
            let body: serde_json::Value = serde_json::from_str(&response.body).unwrap_or_default();
            let documented = response.status.is_success() && body["Code"] == "OK";
            prop_assert_eq!(answer.outcome == Outcome::Accepted, documented, "{:?}", answer);
            prop_assert_eq!(answer.error_code.is_none(), documented);
        }
    }
}
