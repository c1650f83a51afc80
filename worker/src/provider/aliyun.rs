//! Alibaba Cloud SMS: Dysmsapi 2017-05-25, `SendSms`. All parameters travel in the query, the body is empty; a business
//! error comes with HTTP 200 and a `Code` other than `OK`.

mod clock;
mod codes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::future::BoxFuture;
use postrider_common::config;
use postrider_common::model::job::{Lane, Outcome};
use postrider_common::model::phone::PhoneNumber;
use reqwest::{Client, RequestBuilder};
use secrecy::SecretString;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use self::clock::Clock;
pub(super) use self::codes::classify;
use super::acs3::{self, Request};
use super::http;
use super::{Answer, Provider, Sms};

const ENDPOINT: &str = "https://dysmsapi.aliyuncs.com/";

pub(super) struct Aliyun {
    client: Client,
    endpoint: url::Url,
    host: String,
    key_id: SecretString,
    key_secret: SecretString,
    security_token: Option<SecretString>,
    foreign_prefix: Option<String>,
    clock: Clock,
    connect_timeout: Duration,
    /// Longest time of a call, both signatures of it included.
    call_timeout: Duration,
}

/// The number and the template in the vendor's words.
struct Target {
    number: String,
    template: String,
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
            foreign_prefix: config.foreign_prefix.clone(),
            clock: Clock::default(),
            connect_timeout: config.connect_timeout,
            call_timeout: config.connect_timeout + config.read_timeout,
        })
    }

    async fn call(&self, sms: &Sms, begin_by: Instant) -> Answer {
        let Some(template) = sms.template.aliyun.clone() else {
            return Answer::of(Outcome::RefusedHere, "template_missing")
                .with_message("the template has no `aliyun` template code");
        };
        let Some(number) = number(&sms.phone, self.foreign_prefix.as_deref()) else {
            return Answer::of(Outcome::RefusedHere, "number_ambiguous").with_message(
                "the provider would take this foreign number for a mainland one: set foreign_prefix",
            );
        };
        let target = Target { number, template };
        let lane = if sms.code.is_some() { Lane::Code } else { Lane::Notice };
        let (begun, date) = (Instant::now(), self.clock.now());
        let response = match http::exchange(self.post(sms, &target, date)).await {
            Ok(response) => response,
            Err(answer) => return answer,
        };
        let answer = classify(lane, &response);
        if !refuses_date(&answer) || !self.clock.correct(date, &response.headers) {
            return answer;
        }
        // Whoever waits for the call counts on its longest time, and a new connection may take its own.
        let left = self.call_timeout.saturating_sub(begun.elapsed());
        if left <= self.connect_timeout || Instant::now() >= begin_by {
            return answer;
        }
        let post = self.post(sms, &target, self.clock.now()).timeout(left);
        http::exchange(post)
            .await
            .map_or_else(|answer| answer, |response| classify(lane, &response))
    }

    /// The call, signed with this date. What it is made from is gone before the answer is waited for.
    fn post(&self, sms: &Sms, target: &Target, date: OffsetDateTime) -> RequestBuilder {
        // A nonce is good for one try: the vendor refuses one that it has seen.
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let request = self.request(sms, target, date, nonce);
        let mut url = self.endpoint.clone();
        url.set_query(Some(&request.canonical_query()));
        let authorization = request.authorization(&self.key_id, &self.key_secret);
        let post = self.client.post(url).header("authorization", authorization);
        request.headers.iter().fold(post, |post, (name, value)| post.header(*name, value))
    }

    fn request(
        &self,
        sms: &Sms,
        target: &Target,
        now: OffsetDateTime,
        nonce: String,
    ) -> Request<'static> {
        use secrecy::ExposeSecret as _;
        let date = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let mut headers = vec![
            ("host", self.host.clone()),
            // As the vendor's own client sends and signs them.
            ("accept", "application/json".to_owned()),
            ("content-length", "0".to_owned()),
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
            ("PhoneNumbers", target.number.clone()),
            ("SignName", sms.template.sign.clone()),
            ("TemplateCode", target.template.clone()),
            ("TemplateParam", params),
            ("OutId", sms.message_id.to_string()),
        ];
        Request { method: "POST", path: "/", query, headers }
    }
}

impl Provider for Aliyun {
    fn send<'a>(&'a self, sms: &'a Sms, begin_by: Instant) -> BoxFuture<'a, Answer> {
        Box::pin(self.call(sms, begin_by))
    }
}

/// Whether the answer refuses the date of the signature.
fn refuses_date(answer: &Answer) -> bool {
    answer.error_code.as_deref().is_some_and(|code| code.starts_with("InvalidTimeStamp."))
}

/// The number as the vendor reads it: a mainland one bare, another with its country code and `foreign_prefix`. `None`
/// where the vendor would take a foreign number for a mainland one.
fn number(phone: &PhoneNumber, foreign_prefix: Option<&str>) -> Option<String> {
    let digits = phone.as_e164().trim_start_matches('+');
    if let Some(national) = digits.strip_prefix("86") {
        let written = if is_mainland_mobile(national) { national } else { digits };
        return Some(written.to_owned());
    }
    match foreign_prefix {
        Some(prefix) => Some(format!("{prefix}{digits}")),
        None => (!is_mainland_mobile(digits)).then(|| digits.to_owned()),
    }
}

/// `^1[3-9]\d{9}$`.
fn is_mainland_mobile(digits: &str) -> bool {
    digits.len() == 11 && matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..])
}
