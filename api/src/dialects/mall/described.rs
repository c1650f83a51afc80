//! The dialect's bodies and answers, as the description shows them.

use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoResponses, ToSchema};

use super::super::description::{Answers, answers, codes, loose};

/// A code to be sent, as the body says it.
#[derive(Debug, ToSchema)]
#[schema(as = MallSend)]
pub struct Send {
    /// `^1[3-9]\d{9}$`
    #[schema(rename = "phoneNumber", schema_with = loose)]
    pub phone_number: String,
    /// Of up to 64 characters
    #[schema(schema_with = loose)]
    pub purpose: String,
}

/// A code to be checked, as the body says it.
#[derive(Debug, ToSchema)]
#[schema(as = MallVerify)]
pub struct Verify {
    /// As it was given when the code was sent
    #[schema(rename = "phoneNumber", schema_with = loose)]
    pub phone_number: String,
    /// What the end user typed
    #[schema(schema_with = loose)]
    pub code: String,
    /// As it was given when the code was sent
    #[schema(schema_with = loose)]
    pub purpose: String,
}

/// Every answer's body.
#[derive(Debug, ToSchema)]
#[schema(as = MallAnswer)]
pub struct Answer {
    #[schema(schema_with = said)]
    pub code: u16,
    pub message: String,
    #[schema(schema_with = null)]
    pub data: (),
}

/// Every answer's body under `/sms`.
#[derive(Debug, ToSchema)]
#[schema(as = MallAnswerUnderSms)]
pub struct AnswerUnderSms {
    #[schema(schema_with = said)]
    pub code: u16,
    pub msg: String,
    #[schema(schema_with = null)]
    pub data: (),
}

fn said() -> Schema {
    codes(&[200, 400, 401, 403, 404, 405, 429, 500])
}

fn null() -> Schema {
    ObjectBuilder::new().schema_type(Type::Null).build().into()
}

/// What an answer means, the body's code, its text.
type Row = (&'static str, u16, &'static str);

const SENT: &[Row] = &[
    ("The code is on its way", 200, "验证码发送成功"),
    ("A field is missing or empty", 400, "参数不完整：purpose"),
    ("The number isn't `^1[3-9]\\d{9}$`, or none that is in use", 400, "手机号格式不正确"),
    ("No JSON object, too large, or a purpose over 64 characters", 400, "请求格式不正确"),
    ("A blocked phone or address; the token may not send", 403, "请求已被限制，请稍后再试"),
    ("This phone again too soon, or its code too often", 429, "发送过于频繁，请稍后再试"),
    ("Too many from this address", 429, "当前IP请求过于频繁，请稍后再试"),
    ("Too many of this account, for numbers like it, or in all", 429, "系统繁忙，请稍后再试"),
    ("It could not be queued", 500, "验证码发送失败"),
];
const VERIFIED: &[Row] = &[
    ("The code was right", 200, "验证码正确"),
    ("Anything else about a check", 500, "验证码错误或已过期"),
];
const HEALTHY: &[Row] = &[("It answers", 200, "SMS服务运行正常")];
const OTHER_METHOD: &[Row] = &[("Another method", 405, "请求方法不支持")];
const OTHER_PATH: &[Row] = &[("Another path under `/sms`", 404, "接口不存在")];
const UNAUTHORIZED: &[Row] = &[("No valid token", 401, "未授权，请提供有效的token")];

fn told(rows: &[Row]) -> Answers {
    let body = |code, text: &str| json!({"code": code, "message": text, "data": null});
    rows_of("MallAnswer", &[rows, UNAUTHORIZED, OTHER_METHOD], body)
}

fn told_under_sms(rows: &[&[Row]]) -> Answers {
    let body = |code, text: &str| json!({"code": code, "msg": text, "data": null});
    rows_of("MallAnswerUnderSms", &[&rows.concat(), OTHER_METHOD, OTHER_PATH], body)
}

/// HTTP tells apart no more than whether there is a valid token.
fn rows_of(schema: &'static str, rows: &[&[Row]], body: fn(u16, &str) -> Value) -> Answers {
    let row = |&(means, code, text): &Row| {
        let status = if code == 401 { 401 } else { 200 };
        (status, means, schema, body(code, text))
    };
    answers(rows.iter().copied().flatten().map(row).collect())
}

/// Of a send.
#[derive(Debug)]
pub struct Sent;

impl IntoResponses for Sent {
    fn responses() -> Answers {
        told(SENT)
    }
}

/// Of a check.
#[derive(Debug)]
pub struct Verified;

impl IntoResponses for Verified {
    fn responses() -> Answers {
        told(VERIFIED)
    }
}

/// Of a send under `/sms`.
#[derive(Debug)]
pub struct SentUnderSms;

impl IntoResponses for SentUnderSms {
    fn responses() -> Answers {
        told_under_sms(&[SENT, UNAUTHORIZED])
    }
}

/// Of a check under `/sms`.
#[derive(Debug)]
pub struct VerifiedUnderSms;

impl IntoResponses for VerifiedUnderSms {
    fn responses() -> Answers {
        told_under_sms(&[VERIFIED, UNAUTHORIZED])
    }
}

/// Of `/sms/health`.
#[derive(Debug)]
pub struct Healthy;

impl IntoResponses for Healthy {
    fn responses() -> Answers {
        told_under_sms(&[HEALTHY])
    }
}
