//! `POST /v1/verifications/check`: whether a code is right. The code is derived again and compared here; the
//! store then approves or counts the failure in one atomic step.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use postrider_common::code::Code as Digits;
use postrider_common::ids::VerificationId;
use postrider_common::phone::PhoneNumber;
use postrider_common::store::{Live, Read, Settle, SettleAnswer, Which};
use serde::Serialize;

use crate::app::{App, Shared};
use crate::caller::{Caller, Verifies};
use crate::client_ip::ClientIp;
use crate::guard::{Counted, Limits, changing};
use crate::idempotency::IdempotencyKey;
use crate::json::{Body, Fields};
use crate::problem::{Code, Problem};
use crate::verifications::{LONGEST_PURPOSE, rules_of, subject};

/// How often a check is begun again because another send or a newer account came between.
const TRIES: usize = 4;

#[derive(Debug, Serialize)]
pub struct Approved {
    id: VerificationId,
    status: &'static str,
}

/// What is checked: the latest code of a phone and purpose, or that of one verification.
struct Asked {
    which: Which,
    phone: Option<PhoneNumber>,
    purpose: String,
    code: String,
}

/// `POST /v1/verifications/check`
pub async fn check(
    State(app): State<Shared>,
    mut caller: Caller<Verifies>,
    peer: ClientIp,
    key: IdempotencyKey,
    Body { raw, mut fields }: Body,
) -> Result<(HeaderMap, Json<Approved>), Problem> {
    let given_ip = fields.address("client_ip");
    let account_id = caller.account_id();
    let asked = Asked::read(&app, account_id, fields)?;
    let counted = Counted {
        kind: "check",
        account_id,
        phone: asked.phone.as_ref(),
        purpose: &asked.purpose,
        ip: peer.of_user(&caller, given_ip),
    };
    let limits = counted.limits(&app.settings.limits.check);
    let idempotency = key.of(account_id, &raw, &app.keys);
    for _ in 0..TRIES {
        let live = read(&app, account_id, &asked.which).await?;
        let request = Settle {
            now: None,
            account: caller.version(),
            owner: account_id,
            which: asked.which.clone(),
            read: live.as_ref().map(|live| live.id),
            right: live.as_ref().map_or(Ok(false), |live| is_right(&app, live, &asked.code))?,
            idempotency: idempotency.clone(),
            limits: limits.checks.clone(),
            ban_check: counted.bans(),
            strikes: Vec::new(),
        };
        match app.store.settle(&request).await.map_err(|error| app.store_failed(&error))? {
            SettleAnswer::StaleAccount => caller.reload(&app).await?,
            SettleAnswer::Changed => {}
            answer => return settled(&app, answer, &limits),
        }
    }
    Err(changing())
}

impl Asked {
    fn read(app: &App, account_id: i64, mut fields: Fields) -> Result<Self, Problem> {
        let code = fields.text("code", 32);
        if fields.has("id") {
            let id = fields.parsed("id", "the id of a verification", |text| text.parse().ok());
            fields.done()?;
            // `done` refuses a null: an id that is there and read as nothing is wrong too.
            let id = id.ok_or_else(|| {
                Problem::field(Code::FieldsInvalid, "id", "type", "is the id of a verification")
            })?;
            return Ok(Self { which: Which::Id(id), phone: None, purpose: String::new(), code });
        }
        let (phone, purpose) = (fields.text("phone", 64), fields.text("purpose", LONGEST_PURPOSE));
        fields.done()?;
        let phone = app.phone(&phone)?;
        rules_of(app, &purpose)?;
        let which = Which::Subject(subject(account_id, &purpose, &phone));
        Ok(Self { which, phone: Some(phone), purpose, code })
    }
}

async fn read(app: &Shared, account_id: i64, which: &Which) -> Result<Option<Live>, Problem> {
    let request = Read { account_id, which: which.clone() };
    app.store.read(&request).await.map_err(|error| app.store_failed(&error))
}

/// Compares in constant time. Without the key nothing can be said, and nothing may be counted.
fn is_right(app: &App, live: &Live, given: &str) -> Result<bool, Problem> {
    let keys = app.keys.get(&live.key_id).ok_or_else(|| {
        Problem::new(Code::Internal).because(&format!("the key {} is not here", live.key_id))
    })?;
    Ok(Digits::derive(&keys.code, live.id, live.digits).matches(given))
}

fn settled(
    app: &App,
    answer: SettleAnswer,
    limits: &Limits,
) -> Result<(HeaderMap, Json<Approved>), Problem> {
    metrics::counter!("sms_checks_total", "answer" => word(&answer)).increment(1);
    let (code, states) = match answer {
        SettleAnswer::Approved { id, at, first, limits: states } => {
            if first {
                app.verified.note(id, at);
            }
            return Ok((limits.headers(&states), Json(Approved { id, status: "approved" })));
        }
        SettleAnswer::StaleAccount | SettleAnswer::Changed => return Err(changing()),
        SettleAnswer::KeyReused => return Err(Problem::new(Code::IdempotencyKeyReused)),
        SettleAnswer::Limited { index, wait_ms, limits: states } => {
            return Err(limits.used_up(index, wait_ms, &states));
        }
        SettleAnswer::Banned { what, limits: states, .. } => {
            return Err(limits.banned(what, &states));
        }
        SettleAnswer::Mismatch { attempts_left, limits: states, .. } => {
            let problem = Problem::new(Code::CodeMismatch).headers(limits.headers(&states));
            return Err(problem.with("attempts_left", attempts_left));
        }
        SettleAnswer::Spent { wait_ms, limits: states, .. } => {
            let problem = Problem::new(Code::TooManyAttempts).headers(limits.headers(&states));
            return Err(problem.retry_after(wait_ms));
        }
        SettleAnswer::NotSent { limits: states, .. }
        | SettleAnswer::Expired { limits: states, .. } => (Code::VerificationNotFound, states),
        SettleAnswer::Used { limits: states, .. } => (Code::AlreadyUsed, states),
    };
    Err(Problem::new(code).headers(limits.headers(&states)))
}

fn word(answer: &SettleAnswer) -> &'static str {
    match answer {
        SettleAnswer::StaleAccount => "stale_account",
        SettleAnswer::KeyReused => "key_reused",
        SettleAnswer::Changed => "changed",
        SettleAnswer::Limited { .. } => "limited",
        SettleAnswer::Banned { .. } => "banned",
        SettleAnswer::NotSent { .. } => "not_sent",
        SettleAnswer::Expired { .. } => "expired",
        SettleAnswer::Spent { .. } => "spent",
        SettleAnswer::Mismatch { .. } => "mismatch",
        SettleAnswer::Used { .. } => "used",
        SettleAnswer::Approved { .. } => "approved",
    }
}
