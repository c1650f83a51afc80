//! Adds to every operation what none should have to say: who may call it, its problems, its headers, and that a
//! request has no other fields.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::problems::{self, Who};
use crate::problem::Code;

/// The members of a path that aren't operations.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

pub(super) fn finished(described: OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    repeat(&mut document);
    for (_, _, operation) in operations_mut(&mut document) {
        finish(operation);
        if operation["x-dialect"] == "platform" {
            add_headers_of_problems(operation);
        }
    }
    close_requests(&mut document);
    let components = &mut document["components"];
    components["headers"] = headers();
    components["examples"] = problems::examples();
    components["schemas"]["Problem"] = problem();
    components["securitySchemes"]["bearer"] = bearer();
    for (name, code) in ["UnknownPath", "OtherMethod"].into_iter().zip(problems::UNROUTED) {
        components["responses"][name] = response(&[*code]);
        add_headers(&mut components["responses"][name], code.status().as_str(), false);
    }
    document
}

/// What answers at other paths too, or to a POST as to a GET, is described there too.
fn repeat(document: &mut Value) {
    let mut others = Vec::new();
    for (path, method, operation) in operations_mut(document) {
        let mut take = |name: &str| Some(operation.as_object_mut()?.remove(name)).flatten();
        let (also, post_too) = (take("x-also"), take("x-post-too").is_some());
        let mut paths = vec![path.to_owned()];
        match also {
            Some(Value::String(path)) => paths.push(path),
            Some(Value::Array(more)) => {
                paths.extend(more.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        for (place, path) in paths.into_iter().enumerate() {
            let suffix = if place == 0 { String::new() } else { format!("_too{place}") };
            let mut copy = operation.clone();
            copy["operationId"] = format!("{id}{suffix}").into();
            if post_too {
                let mut post = posted(copy.clone());
                post["operationId"] = format!("{id}{suffix}_by_post").into();
                others.push((path.clone(), "post".to_owned(), post));
            }
            if place > 0 {
                others.push((path, method.to_owned(), copy));
            }
        }
    }
    for (path, method, operation) in others {
        document["paths"][path][method] = operation;
    }
}

/// The same operation with its query's parameters in a form or in JSON.
fn posted(mut operation: Value) -> Value {
    let Some(Value::Array(parameters)) =
        operation.as_object_mut().and_then(|operation| operation.remove("parameters"))
    else {
        return operation;
    };
    let name = |parameter: &Value| parameter["name"].as_str().unwrap_or_default().to_owned();
    let properties: Map<String, Value> =
        parameters.iter().map(|one| (name(one), one["schema"].clone())).collect();
    let required: Vec<_> = parameters.iter().map(name).collect();
    let example: Map<String, Value> =
        parameters.iter().map(|one| (name(one), one["example"].clone())).collect();
    let schema = json!({"type": "object", "properties": properties, "required": required});
    let content = json!({"schema": schema, "example": example});
    operation["requestBody"] = json!({"content": {
        "application/json": content,
        "application/x-www-form-urlencoded": content,
    }});
    operation
}

/// Every operation with its path and method.
fn operations_mut(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object_mut().into_iter().flatten();
        methods
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn finish(operation: &mut Value) {
    let who = match problems::who(operation) {
        Some(Who { scope: Some(scope), is_needed: true }) => {
            format!("**Who:** a token or API key with the scope `{scope}`.")
        }
        Some(Who { scope: Some(scope), is_needed: false }) => {
            format!("**Who:** anybody, or a token or API key with the scope `{scope}`.")
        }
        Some(Who { scope: None, .. }) => {
            "**Who:** any token of a log-in, but no API key.".to_owned()
        }
        None => "**Who:** anybody.".to_owned(),
    };
    let said = operation["description"].as_str().unwrap_or_default();
    operation["description"] = format!("{said}\n\n{who}").trim().into();
    let codes = problems::of_operation(operation);
    let limited = codes.iter().any(|code| code.status().as_u16() == 429);
    let tries = codes.contains(&Code::CredentialsInvalid);
    operation["x-problems"] = codes.iter().map(|code| code.word()).collect();
    let responses = &mut operation["responses"];
    for status in statuses(&codes) {
        let alike: Vec<_> =
            codes.iter().copied().filter(|code| code.status().as_u16() == status).collect();
        merge(&mut responses[status.to_string()], response(&alike));
    }
    for (status, response) in responses.as_object_mut().into_iter().flatten() {
        add_headers(response, status, limited && (status != "401" || tries));
    }
}

/// A dialect whose refusals have statuses of their own has the headers of the problems that it translates.
fn add_headers_of_problems(operation: &mut Value) {
    let responses = operation["responses"].as_object_mut().into_iter().flatten();
    for (_, response) in responses.filter(|(status, _)| status.as_str() >= "400") {
        for (name, described) in [
            ("RateLimit", "RateLimit"),
            ("RateLimit-Policy", "RateLimit-Policy"),
            ("Retry-After", "Retry-After-Maybe"),
            ("WWW-Authenticate", "WWW-Authenticate-Maybe"),
        ] {
            let described = json!({ "$ref": format!("#/components/headers/{described}") });
            response["headers"][name] = described;
        }
    }
}

fn add_headers(response: &mut Value, status: &str, limited: bool) {
    let own = response.pointer("/content/application~1json").is_some();
    let headers = &mut response["headers"];
    for (name, described) in headers_of(status, own, limited) {
        headers[name] = json!({ "$ref": format!("#/components/headers/{described}") });
    }
}

fn statuses(codes: &[Code]) -> Vec<u16> {
    let mut statuses: Vec<_> = codes.iter().map(|code| code.status().as_u16()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The headers of an answer, each with its name among the components.
fn headers_of(status: &str, own: bool, limited: bool) -> Vec<(&'static str, &'static str)> {
    let mut names = vec![("X-Request-Id", "X-Request-Id")];
    match status {
        "401" => names.push(("WWW-Authenticate", "WWW-Authenticate")),
        "405" => names.push(("Allow", "Allow")),
        "409" => names.push(("Retry-After", "Retry-After-Maybe")),
        // A 503 that isn't only a problem is /readyz's, and has none.
        "503" if own => names.push(("Retry-After", "Retry-After-Maybe")),
        "429" | "503" => names.push(("Retry-After", "Retry-After")),
        _ => {}
    }
    let guarded = matches!(status, "200" | "202" | "401" | "403" | "404" | "409" | "422" | "429");
    if limited && guarded {
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

/// What a request's body has no field for is refused.
fn close_requests(document: &mut Value) {
    let ours = operations_mut(document).filter(|(_, _, one)| one["x-dialect"].is_null());
    let bodies = ours.filter_map(|(_, _, operation)| {
        pointer(operation.pointer("/requestBody/content/application~1json/schema")?)
    });
    let mut open: Vec<_> = bodies.collect();
    while let Some(schema) = open.pop().and_then(|pointer| document.pointer_mut(&pointer)) {
        if schema["properties"].is_object() {
            schema["additionalProperties"] = false.into();
        }
        open.extend(schema["oneOf"].as_array().into_iter().flatten().filter_map(pointer));
    }
}

/// Where the schema is that a reference names.
fn pointer(schema: &Value) -> Option<String> {
    schema["$ref"].as_str().map(|reference| reference.trim_start_matches('#').to_owned())
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
    let bearer = json!({ "type": "string", "const": "Bearer" });
    let header = |description: &str, required: bool, schema: Value| json!({ "description": description, "required": required, "schema": schema });
    let seconds = json!({ "type": "integer", "minimum": 1 });
    let text = |example: &str| json!({ "type": "string", "minLength": 1, "examples": [example] });
    json!({
        "X-Request-Id": header(
            "The caller's own, where it is 1 to 64 letters, digits, `.`, `_` and `-`; else one made here", true,
    json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" }),
        ),
        "Allow": header("The methods that there are", true, text("POST")),
        "WWW-Authenticate": header("How to authenticate", true, bearer.clone()),
        "WWW-Authenticate-Maybe": header("How to authenticate, where no token was given", false, bearer),
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
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT or API key",
        "description": "A token of `POST /v1/sessions` or `postrider-api token`, or an API key",
    })
}
