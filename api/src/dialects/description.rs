//! How the dialects are described: each answer of an endpoint is an example, with what it means.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::{flask, mall};

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
    ),
    components(schemas(mall::described::Answer, mall::described::AnswerUnderSms, flask::described::Answer)),
    tags(
        (name = "mall", description = "The wire format of a Spring Cloud shop's SMS service, where it is enabled"),
        (name = "flask", description = "The wire format of an Aliyun SMS service in Flask, where it is enabled"),
    )
)]
pub struct Described;

/// One answer: what it means, the body's code, its text.
pub(super) type Row = (&'static str, u16, &'static str);

/// HTTP 200 with any of these rows, and 401 with the one for callers without a valid token, where there is one.
pub(super) fn answers(
    schema: &str,
    rows: &[&[Row]],
    unauthorized: Option<Row>,
    body: impl Fn(u16, &str) -> Value,
) -> BTreeMap<String, RefOr<Response>> {
    let response = |description: &str, rows: &mut dyn Iterator<Item = &Row>| {
        let examples = rows.enumerate().map(|(n, (means, code, text))| {
            let example = ExampleBuilder::new().summary(*means).value(Some(body(*code, text)));
            (format!("row_{:02}", n + 1), example.build())
        });
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(schema)))
            .examples_from_iter(examples.collect::<Vec<(String, Example)>>());
        let response = ResponseBuilder::new().description(description);
        RefOr::from(response.content("application/json", content.build()))
    };
    let handled = "Handled: the body's `code` says how it went";
    let mut answers = BTreeMap::from([(
        "200".to_owned(),
        response(handled, &mut rows.iter().copied().flatten()),
    )]);
    if let Some(row) = unauthorized {
        answers.insert("401".to_owned(), response("No valid token", &mut [row].iter()));
    }
    answers
}

/// A text, or a whole number as its digits.
pub(super) fn loose() -> Schema {
    let types = SchemaType::Array(vec![Type::String, Type::Integer]);
    ObjectBuilder::new().schema_type(types).build().into()
}

/// A text, or a whole number as its digits; anything else counts as none.
pub(super) fn looser() -> Schema {
    let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    any.description(Some("A text, or a number as its digits; anything else counts as empty"))
        .build()
        .into()
}

/// One of these numbers.
pub(super) fn codes(codes: &[u16]) -> Schema {
    ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(codes.to_vec())).build().into()
}
