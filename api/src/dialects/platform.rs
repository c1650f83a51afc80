//! The dialect of a phone-number and code service, as far as accounts go: parameters in a query, a form or JSON, the token
//! among them; HTTP statuses, and `success` in the body.

pub mod described;
mod parameters;
#[cfg(test)]
mod tests;
mod yuan;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use postrider_common::config::{self, Anonymous, Settings};
use postrider_common::database::account::Account;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use self::parameters::Parameters;
use super::{Profile, missing};
use crate::auth::caller::{LoggedIn, Reads};
use crate::auth::registration::{NewAccount, Typed, register};
use crate::http::client_ip::ClientIp;
use crate::http::problem::{Code, Problem};
use crate::routes::credits::credit;
use crate::routes::password_change::{Who, change_password};
use crate::routes::sessions::{log_in, session};
use crate::server::state::AppState;

impl Profile for config::Platform {
    fn anonymous(settings: &Settings) -> Option<&Anonymous> {
        settings.dialects.platform.anonymous.as_ref()
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/register", get(sign_up).post(sign_up))
        .route("/api/login", get(sign_in).post(sign_in))
        .route("/api/balance", get(balance).post(balance))
        .route("/api/recharge", get(recharge).post(recharge))
        .route("/api/change_password", get(new_password).post(new_password))
        .route("/api/test", get(hello).post(hello))
        .route("/api", get(hello_at_root).post(hello_at_root))
        .route("/api/", get(hello_at_slash).post(hello_at_slash))
        .layer(middleware::map_response(not_kept))
}

/// A GET whose answer holds a token must be in nobody's cache.
async fn not_kept(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An account, and a token of it.
#[derive(Serialize, ToSchema)]
#[schema(as = PlatformUser)]
pub(super) struct LoggedInAs {
    success: bool,
    message: &'static str,
    user: User,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PlatformAccount)]
struct User {
    id: i64,
    username: String,
    #[schema(required)]
    email: Option<String>,
    #[schema(value_type = f64)]
    balance: Box<RawValue>,
    token: String,
}

impl LoggedInAs {
    fn new(message: &'static str, account: Account, token: String) -> Self {
        let Account { id, username, email, .. } = account;
        let balance = yuan::from_minor_units(account.balance);
        Self { success: true, message, user: User { id, username, email, balance, token } }
    }
}

/// An account and its balance.
#[derive(Serialize, ToSchema)]
#[schema(as = PlatformBalance)]
pub(super) struct Held {
    success: bool,
    message: &'static str,
    username: String,
    /// In yuan
    #[schema(value_type = f64)]
    balance: Box<RawValue>,
}

/// Register
#[utoipa::path(
    get, path = "/api/register", tag = "platform", operation_id = "platform_register", params(described::SignUp),
    responses(described::SignedUp), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn sign_up(
    State(app): State<AppState>,
    peer: ClientIp,
    mut given: Parameters,
) -> Result<(StatusCode, Json<LoggedInAs>), Problem> {
    let (username, password) = (given.needed("username")?, given.needed("password")?);
    let (email, security) = (given.needed("email")?, given.needed("security_question")?);
    let (question, answer) = question_and_answer(&security)?;
    let new = NewAccount::read(Typed {
        username,
        password: password.into(),
        email,
        security_question: question.to_owned(),
        security_answer: answer.into(),
    })?;
    let account = register(&app, new, peer.address()).await?;
    let at = app.now().await?;
    let (account, token, _) = session(&app, account, at)?;
    Ok((StatusCode::CREATED, Json(LoggedInAs::new("用户注册成功", account, token))))
}

/// `question? answer`, in one parameter; the mark stays with the question.
fn question_and_answer(text: &str) -> Result<(&str, &str), Problem> {
    let mark = text.char_indices().find(|(_, c)| matches!(c, '?' | '？'));
    let (at, mark) = mark.ok_or_else(|| {
        Problem::field(Code::FieldsInvalid, "security_question", "format", "is `question? answer`")
    })?;
    Ok(text.split_at(at + mark.len_utf8()))
}

/// Log in
#[utoipa::path(
    get, path = "/api/login", tag = "platform", operation_id = "platform_login", params(described::SignIn),
    responses(described::SignedIn), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn sign_in(
    State(app): State<AppState>,
    peer: ClientIp,
    mut given: Parameters,
) -> Result<Json<LoggedInAs>, Problem> {
    let (username, password) = (given.needed("username")?, given.needed("password")?);
    let (account, token, _) = log_in(&app, &username, password.into(), peer.address()).await?;
    Ok(Json(LoggedInAs::new("登录成功", account, token)))
}

/// Show the balance
#[utoipa::path(
    get, path = "/api/balance", tag = "platform", operation_id = "platform_balance", params(described::Balance),
    security(("bearer" = ["read"]), ()),
    responses(described::Shown), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn balance(
    State(app): State<AppState>,
    peer: ClientIp,
    mut given: Parameters,
) -> Result<Json<Held>, Problem> {
    let caller = given.caller::<Reads>(&app, peer).await?;
    let gone = || Problem::new(Code::TokenInvalid);
    let account = app.database.account(caller.account_id()).await?.ok_or_else(gone)?;
    Ok(Json(Held {
        success: true,
        message: "余额查询成功",
        username: account.username,
        balance: yuan::from_minor_units(account.balance),
    }))
}

/// Credit the account
///
/// An admin's own; anybody's own where `[dialects.platform] self_recharge` says so. It takes the token of a log-in.
#[utoipa::path(
    get, path = "/api/recharge", tag = "platform", operation_id = "platform_recharge", params(described::Recharge),
    security(("bearer" = [])),
    responses(described::Recharged), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn recharge(
    State(app): State<AppState>,
    peer: ClientIp,
    mut given: Parameters,
) -> Result<Json<Held>, Problem> {
    let caller = given.caller::<LoggedIn>(&app, peer).await?;
    let amount = given.needed("amount")?;
    let by_themselves = app.settings.dialects.platform.self_recharge == Some(true);
    if !by_themselves && !caller.is_admin() {
        return Err(Problem::new(Code::ScopeMissing));
    }
    let amount = yuan::to_minor_units(&amount)?;
    let username = caller.account().username.clone();
    let entry = credit(&app, caller.account_id(), amount, "recharge", &username, None).await?;
    Ok(Json(Held {
        success: true,
        message: "充值成功",
        username,
        balance: yuan::from_minor_units(entry.balance),
    }))
}

/// Change a password
#[utoipa::path(
    get, path = "/api/change_password", tag = "platform", operation_id = "platform_change_password",
    params(described::NewPassword),
    responses(described::Changed), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn new_password(
    State(app): State<AppState>,
    peer: ClientIp,
    mut given: Parameters,
) -> Result<Json<Value>, Problem> {
    let username = given.needed("username")?;
    let (old, new) = (given.needed("old_password")?, given.needed("new_password")?);
    let answer = given.needed("security_answer")?;
    change_password(&app, Who::Named(&username), old.into(), new.into(), &answer, peer.address())
        .await?;
    Ok(Json(json!({"success": true, "message": "密码修改成功，请重新登录获取新token"})))
}

/// Does it answer?
#[utoipa::path(
    get, path = "/api/test", tag = "platform", operation_id = "platform_test",
    responses(described::Greeted), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn hello() -> Json<Value> {
    Json(json!({"message": "API 连接成功"}))
}

/// Does it answer, at `/api`?
#[utoipa::path(
    get, path = "/api", tag = "platform", operation_id = "platform_root",
    responses(described::Greeted), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn hello_at_root() -> Json<Value> {
    hello().await
}

/// Does it answer, at `/api/`?
#[utoipa::path(
    get, path = "/api/", tag = "platform", operation_id = "platform_slash",
    responses(described::Greeted), extensions(("x-dialect" = json!("platform"))),
)]
pub(super) async fn hello_at_slash() -> Json<Value> {
    hello().await
}

pub(super) fn say(_path: &str, problem: &Problem) -> Response {
    let status = problem.code.status();
    let (status, message) = match problem.code {
        Code::TokenMissing => return say("", &missing("token")),
        Code::TokenInvalid => (status, "无效的token，请重新登录"),
        Code::TokenExpired => (status, "token已过期，请重新登录"),
        Code::CredentialsInvalid => (status, "用户名或密码错误"),
        Code::PasswordWrong => (StatusCode::UNAUTHORIZED, "用户名或旧密码错误"),
        Code::SecurityAnswerWrong => (StatusCode::BAD_REQUEST, "密保问题答案不正确"),
        Code::UsernameTaken => (StatusCode::BAD_REQUEST, "用户名已存在"),
        Code::EmailTaken => (StatusCode::BAD_REQUEST, "邮箱已存在"),
        Code::BalanceTooHigh => (StatusCode::BAD_REQUEST, "余额超出上限"),
        Code::RegistrationClosed => (status, "注册已关闭"),
        Code::ScopeMissing | Code::SessionNeeded | Code::AddressNotAllowed => (status, "没有权限"),
        Code::LoginLimited => (status, "失败次数过多，请稍后再试"),
        Code::IpLimited => (status, "请求过于频繁，请稍后再试"),
        Code::NotFound => (status, "接口不存在"),
        Code::MethodNotAllowed => (status, "请求方法不支持"),
        Code::FieldsInvalid => return answer(StatusCode::BAD_REQUEST, &wrong(problem)),
        Code::Overloaded => (status, "系统繁忙，请稍后再试"),
        _ if status.is_server_error() => (status, "服务暂时不可用，请稍后再试"),
        _ => (status, "请求格式不正确"),
    };
    answer(status, message)
}

fn answer(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"success": false, "message": message}))).into_response()
}

fn wrong(problem: &Problem) -> String {
    let message = match problem.wrong_field() {
        Some((field, "missing")) => return format!("缺少必要的参数：{field}"),
        Some(("amount", "range")) => "充值金额必须大于0",
        Some(("amount", _)) => "充值金额必须是有效的数字",
        Some(("username", _)) => "用户名格式不正确",
        Some(("password" | "new_password", _)) => "密码至少8个字符，最多256字节",
        Some(("email", _)) => "邮箱格式不正确",
        Some(("security_question" | "security_answer", _)) => "密保问题格式应为：问题? 答案",
        _ => "请求格式不正确",
    };
    message.to_owned()
}
