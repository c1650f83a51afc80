//! Asks the guard: builds what it looks at, asks once more where the caller's account was out of date, and says
//! every refusal in the caller's words.

use std::sync::Arc;

use axum::http::HeaderMap;
use postrider_common::accept::{AcceptError, AcceptManyAnswer, MakeJob, MakeJobs};
use postrider_common::model::ids::MessageId;
use postrider_common::model::job::Lane;
use postrider_common::model::owner::Owner;
use postrider_common::store::{
    Accepted, AccountCheck, Admit, AdmitAnswer, AdmitMany, BanCheck, Idempotency, NewVerification,
    Strike,
};

use crate::auth::caller::{Caller, Sends, changing};
use crate::http::problem::{Code, Problem};
use crate::messages::job::Draft;
use crate::messages::limit_subject::{Kind, Limits};
use crate::server::state::{App, AppState};

/// A message that the guard is asked for.
#[derive(Debug)]
pub struct Asked {
    /// The id that the message gets if it is new.
    pub id: MessageId,
    pub draft: Draft,
    /// What makes two requests without an idempotency key the same.
    pub subject: String,
    /// Only for codes.
    pub verification: Option<NewVerification>,
    pub ttl_ms: i64,
    pub idempotency: Option<Idempotency>,
    pub limits: Limits,
    pub bans: BanCheck,
    pub strikes: Vec<Strike>,
}

impl Asked {
    /// As the store is asked, with what the answer needs: the limits, and how an admitted message's job is made.
    fn into_request(self, app: &AppState, account: AccountCheck) -> (Admit, Limits, MakeJob) {
        let is_code = self.verification.is_some();
        let request = Admit {
            now: None,
            account,
            owner: self.draft.owner.store_id(),
            message_id: self.id,
            lane: self.draft.lane,
            idempotency: self.idempotency,
            subject: self.subject,
            limits: self.limits.checks.clone(),
            ban_check: self.bans,
            strikes: self.strikes,
            verification: self.verification,
            known_keys: if is_code { app.keys.ids() } else { Vec::new() },
            ttl_ms: self.ttl_ms,
            confirmed: false,
            about: self.draft.about(),
        };
        (request, self.limits, self.draft.into_make_job(app.keys.clone()))
    }
}

/// Asks for one message, and has it queued where it is admitted. Gives the headers for the answer too.
pub async fn admit(
    app: &AppState,
    caller: &mut Caller<Sends>,
    asked: Asked,
    trace: String,
) -> Result<(Accepted, HeaderMap), Problem> {
    let (mut request, limits, make_job) = asked.into_request(app, caller.version());
    for _ in 0..2 {
        request.account = caller.version();
        let answer = app.acceptor.accept(request.clone(), Some(trace.clone()), make_job.clone());
        match answer.await.map_err(|error| not_accepted(app, &error))? {
            AdmitAnswer::StaleAccount => caller.reload(app).await?,
            answer => {
                note(app, request.lane, Owner::of_store_id(request.owner), &answer);
                return decided(app, answer, &limits);
            }
        }
    }
    Err(changing())
}

/// Asks for many messages in one step; see [`MOST_AT_ONCE`](postrider_common::store::MOST_AT_ONCE). `batch` is the
/// idempotency of the request as a whole. Gives each one's fate in their order; the error is of all of them.
pub async fn admit_many(
    app: &AppState,
    caller: &mut Caller<Sends>,
    batch: Option<Idempotency>,
    asked: Vec<Asked>,
    trace: String,
) -> Result<Vec<Result<(Accepted, HeaderMap), Problem>>, Problem> {
    let (mut items, mut limits, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for asked in asked {
        let (item, its_limits, make_job) = asked.into_request(app, caller.version());
        items.push(item);
        limits.push(its_limits);
        jobs.push(make_job);
    }
    let about: Vec<_> = items.iter().map(|i| (i.lane, Owner::of_store_id(i.owner))).collect();
    let mut request = AdmitMany { now: None, account: caller.version(), batch, items };
    let make_jobs: MakeJobs = Arc::new(move |place, accepted| jobs[place](accepted));
    for _ in 0..2 {
        request.account = caller.version();
        request.items.iter_mut().for_each(|item| item.account = request.account);
        let answer =
            app.acceptor.accept_many(request.clone(), Some(trace.clone()), make_jobs.clone()).await;
        match answer.map_err(|error| not_accepted(app, &error))? {
            AcceptManyAnswer::StaleAccount => caller.reload(app).await?,
            AcceptManyAnswer::KeyReused { fingerprint } => {
                return Err(app.key_reused(fingerprint.as_deref()));
            }
            AcceptManyAnswer::Decided(answers) => {
                let each = answers.into_iter().zip(&about).zip(&limits);
                return Ok(each
                    .map(|((answer, (lane, owner)), limits)| {
                        let answer = answer.map_err(|error| not_accepted(app, &error))?;
                        note(app, *lane, *owner, &answer);
                        let headers = match &answer {
                            AdmitAnswer::Admitted { limits: states, .. } => {
                                limits.shared_headers(states)
                            }
                            _ => HeaderMap::new(),
                        };
                        decided(app, answer, limits).map(|(accepted, _)| (accepted, headers))
                    })
                    .collect());
            }
        }
    }
    Err(changing())
}

/// Counts what was decided, and writes down the bans that it made.
fn note(app: &AppState, lane: Lane, owner: Owner, answer: &AdmitAnswer) {
    let word = word(answer);
    metrics::counter!("sms_guard_total", "lane" => lane.as_str(), "answer" => word).increment(1);
    if let AdmitAnswer::Limited { struck, .. } | AdmitAnswer::MaxSends { struck, .. } = answer {
        let kind = match lane {
            Lane::Code => Kind::Code,
            Lane::Notice => Kind::Notice,
        };
        app.automatic_bans.note(struck.clone(), kind, owner);
    }
}

fn decided(
    app: &App,
    answer: AdmitAnswer,
    limits: &Limits,
) -> Result<(Accepted, HeaderMap), Problem> {
    match answer {
        AdmitAnswer::Admitted { message, limits: states, .. } => {
            Ok((message, limits.headers(&states)))
        }
        AdmitAnswer::Replayed(message) => Ok((message, HeaderMap::new())),
        AdmitAnswer::StaleAccount => Err(changing()),
        AdmitAnswer::KeyReused { fingerprint } => Err(app.key_reused(fingerprint.as_deref())),
        AdmitAnswer::KeyMissing { key_id } => Err(app.key_missing(&key_id)),
        AdmitAnswer::InFlight { wait_ms } => {
            Err(Problem::new(Code::RequestInFlight).retry_after(wait_ms))
        }
        AdmitAnswer::Limited { index, wait_ms, limits: states, .. } => {
            Err(limits.used_up(index, wait_ms, &states))
        }
        AdmitAnswer::MaxSends { wait_ms, limits: states, .. } => {
            let problem = Problem::new(Code::MaxSendsReached).retry_after(wait_ms);
            Err(problem.headers(limits.headers(&states)))
        }
        AdmitAnswer::Banned { what, until, limits: states } => {
            Err(limits.banned(what, until, &states))
        }
    }
}

fn not_accepted(app: &AppState, error: &AcceptError) -> Problem {
    match error {
        AcceptError::Store(error) => app.store_failed(error),
        AcceptError::NotQueued(why) => Problem::new(Code::QueueUnavailable).because(why),
        AcceptError::OutcomeUnknown(why) => Problem::new(Code::OutcomeUnknown).because(why),
    }
}

fn word(answer: &AdmitAnswer) -> &'static str {
    match answer {
        AdmitAnswer::Admitted { again: true, .. } => "admitted_again",
        AdmitAnswer::Admitted { .. } => "admitted",
        AdmitAnswer::Replayed(_) => "replayed",
        AdmitAnswer::StaleAccount => "stale_account",
        AdmitAnswer::KeyReused { .. } => "key_reused",
        AdmitAnswer::KeyMissing { .. } => "key_missing",
        AdmitAnswer::InFlight { .. } => "in_flight",
        AdmitAnswer::Limited { .. } => "limited",
        AdmitAnswer::MaxSends { .. } => "max_sends",
        AdmitAnswer::Banned { .. } => "banned",
    }
}
