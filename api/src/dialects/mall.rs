//! The dialect of a Spring Cloud shop's SMS service: HTTP 200 for whatever was handled, with a code in the body; under
//! `/sms` the text is in `msg` in place of `message`.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use postrider_common::config::{self, Anonymous, Dialect, Settings};
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{Which, verification_subject};
use serde::Serialize;

use super::{Known, Profile, fits, missing};
use crate::auth::caller::{Sends, Verifies};
use crate::http::body::{Body, Fields};
use crate::http::client_ip::ClientIp;
use crate::http::problem::{Code, Problem};
use crate::http::trace::Trace;
use crate::messages::check::{self, CodeToCheck};
use crate::messages::limit_subject::Kind;
use crate::messages::send::{self, CodeToSend, Origin};
use crate::routes::verifications::is_purpose;
use crate::server::state::{App, AppState};

pub mod described;
#[cfg(test)]
mod tests;

/// The longest purpose, in characters.
const LONGEST_PURPOSE: usize = 64;

type Caller<P> = Known<config::Mall, P>;

impl Profile for config::Mall {
    fn anonymous(settings: &Settings) -> Option<&Anonymous> {
        settings.dialects.mall.anonymous.as_ref()
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/send", post(send))
        .route("/verify", post(verify))
        .route("/sms/send", post(send_under_sms))
        .route("/sms/verify", post(verify_under_sms))
        .route("/sms/health", get(health))
}

/// Every answer's body.
#[derive(Debug, Serialize)]
struct Answer {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<Cow<'static, str>>,
    data: (),
}

fn answer(path: &str, code: u16, text: impl Into<Cow<'static, str>>) -> Json<Answer> {
    let text = Some(text.into());
    let (message, msg) = if under_sms(path) { (None, text) } else { (text, None) };
    Json(Answer { code, message, msg, data: () })
}

fn under_sms(path: &str) -> bool {
    path == "/sms" || path.starts_with("/sms/")
}

/// Send a code
///
/// As the shop's clients ask for one.
#[utoipa::path(
    post, path = "/send", tag = "mall", operation_id = "mall_send", security(("bearer" = ["send"]), ()),
    request_body(content = described::Send, example = json!({"phoneNumber": "13800138000", "purpose": "register"})),
    responses(described::Sent), extensions(("x-dialect" = json!("mall"))),
)]
pub(super) async fn send(
    State(app): State<AppState>,
    Known(mut caller, _): Caller<Sends>,
    peer: ClientIp,
    Trace(trace): Trace,
    uri: Uri,
    Body { mut fields, .. }: Body,
) -> Result<Response, Problem> {
    let (owner, ip) = (caller.owner(), peer.of_forwarded_user(caller.on_behalf()));
    let Asked { phone, purpose } = Asked::read(&app, &mut fields)
        .inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Code, owner, ip))?;
    // This system took any purpose.
    let rules = app.settings.code_rules(&purpose).unwrap_or_else(|| app.settings.code.clone());
    let limits = app.settings.code_limits(&purpose);
    let origin = Origin { ip, idempotency: None, trace };
    let asked = CodeToSend { phone, purpose, rules, limits };
    send::code(&app, &mut caller, asked, origin).await?;
    Ok(answer(uri.path(), 200, "验证码发送成功").into_response())
}

/// Send a code, under `/sms`
///
/// As `/send`, but that the text is in `msg`.
#[utoipa::path(
    post, path = "/sms/send", tag = "mall", operation_id = "mall_sms_send", security(("bearer" = ["send"]), ()),
    request_body(content = described::Send, example = json!({"phoneNumber": "13800138000", "purpose": "register"})),
    responses(described::SentUnderSms), extensions(("x-dialect" = json!("mall"))),
)]
pub(super) async fn send_under_sms(
    app: State<AppState>,
    caller: Caller<Sends>,
    peer: ClientIp,
    trace: Trace,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    send(app, caller, peer, trace, uri, body).await
}

/// Check a code
///
/// As the shop's clients ask about one. A right code can't be used again.
#[utoipa::path(
    post, path = "/verify", tag = "mall", operation_id = "mall_verify", security(("bearer" = ["verify"]), ()),
    request_body(content = described::Verify, example = json!(
        {"phoneNumber": "13800138000", "purpose": "register", "code": "482915"}
    )),
    responses(described::Verified), extensions(("x-dialect" = json!("mall"))),
)]
pub(super) async fn verify(
    State(app): State<AppState>,
    Known(mut caller, _): Caller<Verifies>,
    peer: ClientIp,
    uri: Uri,
    Body { mut fields, .. }: Body,
) -> Result<Response, Problem> {
    let (owner, ip) = (caller.owner(), peer.of_forwarded_user(caller.on_behalf()));
    let code = fields.loose("code").ok_or_else(|| missing("code"));
    let read = code.and_then(|code| Ok((code, Asked::read(&app, &mut fields)?)));
    let (code, Asked { phone, purpose }) =
        read.inspect_err(|wrong| app.refusals.note_unread(wrong, Kind::Check, owner, ip))?;
    let asked = CodeToCheck {
        which: Which::Subject(verification_subject(caller.owner(), &purpose, &phone)),
        phone: Some(phone),
        purpose,
        code,
        ip: peer.of_forwarded_user(caller.on_behalf()),
        idempotency: None,
    };
    let (verdict, limits) = check::check(&app, &mut caller, asked).await?;
    check::settled(verdict, &limits)?;
    Ok(answer(uri.path(), 200, "验证码正确").into_response())
}

/// Check a code, under `/sms`
///
/// As `/verify`, but that the text is in `msg`.
#[utoipa::path(
    post, path = "/sms/verify", tag = "mall", operation_id = "mall_sms_verify", security(("bearer" = ["verify"]), ()),
    request_body(content = described::Verify, example = json!(
        {"phoneNumber": "13800138000", "purpose": "register", "code": "482915"}
    )),
    responses(described::VerifiedUnderSms), extensions(("x-dialect" = json!("mall"))),
)]
pub(super) async fn verify_under_sms(
    app: State<AppState>,
    caller: Caller<Verifies>,
    peer: ClientIp,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    verify(app, caller, peer, uri, body).await
}

/// Alive, as the shop's clients ask?
///
/// Says no more than that the API answers.
#[utoipa::path(
    get, path = "/sms/health", tag = "mall", operation_id = "mall_health",
    responses(described::Healthy), extensions(("x-dialect" = json!("mall"))),
)]
pub(super) async fn health(uri: Uri) -> Response {
    answer(uri.path(), 200, "SMS服务运行正常").into_response()
}

/// What both requests say.
struct Asked {
    phone: PhoneNumber,
    purpose: String,
}

impl Asked {
    fn read(app: &App, fields: &mut Fields) -> Result<Self, Problem> {
        let mut text = |field| {
            let given = fields.loose(field).filter(|text| !text.trim().is_empty());
            given.ok_or_else(|| missing(field))
        };
        let phone = text("phoneNumber")?;
        let purpose = purpose_of(&text("purpose")?)?;
        Ok(Self { phone: phone_of(app, &phone)?, purpose })
    }
}

/// One that v1 takes too is the same there; any other stands apart.
fn purpose_of(text: &str) -> Result<String, Problem> {
    if !fits(text, LONGEST_PURPOSE) {
        let detail = "has at most 64 characters, and no control character";
        return Err(Problem::field(Code::PurposeInvalid, "purpose", "format", detail));
    }
    Ok(if is_purpose(text) { text.to_owned() } else { format!("{}{text}", Dialect::Mall.prefix()) })
}

/// `^1[3-9]\d{9}$`, whatever the region of numbers is elsewhere.
fn phone_of(app: &App, text: &str) -> Result<PhoneNumber, Problem> {
    let digits = text.as_bytes();
    let shaped = digits.len() == 11
        && digits[0] == b'1'
        && (b'3'..=b'9').contains(&digits[1])
        && digits.iter().all(u8::is_ascii_digit);
    if !shaped {
        let detail = "is ^1[3-9]\\d{9}$";
        return Err(Problem::field(Code::PhoneInvalid, "phoneNumber", "format", detail));
    }
    app.phone(&format!("+86{text}"))
}

/// A failed check never says why: whoever guesses must not learn from it.
pub(super) fn say(path: &str, problem: &Problem) -> Response {
    let checks = matches!(path, "/verify" | "/sms/verify");
    let (code, text) = match problem.code {
        Code::TokenMissing | Code::TokenInvalid | Code::TokenExpired => {
            let body = answer(path, 401, "未授权，请提供有效的token");
            return (StatusCode::UNAUTHORIZED, body).into_response();
        }
        Code::NotFound => (404, Cow::from("接口不存在")),
        Code::MethodNotAllowed => (405, "请求方法不支持".into()),
        _ if checks => (500, "验证码错误或已过期".into()),
        Code::PhoneInvalid => (400, "手机号格式不正确".into()),
        Code::FieldsInvalid => match problem.wrong_field() {
            Some((field, _)) => (400, format!("参数不完整：{field}").into()),
            None => (400, "请求格式不正确".into()),
        },
        Code::RequestMalformed
        | Code::PurposeInvalid
        | Code::BodyMalformed
        | Code::BodyTimeout
        | Code::BodyTooLarge
        | Code::ContentTypeUnsupported => (400, "请求格式不正确".into()),
        Code::PhoneLimited | Code::MaxSendsReached => (429, "发送过于频繁，请稍后再试".into()),
        Code::IpLimited => (429, "当前IP请求过于频繁，请稍后再试".into()),
        Code::AccountLimited | Code::PrefixLimited | Code::GlobalLimited | Code::Overloaded => {
            (429, "系统繁忙，请稍后再试".into())
        }
        Code::PhoneBlocked
        | Code::IpBlocked
        | Code::ScopeMissing
        | Code::AddressNotAllowed
        | Code::SendingNotAllowed => (403, "请求已被限制，请稍后再试".into()),
        _ => (500, "验证码发送失败".into()),
    };
    answer(path, code, text).into_response()
}
