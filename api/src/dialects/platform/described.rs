//! The dialect's parameters and answers, as the description shows them.

use serde_json::{Value, json};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::super::description::{Answers, Row, answers};

/// Who registers.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignUp {
    #[param(example = "shop")]
    pub username: String,
    #[param(example = "correct horse battery")]
    pub password: String,
    #[param(example = "shop@example.com")]
    pub email: String,
    /// Question and answer, parted by the first `?` or `？`
    #[param(example = "First pet? Rex")]
    pub security_question: String,
}

/// Who logs in.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignIn {
    #[param(example = "shop")]
    pub username: String,
    #[param(example = "correct horse battery")]
    pub password: String,
}

/// Who asks for its balance.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Balance {
    /// Unless it is in the header
    #[param(example = "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln", required = false)]
    pub token: String,
}

/// Whom to credit with how much.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Recharge {
    /// Unless it is in the header
    #[param(example = "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln", required = false)]
    pub token: String,
    /// In yuan, with two decimals at most
    #[param(example = "12.34")]
    pub amount: String,
}

/// Whose password to change.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NewPassword {
    #[param(example = "shop")]
    pub username: String,
    #[param(example = "correct horse battery")]
    pub old_password: String,
    #[param(example = "staple of another")]
    pub new_password: String,
    #[param(example = "Rex")]
    pub security_answer: String,
}

/// Why it wasn't done.
#[derive(Debug, ToSchema)]
#[schema(as = PlatformRefusal)]
pub struct Refusal {
    /// `false`
    pub success: bool,
    pub message: String,
}

/// It was done.
#[derive(Debug, ToSchema)]
#[schema(as = PlatformDone)]
pub struct Done {
    /// `true`
    pub success: bool,
    pub message: String,
}

/// It answers.
#[derive(Debug, ToSchema)]
#[schema(as = PlatformHello)]
pub struct Hello {
    pub message: String,
}

/// The status, what it means, the text.
type Refused = (u16, &'static str, &'static str);

const OF_ANY: &[Refused] = &[
    (400, "A parameter is missing or empty", "缺少必要的参数：username"),
    (400, "No JSON, or a request that can't be read", "请求格式不正确"),
    (404, "Another path under `/api`", "接口不存在"),
    (405, "Another method", "请求方法不支持"),
    (408, "The body arrived too slowly", "请求格式不正确"),
    (413, "Too large", "请求格式不正确"),
    (415, "Neither JSON nor a form", "请求格式不正确"),
    (500, "Something of ours is broken", "服务暂时不可用，请稍后再试"),
    (503, "Something of ours is down", "服务暂时不可用，请稍后再试"),
    (503, "Too much to do", "系统繁忙，请稍后再试"),
];
const OF_A_TOKEN: &[Refused] = &[
    (401, "The token is wrong, or dead", "无效的token，请重新登录"),
    (401, "The token is too old", "token已过期，请重新登录"),
    (403, "Who may not", "没有权限"),
];
const OF_A_NEW_ACCOUNT: &[Refused] = &[
    (400, "A user name that can't be", "用户名格式不正确"),
    (400, "A password that can't be", "密码至少8个字符，最多256字节"),
    (400, "An e-mail address that can't be", "邮箱格式不正确"),
    (400, "No question with an answer", "密保问题格式应为：问题? 答案"),
    (400, "The name is another's", "用户名已存在"),
    (400, "The address is another's", "邮箱已存在"),
    (403, "Registration is closed", "注册已关闭"),
    (429, "Too many registrations", "请求过于频繁，请稍后再试"),
];
const OF_A_LOG_IN: &[Refused] = &[
    (401, "User name or password is wrong", "用户名或密码错误"),
    (429, "Too many failures", "失败次数过多，请稍后再试"),
];
const OF_MONEY: &[Refused] = &[
    (400, "No number with at most two decimals", "充值金额必须是有效的数字"),
    (400, "Zero or less", "充值金额必须大于0"),
    (400, "More than a balance may be", "余额超出上限"),
];
const OF_A_NEW_PASSWORD: &[Refused] = &[
    (400, "A password that can't be", "密码至少8个字符，最多256字节"),
    (400, "The answer is wrong", "密保问题答案不正确"),
    (401, "User name or old password is wrong", "用户名或旧密码错误"),
    (429, "Too many failures", "失败次数过多，请稍后再试"),
];

/// One success, and whatever else there may be. What fails too often is told what is left of its limit.
fn told(done: Row, refusals: &[&[Refused]]) -> Answers {
    let refused = |&(status, means, text): &Refused| {
        let body = json!({"success": false, "message": text});
        (status, means, "PlatformRefusal", body)
    };
    let refused = refusals.iter().copied().flatten().chain(OF_ANY).map(refused);
    let mut answers = answers([done].into_iter().chain(refused).collect());
    if answers.contains_key("429") {
        for (status, answer) in &mut answers {
            if let (RefOr::T(answer), "400" | "401" | "429") = (answer, status.as_str()) {
                let place = |name| RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
                for name in ["RateLimit", "RateLimit-Policy"] {
                    answer.headers.insert(name.to_owned(), place(name));
                }
            }
        }
    }
    answers
}

fn user(message: &str) -> Value {
    json!({"success": true, "message": message, "user": {
        "id": 7, "username": "shop", "email": "shop@example.com", "balance": 0.0,
        "token": "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln"
    }})
}

fn held(message: &str) -> Value {
    json!({"success": true, "message": message, "username": "shop", "balance": 12.34})
}

macro_rules! responses {
    ($($(#[$doc:meta])* $name:ident = $done:expr, $refusals:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> Answers {
                told($done, &$refusals)
            }
        }
    )*};
}

responses! {
    /// Of `/api/register`.
    SignedUp = (201, "Registered", "PlatformUser", user("用户注册成功")), [OF_A_NEW_ACCOUNT];
    /// Of `/api/login`.
    SignedIn = (200, "Logged in", "PlatformUser", user("登录成功")), [OF_A_LOG_IN];
    /// Of `/api/balance`.
    Shown = (200, "The balance", "PlatformBalance", held("余额查询成功")), [OF_A_TOKEN];
    /// Of `/api/recharge`.
    Recharged = (200, "Credited", "PlatformBalance", held("充值成功")), [OF_A_TOKEN, OF_MONEY];
    /// Of `/api/change_password`.
    Changed = (
        200, "Changed", "PlatformDone",
        json!({"success": true, "message": "密码修改成功，请重新登录获取新token"})
    ), [OF_A_NEW_PASSWORD];
    /// Of `/api/test`.
    Greeted = (200, "It answers", "PlatformHello", json!({"message": "API 连接成功"})), [];
}
