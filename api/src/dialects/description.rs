//! How the dialects are described: each answer of an endpoint is an example, with what it means.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::{flask, mall, platform};

/// What each dialect takes and answers. Other fields of a request are ignored.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    paths(
        mall::send,
        mall::verify,
        mall::send_under_sms,
        mall::verify_under_sms,
        mall::health,
        flask::send,
        flask::verify,
        flask::notice,
        platform::sign_up,
        platform::sign_in,
        platform::balance,
        platform::recharge,
        platform::new_password,
        platform::hello,
        platform::hello_at_root,
        platform::hello_at_slash,
    ),
    components(schemas(
        mall::described::Answer,
        mall::described::AnswerUnderSms,
        flask::described::Answer,
        platform::described::Refusal,
        platform::described::Done,
        platform::described::Hello,
        platform::LoggedInAs,
        platform::Held,
    )),
    tags(
        (name = "mall", description = "The wire format of a Spring Cloud shop's SMS service, where it is enabled"),
        (name = "flask", description = "The wire format of an Aliyun SMS service in Flask, where it is enabled"),
        (name = "platform", description = "The wire format of a phone-number and code service, where it is enabled"),
    )
)]
pub struct Described;

pub(super) type Answers = BTreeMap<String, RefOr<Response>>;

/// One answer: the HTTP status, what it means, the name of its schema, its body.
pub(super) type Row = (u16, &'static str, &'static str, Value);

/// The rows of each status are examples of one answer.
pub(super) fn answers(rows: Vec<Row>) -> Answers {
    let mut by_status: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
    for row in rows {
        by_status.entry(row.0).or_default().push(row);
    }
    by_status.into_iter().map(|(status, rows)| (status.to_string(), answer(rows))).collect()
}

fn answer(rows: Vec<Row>) -> RefOr<Response> {
    let meanings: Vec<_> = rows.iter().map(|(_, means, ..)| *means).collect();
    let schema = rows.first().map(|(_, _, schema, _)| Ref::from_schema_name(*schema));
    let examples = rows.into_iter().zip(1..).map(|((_, means, _, body), n)| {
        (format!("row_{n:02}"), ExampleBuilder::new().summary(means).value(Some(body)).build())
    });
    let content = ContentBuilder::new()
        .schema(schema)
        .examples_from_iter::<Vec<(String, Example)>, _, _>(examples.collect());
    let response = ResponseBuilder::new().description(meanings.join("; "));
    response.content("application/json", content.build()).into()
}

/// A text, or a whole number as its digits.
pub(super) fn loose() -> Schema {
    let types = SchemaType::Array(vec![Type::String, Type::Integer]);
    ObjectBuilder::new().schema_type(types).build().into()
}

/// As [`loose`]; null counts as empty.
pub(super) fn looser() -> Schema {
    let types = SchemaType::Array(vec![Type::String, Type::Integer, Type::Null]);
    let what = "A text, or a whole number as its digits; null counts as empty";
    ObjectBuilder::new().schema_type(types).description(Some(what)).build().into()
}

/// One of these numbers.
pub(super) fn codes(codes: &[u16]) -> Schema {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(codes.to_vec())).build().into()
}

/// What the platform dialect takes in a query it takes in the body of a POST too, as a form or as JSON.
pub fn also_by_post(document: &mut Value) {
    for (_, item) in document["paths"].as_object_mut().into_iter().flatten() {
        if item["get"]["x-dialect"] != "platform" {
            continue;
        }
        let mut post = item["get"].clone();
        let id = post["operationId"].as_str().unwrap_or_default();
        post["operationId"] = format!("{id}_by_post").into();
        let taken = post.as_object_mut().and_then(|post| post.remove("parameters"));
        let taken: Vec<_> =
            taken.as_ref().and_then(Value::as_array).into_iter().flatten().collect();
        let of_each = |member: &str| -> Map<_, _> {
            let named = |one: &Value| Some((one["name"].as_str()?.to_owned(), one[member].clone()));
            taken.iter().filter_map(|one| named(one)).collect()
        };
        if !taken.is_empty() {
            let schema = json!({ "type": "object", "properties": of_each("schema") });
            let media = json!({ "schema": schema, "example": of_each("example") });
            post["requestBody"] = json!({ "content": {
                "application/x-www-form-urlencoded": media, "application/json": media,
            } });
        }
        item["post"] = post;
    }
}
