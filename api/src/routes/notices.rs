//! `POST /v1/notices`: sends a templated SMS to one phone, or to many.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use postrider_common::config::Template;
use postrider_common::model::ids::MessageId;
use postrider_common::model::template::{self, Params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::caller::{Caller, Sends};
use crate::http::body::Body;
use crate::http::client_ip::ClientIp;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::{Code, FieldError, Problem};
use crate::http::trace::Trace;
use crate::messages::send::{self, NoticeToSend, Origin};
use crate::openapi::{GUARDED, problems};
use crate::routes::bulk_notices::{self, Fates, MOST_PHONES};
use crate::server::state::{App, AppState};

/// The largest body that is read here, in bytes: of a request with [`MOST_PHONES`] and long parameters.
pub const LARGEST: usize = 256 * 1024;

/// A notice to be sent, as the body says it: to one phone, or to many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SendNotice {
    ToOne(NoticeToOne),
    ToMany(NoticeToMany),
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct NoticeToMany {
    /// One of the operator's `[templates]`
    #[schema(min_length = 1, max_length = 64, example = "order_shipped")]
    pub template: String,
    /// E.164, or national numbers of the operator's region; none twice
    #[schema(min_items = 1, max_items = 1000)]
    pub phones: Vec<String>,
    /// A text for each place of the template, the same for all
    pub params: Option<BTreeMap<String, String>>,
    /// The end user's address; believed of a token with the scope `on_behalf`
    #[schema(min_length = 1, max_length = 128, example = "203.0.113.7")]
    pub client_ip: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub struct NoticeToOne {
    /// One of the operator's `[templates]`
    #[schema(min_length = 1, max_length = 64, example = "order_shipped")]
    pub template: String,
    /// E.164, or a national number of the operator's region
    #[schema(min_length = 1, max_length = 64, example = "13800138000")]
    pub phone: String,
    /// A text for each place of the template
    pub params: Option<BTreeMap<String, String>>,
    /// The end user's address; believed of a token with the scope `on_behalf`
    #[schema(min_length = 1, max_length = 128, example = "203.0.113.7")]
    pub client_ip: Option<String>,
}

/// A notice that is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SentNotice)]
pub struct Sent {
    /// The message's
    #[schema(value_type = String, format = "uuid")]
    id: MessageId,
}

/// What was accepted of a notice.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum NoticeAnswer {
    ToOne(Sent),
    ToMany(Fates),
}

/// Send a notice
///
/// Sends a templated text without a code, to one phone or to up to 1,000. 202 means that the jobs are on disk. To many,
/// each phone is limited on its own: the answer says of each what became of it, and is 202 if any was accepted, else
/// the problem of the first, with `rejected`. A body may have 256 KiB here.
#[utoipa::path(
    post, path = "/v1/notices", tag = "notices", operation_id = "send_notice",
    security(("bearer" = ["send"])), params(IdempotencyKey),
    request_body(content = SendNotice, examples(
        ("to_one" = (summary = "To one phone", value = json!(
            {"template": "order_shipped", "phone": "13800138000", "params": {"order": "A-1042"}}
        ))),
        ("to_many" = (summary = "To many", value = json!(
            {"template": "order_shipped", "phones": ["13800138000", "+8613900139000"], "params": {"order": "A-1042"}}
        ))),
    )),
    responses((status = 202, description = "Accepted: the jobs are on disk", body = NoticeAnswer, examples(
        ("to_one" = (summary = "To one phone", value = json!({"id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12"}))),
        ("to_many" = (summary = "To many", value = json!({
            "accepted": [{"id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12", "phone": "13800138000"}],
            "rejected": [{"phone": "+8613900139000", "code": "phone_limited"}]
        }))),
    ))),
    extensions(("x-problems" = json!(problems(&[GUARDED, &[Code::TemplateUnknown, Code::ParamsInvalid]])))),
)]
pub async fn send(
    State(app): State<AppState>,
    mut caller: Caller<Sends>,
    peer: ClientIp,
    key: IdempotencyKey,
    Trace(trace): Trace,
    Body { raw, mut fields }: Body,
) -> Result<Response, Problem> {
    let template = fields.text("template", 64);
    let to_many = fields.has("phones");
    let phones = if to_many {
        if fields.take("phone").is_some() {
            fields.note("phone", "conflict", "give either `phone` or `phones`");
        }
        fields.list("phones", MOST_PHONES, 64)
    } else {
        vec![fields.text("phone", 64)]
    };
    let params = fields.texts("params");
    let given_ip = fields.address("client_ip");
    fields.done()?;
    let (owner, ip) = (caller.owner(), peer.of_user(caller.on_behalf(), given_ip));
    let origin = Origin { ip, idempotency: key.of(owner, &raw, &app.keys), trace };
    let notice = NoticeToSend { purpose: String::new(), template, raw_template: false, params };
    let counted = notice.counted(owner, None, ip);
    let refused = |problem: &Problem| app.refusals.note(problem, &counted, &notice.template);
    let known = || check_params(known(&app, &notice.template)?, &notice.params);
    if to_many {
        known().inspect_err(refused)?;
        return bulk_notices::send(&app, &mut caller, &notice, phones, origin).await;
    }
    let phone = phones.first().map_or("", String::as_str);
    let phone = app.phone(phone).and_then(|phone| known().map(|()| phone)).inspect_err(refused)?;
    let sent = send::notice(&app, &mut caller, &notice, &phone, origin).await;
    let (accepted, headers) = sent?;
    Ok((StatusCode::ACCEPTED, headers, Json(Sent { id: accepted.message_id })).into_response())
}

/// A template that is configured, and that no codes are sent with: whoever may send notices could make up codes, past
/// every limit of codes.
pub fn known<'a>(app: &'a App, template: &str) -> Result<&'a Template, Problem> {
    let refused = |why, detail| Problem::field(Code::TemplateUnknown, "template", why, detail);
    if app.settings.is_template_of_codes(template) {
        return Err(refused("for_codes", "codes are sent with this template, and no notices"));
    }
    let known = app.settings.templates.get(template);
    known.ok_or_else(|| refused("unknown", "no [templates] of this name is configured"))
}

/// Parameters of one notice at the most, and the bytes of each: no SMS holds more, and each phone's job has them.
const MOST_PARAMS: usize = 32;
const LONGEST_PARAM: usize = 1000;

/// Every place of the template must be filled and nothing else be given; the sign is the template's own. A
/// template that only the provider knows the text of takes what it is given.
pub fn check_params(template: &Template, params: &Params) -> Result<(), Problem> {
    let error = |name: &str, code, detail: &str| FieldError {
        field: format!("params.{}", name.chars().take(64).collect::<String>()),
        code,
        detail: detail.to_owned(),
    };
    let is_long = |(name, text): &(&String, &String)| name.len().max(text.len()) > LONGEST_PARAM;
    if params.len() > MOST_PARAMS || params.iter().any(|param| is_long(&param)) {
        let detail = "at most 32 parameters of at most 1000 bytes each";
        return Err(Problem::field(Code::ParamsInvalid, "params", "length", detail));
    }
    if template.text.is_empty() {
        return Ok(());
    }
    let places = template::places(&template.text)
        .map_err(|error| Problem::new(Code::Internal).because(&error))?;
    let missing = places.iter().filter(|place| **place != "sign" && !params.contains_key(**place));
    let unknown = params.keys().filter(|name| *name == "sign" || !places.contains(&name.as_str()));
    let errors: Vec<FieldError> = missing
        .map(|place| error(place, "missing", "the template needs it"))
        .chain(unknown.map(|name| error(name, "unknown", "the template has no place for it")))
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::new(Code::ParamsInvalid).errors(&errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misfit(text: &str, names: &[&str]) -> Option<String> {
        let template = Template { text: text.to_owned(), ..Template::default() };
        let params = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        let problem = check_params(&template, &params).err()?;
        assert_eq!(problem.code, Code::ParamsInvalid);
        let wrong = problem.body("id")["errors"].take();
        let listed = wrong.as_array()?.iter().map(|e| format!("{} {}", e["field"], e["code"]));
        Some(listed.collect::<Vec<_>>().join(", ").replace('"', ""))
    }

    #[test]
    fn parameters_are_few_and_short() {
        let template = Template::default();
        let refused = |count: usize, length: usize| {
            let params = (0..count).map(|n| (n.to_string(), "x".repeat(length))).collect();
            check_params(&template, &params).is_err()
        };
        assert!(!refused(MOST_PARAMS, LONGEST_PARAM));
        assert!(refused(MOST_PARAMS + 1, 1) && refused(1, LONGEST_PARAM + 1));
    }

    #[test]
    fn parameters_fit_the_places_exactly() {
        assert_eq!(misfit("【{sign}】{name}: {order}", &["name", "order"]), None);
        assert_eq!(misfit("", &["whatever"]), None);
        assert_eq!(
            misfit("【{sign}】{name}: {order}", &["nam", "order", "sign"]).as_deref(),
            Some("params.name missing, params.nam unknown, params.sign unknown")
        );
    }
}
