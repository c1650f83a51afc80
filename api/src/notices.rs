//! `POST /v1/notices`: sends a templated SMS to one phone.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use postrider_common::config::Template;
use postrider_common::ids::MessageId;
use postrider_common::template::{self, Params};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Shared};
use crate::caller::{Caller, Sends};
use crate::client_ip::ClientIp;
use crate::idempotency::IdempotencyKey;
use crate::json::Body;
use crate::openapi::{GUARDED, problems};
use crate::problem::{Code, FieldError, Problem};
use crate::sending::{self, NoticeToSend, Origin};
use crate::trace::Trace;

/// A notice to be sent, as the body says it.
#[derive(Debug, ToSchema)]
pub struct SendNotice {
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

/// Send a notice
///
/// Sends a templated text without a code. 202 means that the job is on disk.
#[utoipa::path(
    post, path = "/v1/notices", tag = "notices", operation_id = "send_notice",
    security(("bearer" = ["send"])), params(IdempotencyKey),
    request_body(content = SendNotice, example = json!(
        {"template": "order_shipped", "phone": "13800138000", "params": {"order": "A-1042"}}
    )),
    responses((status = 202, description = "Accepted: the job is on disk", body = Sent, example = json!(
        {"id": "0198c9a1-52f0-7c3e-9d5b-6f1d2a7c4e12"}
    ))),
    extensions(("x-problems" = json!(problems(&[GUARDED, &[Code::TemplateUnknown, Code::ParamsInvalid]])))),
)]
pub async fn send(
    State(app): State<Shared>,
    mut caller: Caller<Sends>,
    peer: ClientIp,
    key: IdempotencyKey,
    Trace(trace): Trace,
    Body { raw, mut fields }: Body,
) -> Result<(StatusCode, HeaderMap, Json<Sent>), Problem> {
    let (template, phone) = (fields.text("template", 64), fields.text("phone", 64));
    let params = fields.texts("params");
    let given_ip = fields.address("client_ip");
    fields.done()?;
    let phone = app.phone(&phone)?;
    check_params(known(&app, &template)?, &params)?;
    let origin = Origin {
        ip: peer.of_user(&caller, given_ip),
        idempotency: key.of(caller.owner(), &raw, &app.keys),
        trace,
    };
    let asked = NoticeToSend { phone, template, params };
    let (accepted, headers) = sending::notice(&app, &mut caller, asked, origin).await?;
    Ok((StatusCode::ACCEPTED, headers, Json(Sent { id: accepted.message_id })))
}

fn known<'a>(app: &'a App, template: &str) -> Result<&'a Template, Problem> {
    app.settings.templates.get(template).ok_or_else(|| {
        let detail = "no [templates] of this name is configured";
        Problem::field(Code::TemplateUnknown, "template", "unknown", detail)
    })
}

/// Every place of the template must be filled and nothing else be given; the sign is the template's own. A
/// template that only the provider knows the text of takes what it is given.
fn check_params(template: &Template, params: &Params) -> Result<(), Problem> {
    if template.text.is_empty() {
        return Ok(());
    }
    let places = template::places(&template.text)
        .map_err(|error| Problem::new(Code::Internal).because(&error))?;
    let error = |name: &str, code, detail: &str| FieldError {
        field: format!("params.{name}"),
        code,
        detail: detail.to_owned(),
    };
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
    fn parameters_fit_the_places_exactly() {
        assert_eq!(misfit("【{sign}】{name}: {order}", &["name", "order"]), None);
        assert_eq!(misfit("", &["whatever"]), None);
        assert_eq!(
            misfit("【{sign}】{name}: {order}", &["nam", "order", "sign"]).as_deref(),
            Some("params.name missing, params.nam unknown, params.sign unknown")
        );
    }
}
