//! The dialect's bodies and answers, as the description shows them.

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{IntoResponses, ToSchema};

use super::super::description::{Answers, answers, codes, loose, looser};

/// A code to be sent, as the body says it.
#[derive(Debug, ToSchema)]
#[schema(as = FlaskSend)]
pub struct Send {
    /// E.164, or a national number of the operator's region
    #[schema(schema_with = loose)]
    pub phone: String,
    #[schema(schema_with = looser, required = false)]
    pub channel: String,
}

/// A code to be checked, as the body says it.
#[derive(Debug, ToSchema)]
#[schema(as = FlaskVerify)]
pub struct Verify {
    /// As it was given when the code was sent
    #[schema(schema_with = loose)]
    pub phone: String,
    #[schema(schema_with = looser, required = false)]
    pub channel: String,
    /// What the end user typed
    #[schema(schema_with = loose)]
    pub code: String,
}

/// A notice to be sent, as the body says it.
#[derive(Debug, ToSchema)]
#[schema(as = FlaskNotice)]
pub struct Notice {
    /// E.164, or a national number of the operator's region
    #[schema(schema_with = loose)]
    pub phone: String,
    #[schema(schema_with = looser, required = false)]
    pub channel: String,
    /// One of the operator's `[templates]`, or its code at the provider
    #[schema(schema_with = loose)]
    pub template_code: String,
    /// An object, or a text that holds one; its values are texts, numbers or truth values
    #[schema(schema_with = parameters, required = false)]
    pub template_param: String,
}

fn parameters() -> Schema {
    let types = SchemaType::Array(vec![Type::Object, Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).build().into()
}

/// Every answer's body.
#[derive(Debug, ToSchema)]
#[schema(as = FlaskAnswer)]
pub struct Answer {
    #[schema(schema_with = said)]
    pub code: u16,
    pub message: String,
    /// `{}`; with `[code] echo` the code
    #[schema(schema_with = data)]
    pub data: String,
}

fn said() -> Schema {
    codes(&[200, 400, 401, 402, 403, 405, 406])
}

fn data() -> Schema {
    let types = SchemaType::Array(vec![Type::Object, Type::String]);
    ObjectBuilder::new().schema_type(types).max_properties(Some(0)).build().into()
}

/// What an answer means, the body's code, its text.
type Row = (&'static str, u16, &'static str);

const SENT: &[Row] = &[
    ("The code is on its way", 200, "请求成功!"),
    ("One in the last minute", 401, "短信1分钟之内已经发送过,请稍后再试"),
    (
        "Five in the last hour, of this channel or of all",
        402,
        "短信1小时之内已经发送过5条,超出上限,请稍后再试",
    ),
    (
        "Ten in the last day, of this channel or of all",
        403,
        "短信1天之内已经发送过10条,超出上限,请稍后再试",
    ),
    ("Anything else", 400, "短信发送失败"),
];
const VERIFIED: &[Row] = &[
    ("The code was right", 200, "验证成功"),
    ("It is too late", 401, "验证码已过期"),
    ("It was used before", 401, "验证码已被验证过了,请勿重复使用"),
    ("Wrong, or refused by a limit, a ban or spent attempts", 405, "验证码错误"),
    ("Never sent, or no phone number at all", 406, "该手机未发送过验证码"),
    ("A field is missing", 400, "参数不完整：code"),
    ("No JSON object, or too large", 400, "请求格式不正确"),
    ("We can't tell now", 400, "验证失败，请稍后再试"),
];
const NOTICED: &[Row] =
    &[("The notice is on its way", 200, "请求成功!"), ("Anything else", 400, "短信发送失败")];
const ELSEWHERE: &[Row] = &[
    ("Another method", 400, "请求方法不支持"),
    ("Another path under `/sms_message`", 400, "接口不存在"),
];
const UNAUTHORIZED: Row = ("No valid token", 401, "未授权，请提供有效的token");

fn told(rows: &[Row]) -> Answers {
    let row = |status, &(means, code, text): &Row| {
        (status, means, "FlaskAnswer", json!({"code": code, "message": text, "data": {}}))
    };
    let handled = rows.iter().chain(ELSEWHERE).map(|handled| row(200, handled));
    answers(handled.chain([row(401, &UNAUTHORIZED)]).collect())
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

/// Of a notice.
#[derive(Debug)]
pub struct Noticed;

impl IntoResponses for Noticed {
    fn responses() -> Answers {
        told(NOTICED)
    }
}
