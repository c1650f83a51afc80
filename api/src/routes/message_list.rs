//! `GET /v1/messages`: an account's finished messages, newest first, in pages.

use axum::Json;
use axum::extract::State;
use postrider_common::database::sms_log::{Cursor, Filter, Row};
use postrider_common::model::job::Lane;
use postrider_common::store::MessageStatus;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::auth::caller::{Caller, Reads};
use crate::dialects::LONGEST_PURPOSE;
use crate::http::body::Fields;
use crate::http::clock::{parse_rfc3339, unix_ms};
use crate::http::pagination::{Page, PageParams, PageQuery, Pages};
use crate::http::problem::{Code, Problem};
use crate::openapi::problems;
use crate::openapi::schemas::words;
use crate::routes::messages::{self, Message};
use crate::server::state::{App, AppState};

/// Without a phone a list spans at most this many milliseconds: 31 days.
const LONGEST_SPAN: i64 = 31 * 86_400_000;

#[derive(Debug, Serialize, ToSchema)]
pub struct Messages {
    /// Without their timelines
    messages: Vec<Message>,
    /// Where the next page begins; null on the last
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Which messages are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Those to this number, of any time
    #[param(min_length = 1, max_length = 64)]
    pub phone: Option<String>,
    /// None is `delivered` yet
    #[param(schema_with = words::<MessageStatus>)]
    pub status: Option<String>,
    #[param(schema_with = words::<Lane>)]
    pub kind: Option<String>,
    #[param(min_length = 1, max_length = 255)]
    pub purpose: Option<String>,
    /// Not before this time; without `phone` at most 31 days before `to`
    #[param(format = DateTime)]
    pub from: Option<String>,
    /// Before this time; now, where it isn't said
    #[param(format = DateTime)]
    pub to: Option<String>,
}

/// List messages
///
/// An account's finished messages, newest first. Those that are on their way are shown one by one.
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages", operation_id = "list_messages",
    security(("bearer" = ["read"])), params(Wanted, PageParams),
    responses((status = 200, description = "A page of them", body = Messages, example = json!({
        "messages": [messages::example()], "next_cursor": null
    }))),
    extensions(("x-problems" = json!(problems(&[&[Code::PhoneInvalid]])))),
)]
pub async fn list(
    State(app): State<AppState>,
    caller: Caller<Reads>,
    PageQuery(query): PageQuery,
) -> Result<Json<Messages>, Problem> {
    let Asked { filter, page: Page { limit, after } } = Asked::read(&app, query)?;
    let rows = app.database.messages(caller.owner(), &filter, after, limit + 1).await?;
    let Pages { items, next_cursor } = Pages::of(&rows, limit, cursor_of, Message::listed);
    Ok(Json(Messages { messages: items, next_cursor }))
}

#[derive(Debug)]
struct Asked {
    filter: Filter,
    page: Page<Cursor>,
}

impl Asked {
    fn read(app: &App, query: Map<String, Value>) -> Result<Self, Problem> {
        let mut fields = Fields::new(query);
        let phone = fields.optional_text("phone", 64);
        let time = "a time as RFC 3339 says it";
        let filter = Filter {
            phone: None,
            status: fields.parsed("status", "a message's status", word),
            lane: fields.parsed("kind", "`code` or `notice`", word),
            purpose: fields.optional_text("purpose", LONGEST_PURPOSE),
            from: fields.parsed("from", time, parse_rfc3339),
            to: fields.parsed("to", time, parse_rfc3339),
        };
        let page = fields.page(read_cursor);
        let filter = match phone {
            Some(_) => filter,
            None => within_span(filter, &mut fields, unix_ms()),
        };
        fields.done()?;
        let phone = phone.map(|text| app.phone(&text)).transpose()?;
        let phone = phone.map(|phone| phone.as_e164().to_owned());
        Ok(Self { filter: Filter { phone, ..filter }, page })
    }
}

/// The last 31 days, or the 31 days before `to`, where `from` isn't said.
fn within_span(filter: Filter, fields: &mut Fields, now: i64) -> Filter {
    let to = filter.to.unwrap_or(now);
    let from = filter.from.unwrap_or(to.saturating_sub(LONGEST_SPAN));
    if to.saturating_sub(from) > LONGEST_SPAN {
        fields.note("from", "span", "at most 31 days before `to`, unless `phone` is given");
    }
    Filter { from: Some(from), ..filter }
}

/// A word as the body of an answer has it.
fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    let text: value::StrDeserializer<'_, value::Error> = text.into_deserializer();
    T::deserialize(text).ok()
}

fn cursor_of(row: &Row) -> String {
    format!("{}.{}", row.create_time, row.id)
}

fn read_cursor(text: &str) -> Option<Cursor> {
    let (time, id) = text.split_once('.')?;
    Some(Cursor { create_time: time.parse().ok()?, id: id.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_common::model::job::Lane;
    use postrider_common::store::MessageStatus;

    #[test]
    fn words_are_those_of_the_answers() {
        assert_eq!(word::<MessageStatus>("superseded"), Some(MessageStatus::Superseded));
        assert_eq!(word::<MessageStatus>("lost"), None);
        assert_eq!(word::<Lane>("notice"), Some(Lane::Notice));
    }

    #[test]
    fn a_list_spans_31_days() {
        let spanned = |from, to| {
            let mut fields = Fields::new(serde_json::Map::new());
            let filter = Filter { from, to, ..Filter::default() };
            let filter = within_span(filter, &mut fields, 40 * 86_400_000);
            fields.done().map(|()| filter.from).ok()
        };
        assert_eq!(spanned(None, None), Some(Some(9 * 86_400_000)));
        assert_eq!(spanned(None, Some(LONGEST_SPAN + 5)), Some(Some(5)));
        assert_eq!(spanned(Some(5), Some(LONGEST_SPAN + 5)), Some(Some(5)));
        assert_eq!(spanned(Some(4), Some(LONGEST_SPAN + 5)), None);
    }
}
