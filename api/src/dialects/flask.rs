//! The dialect of an Aliyun SMS service in Flask: HTTP 200 for everything but a missing token, with a code in the body.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use postrider_common::config::{self, Anonymous, Dialect, Settings, Template};
use postrider_common::model::limits::Scope;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::model::template::Params;
use postrider_common::store::{SettleAnswer, Which, verification_subject};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization as _;

use super::{Known, Profile, fits, missing};
use crate::auth::caller::{Sends, Verifies};
use crate::http::body::{Body, Fields};
use crate::http::client_ip::ClientIp;
use crate::http::problem::{Code, Problem};
use crate::http::rate_limit_headers::Policy;
use crate::http::trace::Trace;
use crate::messages::check::{self, CodeToCheck};
use crate::messages::limit_subject::Kind;
use crate::messages::send::{self, CodeToSend, NoticeToSend, Origin};
use crate::routes::notices::check_params;
use crate::server::state::{App, AppState};

pub mod described;
#[cfg(test)]
mod tests;

/// The longest channel and template code, in characters: as much as the tables take.
const LONGEST_CHANNEL: usize = 255;
const LONGEST_TEMPLATE: usize = 128;

const SEND: &str = "/sms_message/getVerificationCode";
const VERIFY: &str = "/sms_message/verify_code";
const NOTICE: &str = "/sms_message/sendNotice";

type Caller<P> = Known<config::Flask, P>;

impl Profile for config::Flask {
    fn anonymous(settings: &Settings) -> Option<&Anonymous> {
        settings.dialects.flask.anonymous.as_ref()
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new().route(SEND, post(send)).route(VERIFY, post(verify)).route(NOTICE, post(notice))
}

fn answer(code: u16, message: &str, data: &Value) -> Json<Value> {
    Json(json!({"code": code, "message": message, "data": data}))
}

/// Send a code
///
/// As the Flask service's clients ask for one.
#[utoipa::path(
    post, path = "/sms_message/getVerificationCode", tag = "flask", operation_id = "flask_send",
    security(("bearer" = ["send"]), ()),
    request_body(content = described::Send, example = json!({"phone": "13800138000", "channel": "app"})),
    responses(described::Sent), extensions(("x-dialect" = json!("flask"))),
)]
pub(super) async fn send(
    State(app): State<AppState>,
    Known(mut caller, _): Caller<Sends>,
    peer: ClientIp,
    Trace(trace): Trace,
    Body { mut fields, .. }: Body,
) -> Result<Json<Value>, Problem> {
    let (owner, ip) = (caller.owner(), peer.of_forwarded_user(caller.on_behalf()));
    let mut read = || Ok((purpose_of(&mut fields)?, app.phone(&needed(&mut fields, "phone")?)?));
    let (purpose, phone) =
        read().inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Code, owner, ip))?;
    let limits = app.settings.code_limits(&purpose);
    let rules = app.settings.code_rules(&purpose).unwrap_or_else(|| app.settings.code.clone());
    let origin = Origin { ip, idempotency: None, trace };
    let asked = CodeToSend { phone, purpose, rules, limits };
    let (accepted, _) = send::code(&app, &mut caller, asked, origin).await?;
    let code = send::echo(&app, caller.owner(), &accepted);
    Ok(answer(200, "请求成功!", &code.map_or_else(|| json!({}), Value::String)))
}

/// Check a code
///
/// As the Flask service's clients ask about one.
#[utoipa::path(
    post, path = "/sms_message/verify_code", tag = "flask", operation_id = "flask_verify",
    security(("bearer" = ["verify"]), ()),
    request_body(content = described::Verify, example = json!(
        {"phone": "13800138000", "channel": "app", "code": "4829"}
    )),
    responses(described::Verified), extensions(("x-dialect" = json!("flask"))),
)]
pub(super) async fn verify(
    State(app): State<AppState>,
    Known(mut caller, _): Caller<Verifies>,
    peer: ClientIp,
    Body { mut fields, .. }: Body,
) -> Result<Json<Value>, Problem> {
    let (owner, ip) = (caller.owner(), peer.of_forwarded_user(caller.on_behalf()));
    let mut read = || {
        let (phone, code) = (needed(&mut fields, "phone")?, needed(&mut fields, "code")?);
        Ok((purpose_of(&mut fields)?, app.phone(&phone)?, code))
    };
    let (purpose, phone, code) =
        read().inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Check, owner, ip))?;
    let asked = CodeToCheck {
        which: Which::Subject(verification_subject(owner, &purpose, &phone)),
        phone: Some(phone),
        purpose,
        code,
        ip,
        idempotency: None,
    };
    let (code, message) = match check::check(&app, &mut caller, asked).await?.0 {
        SettleAnswer::Approved { .. } => (200, "验证成功"),
        SettleAnswer::NotSent { .. } => NOT_SENT,
        SettleAnswer::Expired { .. } => (401, "验证码已过期"),
        SettleAnswer::Used { .. } => (401, "验证码已被验证过了,请勿重复使用"),
        _ => WRONG,
    };
    Ok(answer(code, message, &json!({})))
}

/// Send a notice
///
/// As the Flask service's clients ask for one.
#[utoipa::path(
    post, path = "/sms_message/sendNotice", tag = "flask", operation_id = "flask_notice",
    security(("bearer" = ["send"]), ()),
    request_body(content = described::Notice, example = json!({
        "phone": "13800138000", "channel": "app", "template_code": "order_shipped",
        "template_param": {"order": "A-1042"}
    })),
    responses(described::Noticed), extensions(("x-dialect" = json!("flask"))),
)]
pub(super) async fn notice(
    State(app): State<AppState>,
    Known(mut caller, _): Caller<Sends>,
    peer: ClientIp,
    Trace(trace): Trace,
    Body { raw, mut fields }: Body,
) -> Result<Json<Value>, Problem> {
    let (owner, ip) = (caller.owner(), peer.of_forwarded_user(caller.on_behalf()));
    let (notice, phone) = read_notice(&app, &mut fields, &raw)
        .inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Notice, owner, ip))?;
    let origin = Origin { ip, idempotency: None, trace };
    send::notice(&app, &mut caller, &notice, &phone, origin).await?;
    Ok(answer(200, "请求成功!", &json!({})))
}

fn read_notice(
    app: &App,
    fields: &mut Fields,
    body: &[u8],
) -> Result<(NoticeToSend, PhoneNumber), Problem> {
    let purpose = purpose_of(fields)?;
    let template = needed(fields, "template_code")?;
    let invalid = || Problem::new(Code::ParamsInvalid);
    let params = params_of(member(body, "template_param")).ok_or_else(invalid)?;
    let phone = app.phone(&needed(fields, "phone")?)?;
    let (template, raw_template) = template_of(app, template, &params)?;
    Ok((NoticeToSend { purpose, template, raw_template, params }, phone))
}

fn needed(fields: &mut Fields, field: &str) -> Result<String, Problem> {
    fields.loose(field).filter(|text| !text.is_empty()).ok_or_else(|| missing(field))
}

/// No channel of this dialect is a purpose of v1's, whose codes have other rules. What looks the same is one channel.
fn purpose_of(fields: &mut Fields) -> Result<String, Problem> {
    let refused = |why, detail| Problem::field(Code::PurposeInvalid, "channel", why, detail);
    let channel = match fields.take("channel") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.trim().nfc().collect(),
        Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
        Some(_) => return Err(refused("type", "is a text or a whole number")),
    };
    fits(&channel, LONGEST_CHANNEL)
        .then(|| format!("{}{channel}", Dialect::Flask.prefix()))
        .ok_or_else(|| refused("length", "is too long, or has a control character"))
}

/// A member of a body as it is written there.
fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a RawValue> {
    serde_json::from_slice::<BTreeMap<String, &RawValue>>(body).ok()?.remove(name)
}

/// An object, or a text that holds one; each value a text, or what is written as one: a number keeps its digits.
fn params_of(given: Option<&RawValue>) -> Option<Params> {
    let written = given.map_or("null", RawValue::get);
    let text: Option<String> = serde_json::from_str(written).unwrap_or_default();
    let object = text.as_deref().unwrap_or(written);
    if written == "null" || object.is_empty() {
        return Some(Params::new());
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object).ok()?;
    members.into_iter().map(|(name, value)| Some((name, param(value.get())?))).collect()
}

fn param(written: &str) -> Option<String> {
    match written.as_bytes().first()? {
        b'"' => serde_json::from_str(written).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(written.to_owned()),
    }
}

/// The template's name: as it is given, or that of the one with this code at the provider. Any other code goes to
/// the provider as it is, where the operator allows it. No notice has a template of codes.
fn template_of(app: &App, given: String, params: &Params) -> Result<(String, bool), Problem> {
    let templates = &app.settings.templates;
    if app.settings.is_template_of_codes(&given) {
        return Err(Problem::new(Code::TemplateUnknown));
    }
    let by_code = || templates.iter().find(|(_, t)| t.aliyun.as_deref() == Some(given.as_str()));
    if let Some((name, template)) = templates.get_key_value(&given).or_else(by_code) {
        check_params(template, params)?;
        return Ok((name.clone(), false));
    }
    if app.settings.dialects.flask.allow_raw_templates && fits(&given, LONGEST_TEMPLATE) {
        check_params(&Template::default(), params)?;
        return Ok((given, true));
    }
    Err(Problem::new(Code::TemplateUnknown))
}

const NOT_SENT: (u16, &str) = (406, "该手机未发送过验证码");
const WRONG: (u16, &str) = (405, "验证码错误");

pub(super) fn say(path: &str, problem: &Problem) -> Response {
    let told = |code, message: &str| answer(code, message, &json!({})).into_response();
    match (problem.code, path) {
        (Code::TokenMissing | Code::TokenInvalid | Code::TokenExpired, _) => {
            let body = answer(401, "未授权，请提供有效的token", &json!({}));
            (StatusCode::UNAUTHORIZED, body).into_response()
        }
        (Code::NotFound, _) => told(400, "接口不存在"),
        (Code::MethodNotAllowed, _) => told(400, "请求方法不支持"),
        (_, VERIFY) => match (problem.code, problem.wrong_field()) {
            (Code::PhoneInvalid, _) => told(NOT_SENT.0, NOT_SENT.1),
            (Code::FieldsInvalid, Some((field, _))) => told(400, &format!("参数不完整：{field}")),
            (code, _) if code.status().is_server_error() => told(400, "验证失败，请稍后再试"),
            (Code::ScopeMissing | Code::AddressNotAllowed, _) => told(WRONG.0, WRONG.1),
            _ => told(400, "请求格式不正确"),
        },
        (Code::PhoneLimited, SEND) => {
            let (code, message) = too_often(problem).unwrap_or(FAILED);
            told(code, message)
        }
        _ => told(FAILED.0, FAILED.1),
    }
}

const FAILED: (u16, &str) = (400, "短信发送失败");

/// Which of this system's windows was used up: the numbers in its texts are its own.
fn too_often(problem: &Problem) -> Option<(u16, &'static str)> {
    let Policy { scope, limit, .. } = problem.limit()?;
    let said = match limit.window.as_secs() {
        ..=60 => (401, "短信1分钟之内已经发送过,请稍后再试"),
        61..=3600 => (402, "短信1小时之内已经发送过5条,超出上限,请稍后再试"),
        _ => (403, "短信1天之内已经发送过10条,超出上限,请稍后再试"),
    };
    matches!(scope, Scope::Phone | Scope::PhonePurpose).then_some(said)
}
