//! Sends a code or a notice, whichever wire format asked for it: what every way in has in common.

use axum::http::HeaderMap;
use postrider_common::config::{CodeRules, ScopeLimits};
use postrider_common::model::code::Code as Digits;
use postrider_common::model::ids::{MessageId, VerificationId};
use postrider_common::model::job::{Contents, Lane};
use postrider_common::model::owner::Owner;
use postrider_common::model::phone::PhoneNumber;
use postrider_common::model::template::Params;
use postrider_common::store::{Accepted, Idempotency, NewVerification, verification_subject};

use crate::auth::caller::{Caller, Sends};
use crate::http::client_ip::UserIp;
use crate::http::clock::as_ms;
use crate::http::problem::{Code, Problem};
use crate::messages::guard;
use crate::messages::job::Draft;
use crate::messages::limit_subject::{Kind, LimitSubject};
use crate::server::state::{App, AppState};

#[cfg(test)]
mod tests;

/// Where a request to send came from.
#[derive(Debug)]
pub struct Origin {
    /// What it is counted by.
    pub ip: UserIp,
    pub idempotency: Option<Idempotency>,
    /// The W3C trace context.
    pub trace: String,
}

/// A code for a phone, under the rules of its purpose.
#[derive(Debug)]
pub struct CodeToSend {
    pub phone: PhoneNumber,
    pub purpose: String,
    pub rules: CodeRules,
    pub limits: ScopeLimits,
}

/// Sends a code; gives what was accepted, with the headers for the answer.
pub async fn code(
    app: &AppState,
    caller: &mut Caller<Sends>,
    asked: CodeToSend,
    origin: Origin,
) -> Result<(Accepted, HeaderMap), Problem> {
    let CodeToSend { phone, purpose, rules, limits } = asked;
    let (owner, ip) = (caller.owner(), origin.ip);
    let counted =
        LimitSubject { kind: Kind::Code, owner, phone: Some(&phone), purpose: &purpose, ip };
    let verification = new_verification(app, owner, &purpose, &phone, &rules);
    let asked = guard::Asked {
        id: MessageId::generate(),
        subject: verification.subject.clone(),
        ttl_ms: verification.ttl_ms,
        verification: Some(verification),
        idempotency: origin.idempotency,
        bans: counted.bans(&app.settings.bans),
        strikes: counted.strikes(&app.settings.bans),
        limits: counted.limits(&app.settings, &limits),
        draft: Draft {
            lane: Lane::Code,
            owner,
            template: rules.template.clone(),
            raw_template: false,
            contents: Contents {
                phone: phone.clone(),
                params: Params::new(),
                client_ip: ip.address(),
            },
            purpose: purpose.clone(),
        },
    };
    let answer = admit(app, caller, asked, origin.trace).await;
    answer.inspect_err(|problem| app.refusals.note(problem, &counted, &rules.template))
}

/// Looks first at what no request changes: the countries that are sent to, and the queue's depth.
async fn admit(
    app: &AppState,
    caller: &mut Caller<Sends>,
    asked: guard::Asked,
    trace: String,
) -> Result<(Accepted, HeaderMap), Problem> {
    check_country(app, &asked.draft.contents.phone)?;
    app.pressure.check(asked.draft.lane)?;
    guard::admit(app, caller, asked, trace).await
}

pub fn check_country(app: &App, phone: &PhoneNumber) -> Result<(), Problem> {
    if is_allowed(app, phone) {
        return Ok(());
    }
    let detail = "the operator doesn't send to this country";
    Err(Problem::field(Code::CountryNotAllowed, "phone", "country", detail))
}

/// The code that was just sent, where `[code] echo` lets it be told.
pub fn echo(app: &App, owner: Owner, accepted: &Accepted) -> Option<String> {
    let verification = accepted.verification.as_ref().filter(|_| app.settings.code.echo)?;
    let digits = verification.job.digits;
    if owner.is_test() {
        return Some(Digits::fixed(digits).expose().to_owned());
    }
    let key = &app.keys.get(&verification.key_id)?.code;
    Some(Digits::derive(key, verification.job.id, digits).expose().to_owned())
}

/// Whether the operator sends to the number's country.
pub fn is_allowed(app: &App, phone: &PhoneNumber) -> bool {
    let countries = &app.settings.server.countries;
    countries.is_empty() || countries.iter().any(|country| phone.is_of(*country))
}

fn new_verification(
    app: &App,
    owner: Owner,
    purpose: &str,
    phone: &PhoneNumber,
    rules: &CodeRules,
) -> NewVerification {
    NewVerification {
        id: VerificationId::generate(),
        subject: verification_subject(owner, purpose, phone),
        account_id: owner.store_id(),
        purpose: purpose.to_owned(),
        key_id: app.keys.current().id.clone(),
        digits: rules.length,
        ttl_ms: as_ms(rules.ttl),
        max_attempts: rules.max_attempts,
        max_sends: rules.max_sends,
        remember_ms: as_ms(rules.remembered()),
    }
}

/// A templated text, without a code.
#[derive(Debug)]
pub struct NoticeToSend {
    /// What it is for; empty where the caller doesn't say.
    pub purpose: String,
    /// A name in `[templates]`, or with `raw_template` a provider's own template code.
    pub template: String,
    pub raw_template: bool,
    pub params: Params,
}

/// Sends a notice to a phone; gives what was accepted, with the headers for the answer.
pub async fn notice(
    app: &AppState,
    caller: &mut Caller<Sends>,
    notice: &NoticeToSend,
    phone: &PhoneNumber,
    origin: Origin,
) -> Result<(Accepted, HeaderMap), Problem> {
    let counted = notice.counted(caller.owner(), Some(phone), origin.ip);
    let asked = notice.asked(app, counted, phone, MessageId::generate(), origin.idempotency);
    let answer = admit(app, caller, asked, origin.trace).await;
    answer.inspect_err(|problem| app.refusals.note(problem, &counted, &notice.template))
}

impl NoticeToSend {
    /// What it is counted by; without a phone, what a refusal that comes before is written down with.
    pub fn counted<'a>(
        &'a self,
        owner: Owner,
        phone: Option<&'a PhoneNumber>,
        ip: UserIp,
    ) -> LimitSubject<'a> {
        LimitSubject { kind: Kind::Notice, owner, phone, purpose: &self.purpose, ip }
    }

    /// What the guard is asked for one phone.
    pub fn asked(
        &self,
        app: &App,
        counted: LimitSubject<'_>,
        phone: &PhoneNumber,
        id: MessageId,
        idempotency: Option<Idempotency>,
    ) -> guard::Asked {
        guard::Asked {
            id,
            subject: notice_subject(app, counted.owner, &self.template, &self.params, phone),
            ttl_ms: as_ms(app.settings.notices.ttl),
            verification: None,
            idempotency,
            bans: counted.bans(&app.settings.bans),
            strikes: counted.strikes(&app.settings.bans),
            limits: counted.notice_limits(&app.settings, &self.template),
            draft: Draft {
                lane: Lane::Notice,
                owner: counted.owner,
                purpose: self.purpose.clone(),
                template: self.template.clone(),
                raw_template: self.raw_template,
                contents: Contents {
                    phone: phone.clone(),
                    params: self.params.clone(),
                    client_ip: counted.ip.address(),
                },
            },
        }
    }
}

/// What makes two requests without a key the same notice.
fn notice_subject(
    app: &App,
    owner: Owner,
    template: &str,
    params: &Params,
    phone: &PhoneNumber,
) -> String {
    let text = format!("{template}\n{params:?}");
    let fingerprint = app.keys.fingerprints(text.as_bytes()).swap_remove(0);
    format!("notice:{owner}:{}:{fingerprint}", phone.as_e164())
}
