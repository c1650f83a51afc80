//! Whether a code is right, whichever wire format asks. The code is derived again and compared here; the store then
//! approves or counts the failure in one atomic step.

use axum::http::HeaderMap;
use postrider_common::model::code::Code as Digits;
use postrider_common::model::ids::VerificationId;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::store::{
    Ban, Idempotency, Live, Read, Settle, SettleAnswer, Which, purpose_and_phone,
};

use crate::auth::caller::changing;
use crate::auth::caller::{Caller, Verifies};
use crate::http::client_ip::UserIp;
use crate::http::problem::{Code, Problem};
use crate::messages::limit_subject::{Kind, LimitSubject, Limits};
use crate::server::state::{App, AppState};

/// How often a check is begun again because another send or a newer account came between.
const TRIES: usize = 4;

/// What is checked: the latest code of a phone and purpose, or that of one verification.
#[derive(Debug)]
pub struct CodeToCheck {
    pub which: Which,
    /// What a failure counts against; a check by id counts against what its code was sent to.
    pub phone: Option<PhoneNumber>,
    pub purpose: String,
    /// As it was typed.
    pub code: String,
    pub ip: UserIp,
    pub idempotency: Option<Idempotency>,
}

/// Checks a code; gives the store's verdict, with the limits that it was looked at under.
pub async fn check(
    app: &AppState,
    caller: &mut Caller<Verifies>,
    asked: CodeToCheck,
) -> Result<(SettleAnswer, Limits), Problem> {
    let owner = caller.owner();
    for _ in 0..TRIES {
        let live = read(app, owner.store_id(), &asked.which).await?;
        // A check by id counts against the phone too that its code was sent to.
        let sent_to = live.as_ref().and_then(|live| purpose_and_phone(&live.subject));
        let counted = LimitSubject {
            kind: Kind::Check,
            owner,
            phone: asked.phone.as_ref().or(sent_to.as_ref().map(|(_, phone)| phone)),
            purpose: sent_to.as_ref().map_or(asked.purpose.as_str(), |(purpose, _)| *purpose),
            ip: asked.ip,
        };
        let limits = counted.limits(&app.settings, &app.settings.check_limits(counted.purpose));
        let right = match &live {
            Some(live) => is_right(app, live, owner.is_test(), &asked.code)?,
            None => false,
        };
        let request = Settle {
            now: None,
            account: caller.version(),
            owner: owner.store_id(),
            which: asked.which.clone(),
            read: live.as_ref().map(|live| live.id),
            right,
            idempotency: asked.idempotency.clone(),
            limits: limits.checks.clone(),
            ban_check: counted.bans(&app.settings.bans),
            strikes: counted.strikes(&app.settings.bans),
        };
        match app.store.settle(&request).await.map_err(|error| app.store_failed(&error))? {
            SettleAnswer::StaleAccount => caller.reload(app).await?,
            SettleAnswer::Changed => {}
            SettleAnswer::KeyReused { fingerprint } => {
                return Err(app.key_reused(fingerprint.as_deref()));
            }
            answer => {
                metrics::counter!("sms_checks_total", "answer" => word(&answer)).increment(1);
                if let SettleAnswer::Approved { id, at, first: true, .. } = &answer {
                    app.verified.note(*id, *at);
                }
                app.automatic_bans.note(struck(&answer), Kind::Check, owner);
                if let Err(problem) = settled(answer.clone(), &limits) {
                    app.refusals.note(&problem, &counted, "");
                }
                return Ok((answer, limits));
            }
        }
    }
    Err(changing())
}

async fn read(app: &AppState, owner: i64, which: &Which) -> Result<Option<Live>, Problem> {
    let request = Read { account_id: owner, which: which.clone() };
    app.store.read(&request).await.map_err(|error| app.store_failed(&error))
}

/// Compares in constant time. Without the key nothing can be said, and nothing may be counted.
fn is_right(app: &App, live: &Live, test: bool, given: &str) -> Result<bool, Problem> {
    if test {
        return Ok(Digits::fixed(live.digits).matches(given));
    }
    let keys = app.keys.get(&live.key_id).ok_or_else(|| app.key_missing(&live.key_id))?;
    Ok(Digits::derive(&keys.code, live.id, live.digits).matches(given))
}

/// The bans that a failure made.
fn struck(answer: &SettleAnswer) -> Vec<Ban> {
    match answer {
        SettleAnswer::NotSent { struck, .. }
        | SettleAnswer::Expired { struck, .. }
        | SettleAnswer::Spent { struck, .. }
        | SettleAnswer::Mismatch { struck, .. } => struck.clone(),
        _ => Vec::new(),
    }
}

fn word(answer: &SettleAnswer) -> &'static str {
    match answer {
        SettleAnswer::StaleAccount => "stale_account",
        SettleAnswer::KeyReused { .. } => "key_reused",
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

/// A verdict in v1's words: the headers for the answer where the code was right, else the refusal.
pub fn settled(
    answer: SettleAnswer,
    limits: &Limits,
) -> Result<(VerificationId, HeaderMap), Problem> {
    let (code, states) = match answer {
        SettleAnswer::Approved { id, limits: states, .. } => {
            return Ok((id, limits.headers(&states)));
        }
        SettleAnswer::StaleAccount | SettleAnswer::Changed => return Err(changing()),
        SettleAnswer::KeyReused { .. } => return Err(Problem::new(Code::IdempotencyKeyReused)),
        SettleAnswer::Limited { index, wait_ms, limits: states } => {
            return Err(limits.used_up(index, wait_ms, &states));
        }
        SettleAnswer::Banned { what, until, limits: states } => {
            return Err(limits.banned(what, until, &states));
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
