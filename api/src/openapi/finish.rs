//! Adds to every operation what none should have to say: who may call it, its problems and its headers.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::bodies;
use super::problems::{self, Who};
use crate::dialects::also_by_post;
use crate::http::problem::Code;

/// The members of a path that aren't operations.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// What a failed log-in, change of password or registration is told with what is left of its limits.
const COUNTED: [Code; 5] = [
    Code::CredentialsInvalid,
    Code::PasswordWrong,
    Code::SecurityAnswerWrong,
    Code::LoginLimited,
    Code::IpLimited,
];

pub(super) fn finished(described: OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    also_by_post(&mut document);
    let mut requests = Vec::new();
    for operation in operations_mut(&mut document) {
        finish(operation);
        let is_open = operation["x-dialect"].is_string();
        requests.extend(bodies::request(operation).map(|place| (place, is_open)));
    }
    bodies::flatten(&mut document);
    bodies::open_or_close(&mut document, requests);
    let components = &mut document["components"];
    components["headers"] = headers();
    components["examples"] = problems::examples();
    components["schemas"]["Problem"] = problem();
    components["securitySchemes"]["bearer"] = bearer();
    for (name, code) in ["UnknownPath", "OtherMethod"].into_iter().zip(problems::UNROUTED) {
        components["responses"][name] = response(&[*code]);
        add_headers(&mut components["responses"][name], code.status().as_str(), &[]);
    }
    document
}

fn operations_mut(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(_, item)| {
        let members = item.as_object_mut().into_iter().flatten();
        members.filter(|(name, _)| METHODS.contains(&name.as_str())).map(|(_, operation)| operation)
    })
}

fn finish(operation: &mut Value) {
    let who = match Who::of(operation) {
        Who::Anybody => "anybody".to_owned(),
        Who::LoggedIn => "whoever is logged in, with any token and no API key".to_owned(),
        Who::Scope(scope) => format!("a token or an API key with the scope `{scope}`"),
        Who::ScopeOrTrust(scope) => {
            format!("a token or an API key with the scope `{scope}`, or whoever is let in without")
        }
    };
    let said = operation["description"].as_str().unwrap_or_default();
    operation["description"] = format!("{said}\n\n**Who:** {who}.").trim().into();
    let codes = problems::of_operation(operation);
    operation["x-problems"] = codes.iter().map(|code| code.word()).collect();
    let responses = &mut operation["responses"];
    for status in statuses(&codes) {
        let alike: Vec<_> =
            codes.iter().copied().filter(|code| code.status().as_u16() == status).collect();
        merge(&mut responses[status.to_string()], response(&alike));
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        add_headers(response, status, &codes);
    }
}

fn add_headers(response: &mut Value, status: &str, codes: &[Code]) {
    let own = response.pointer("/content/application~1json").is_some();
    let headers = &mut response["headers"];
    for (name, described) in headers_of(status, own, codes) {
        headers[name] = json!({ "$ref": format!("#/components/headers/{described}") });
    }
}

fn statuses(codes: &[Code]) -> Vec<u16> {
    let mut statuses: Vec<_> = codes.iter().map(|code| code.status().as_u16()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The headers of an answer of an operation with these codes, each with its name among the components.
fn headers_of(status: &str, own: bool, codes: &[Code]) -> Vec<(&'static str, &'static str)> {
    let mut names = vec![("X-Request-Id", "X-Request-Id")];
    match status {
        "401" => names.push(("WWW-Authenticate", "WWW-Authenticate")),
        "405" => names.push(("Allow", "Allow")),
        "409" if codes.contains(&Code::RequestInFlight) => {
            names.push(("Retry-After", "Retry-After-Maybe"));
        }
        // A 503 that isn't only a problem is /readyz's, and has none.
        "503" if own => names.push(("Retry-After", "Retry-After-Maybe")),
        // A ban that ends says when.
        "403" if codes.contains(&Code::PhoneBlocked) => {
            names.push(("Retry-After", "Retry-After-Maybe"));
        }
        "429" | "503" => names.push(("Retry-After", "Retry-After")),
        _ => {}
    }
    let guarded = codes.contains(&Code::PhoneLimited)
        && matches!(status, "200" | "202" | "403" | "404" | "409" | "422" | "429");
    let counted =
        codes.iter().any(|code| code.status().as_str() == status && COUNTED.contains(code));
    if guarded || counted {
        names.extend(["RateLimit", "RateLimit-Policy"].map(|name| (name, name)));
    }
    names
}

/// The answer of problems that share a status.
fn response(codes: &[Code]) -> Value {
    let titles: Vec<_> =
        codes.iter().map(|code| format!("`{}`: {}", code.word(), code.title())).collect();
    let words: Vec<_> = codes.iter().map(|code| code.word()).collect();
    let status = codes.first().map(|code| code.status().as_u16());
    let example = |code: &Code| {
        let word = code.word();
        (word.to_owned(), json!({ "$ref": format!("#/components/examples/{word}") }))
    };
    json!({
        "description": titles.join("; "),
        "content": { "application/problem+json": {
            "schema": {
                "allOf": [{ "$ref": "#/components/schemas/Problem" }],
                "properties": { "code": { "enum": words }, "status": { "const": status } },
            },
            "examples": codes.iter().map(example).collect::<Map<_, _>>(),
        } },
    })
}

/// An answer that is there already keeps its own body beside the problem's.
fn merge(there: &mut Value, problem: Value) {
    let Value::Object(there) = there else {
        *there = problem;
        return;
    };
    let own = there.entry("content").or_insert_with(|| json!({}));
    if let (Value::Object(own), Value::Object(more)) = (own, problem["content"].clone()) {
        own.extend(more);
    }
    let texts = [there.get("description"), problem.get("description")];
    let texts: Vec<_> = texts.into_iter().flatten().filter_map(Value::as_str).collect();
    let both = texts.join("; ");
    there.insert("description".to_owned(), both.into());
}

fn problem() -> Value {
    let text = |description| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457)",
        "required": ["type", "title", "status", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri", "description": "`urn:postrider:problem:` and the code" },
            "title": text("The same for every occurrence"),
            "status": { "type": "integer", "description": "The HTTP status" },
            "detail": text("What is the matter this time; never of a 5xx"),
            "code": { "type": "string", "enum": Code::ALL.iter().map(|code| code.word()).collect::<Vec<_>>() },
            "request_id": text("As in `X-Request-Id`; name it when you ask the operator"),
            "errors": {
                "type": "array",
                "description": "Each wrong field",
                "items": {
                    "type": "object",
                    "required": ["field", "code", "detail"],
                    "properties": {
                        "field": text("Its name, with dots between parts"),
                        "code": text("A stable word"),
                        "detail": text("What is the matter with it"),
                    },
                },
            },
            "rejected": {
                "type": "array",
                "description": "Of a notice to many, where none was accepted: each phone with its own code",
                "items": { "$ref": "#/components/schemas/NoticeRejected" },
            },
            "attempts_left": {
                "type": "integer", "minimum": 0, "description": "Of `code_mismatch`: tries that are left",
            },
        },
    })
}

fn headers() -> Value {
    let header = |description: &str, required: bool, schema: Value| json!({ "description": description, "required": required, "schema": schema });
    let seconds = json!({ "type": "integer", "minimum": 1 });
    let text = |example: &str| json!({ "type": "string", "minLength": 1, "examples": [example] });
    json!({
        "X-Request-Id": header(
            "The caller's own, where it is 1 to 64 letters, digits, `.`, `_` and `-`; else one made here", true,
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
        ),
        "Allow": header("The methods that there are", true, text("POST")),
        "WWW-Authenticate": header("How to authenticate", true, json!({ "type": "string", "const": "Bearer" })),
        "Retry-After": header("Seconds until it is worth trying again", true, seconds.clone()),
        "Retry-After-Maybe": header("Seconds until it is worth trying again, where that is known", false, seconds),
        "RateLimit-Policy": header(
            "What is allowed: quota and window in seconds of each limit", false,
            text("\"phone-60s\";q=1;w=60"),
        ),
        "RateLimit": header(
            "What is left of it, and in how many seconds there is more", false, text("\"phone-60s\";r=0;t=37"),
        ),
    })
}

fn bearer() -> Value {
    json!({
        "type": "http", "scheme": "bearer",
        "description": "A token of a log-in (`POST /v1/sessions`) or of `postrider-api token`, or an API key (`POST /v1/api-keys`)",
    })
}
