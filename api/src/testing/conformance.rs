//! Holds every answer that a test sees against the API's own description: what isn't described must not be answered.
//! The black-box tests include this file too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderMap;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

/// Headers that HTTP itself answers with.
const USUAL: [&str; 9] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "referrer-policy",
    "x-content-type-options",
];

/// The description, strict: its objects have no members but those that are described.
pub(crate) struct Conformance {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// A request and what it was answered.
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) sent: &'a [u8],
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Conformance {
    pub(crate) fn new(document: &Value) -> Self {
        let mut document = document.clone();
        close(&mut document["components"]["schemas"]);
        Self { document, validators: Mutex::default() }
    }

    /// Panics where an answer isn't as it is described.
    pub(crate) fn assert(&self, exchange: &Exchange<'_>) {
        if let Err(why) = self.check(exchange) {
            let Exchange { method, target, status, .. } = exchange;
            let body = String::from_utf8_lossy(exchange.body);
            panic!(
                "{method} {target} was answered {status}, which isn't as described: {why}\n{body}"
            );
        }
    }

    pub(crate) fn check(&self, exchange: &Exchange<'_>) -> Result<(), String> {
        let (path, query) = exchange.target.split_once('?').unwrap_or((exchange.target, ""));
        let template = self.template(path);
        let method = exchange.method.to_ascii_lowercase();
        let method = if method == "head" { "get" } else { &method };
        let place = template.map(|template| format!("/paths/{}/{method}", escaped(template)));
        let operation = place.as_deref().and_then(|place| self.document.pointer(place));
        if let Some(alike) = self.dialect(template.unwrap_or(path)) {
            let own = place.filter(|_| operation.is_some());
            return self.in_dialect(own.as_deref(), &alike, exchange);
        }
        let (Some(operation), Some(place)) = (operation, place) else {
            let (status, name) = template.map_or((404, "UnknownPath"), |_| (405, "OtherMethod"));
            return self.unrouted(exchange, status, name);
        };
        if (200..300).contains(&exchange.status) {
            Self::parameters(operation, query)?;
            self.request(&place, exchange.sent)?;
        }
        self.response(&format!("{place}/responses/{}", exchange.status), exchange)
    }

    /// The described path that this one is of; where several are, the one with the most that is literal.
    fn template(&self, path: &str) -> Option<&str> {
        let fits = |template: &&String| {
            let (mut wanted, mut given) = (template.split('/'), path.split('/'));
            wanted.clone().count() == given.clone().count()
                && wanted.all(|w| {
                    given.next().is_some_and(|g| w == g || (w.starts_with('{') && !g.is_empty()))
                })
        };
        let paths = self.document["paths"].as_object()?.keys().filter(fits);
        paths.min_by_key(|template| template.matches('{').count()).map(String::as_str)
    }

    /// An endpoint of the dialect that this path lies in, if it lies in one.
    fn dialect(&self, path: &str) -> Option<String> {
        let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
        let paths = self.document["paths"].as_object()?.iter();
        let alike = paths.filter(|(template, _)| first(template) == first(path));
        let operations = alike.flat_map(|(template, item)| {
            let methods = item.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (template, method, operation))
        });
        let (template, method, _) = operations
            .filter(|(_, _, operation)| operation["x-dialect"].is_string())
            .max_by_key(|(template, _, operation)| {
                (*template == path, operation["responses"].as_object().map(Map::len))
            })?;
        Some(format!("/paths/{}/{method}", escaped(template)))
    }

    /// What isn't there is answered as what lies beside it. The body says what HTTP says elsewhere.
    fn in_dialect(
        &self,
        own: Option<&str>,
        alike: &str,
        exchange: &Exchange<'_>,
    ) -> Result<(), String> {
        let kind = exchange.headers.get("content-type").map(axum::http::HeaderValue::as_bytes);
        if exchange.status == 404 && kind == Some(b"application/problem+json") {
            // A dialect that the operator doesn't serve isn't there at all.
            return self.unrouted(exchange, 404, "UnknownPath");
        }
        let body: Value = serde_json::from_slice(exchange.body).unwrap_or_default();
        if let Some(own) = own.filter(|_| body["code"] == 200) {
            self.request(own, exchange.sent)?;
        }
        let place = own.unwrap_or(alike);
        self.response(&format!("{place}/responses/{}", exchange.status), exchange)
    }

    fn unrouted(&self, exchange: &Exchange<'_>, status: u16, name: &str) -> Result<(), String> {
        if exchange.status != status {
            return Err("nothing of this path and method is described".to_owned());
        }
        self.response(&format!("/components/responses/{name}"), exchange)
    }

    fn parameters(operation: &Value, query: &str) -> Result<(), String> {
        let described = operation["parameters"].as_array().into_iter().flatten();
        let known: Vec<_> =
            described.filter(|one| one["in"] == "query").map(|one| &one["name"]).collect();
        let names = query.split('&').filter_map(|pair| pair.split('=').next());
        let mut unknown =
            names.filter(|name| !name.is_empty() && !known.contains(&&(*name).into()));
        unknown
            .next()
            .map_or(Ok(()), |name| Err(format!("the query parameter {name} isn't described")))
    }

    /// What was accepted must be what the description lets in.
    fn request(&self, place: &str, sent: &[u8]) -> Result<(), String> {
        let schema = format!("{place}/requestBody/content/application~1json/schema");
        if self.document.pointer(&schema).is_none() {
            return Ok(());
        }
        let sent = serde_json::from_slice(sent).map_err(|_| "accepted what is not JSON")?;
        self.valid(&schema, &sent).map_err(|why| format!("the request was accepted, but {why}"))
    }

    fn response(&self, place: &str, exchange: &Exchange<'_>) -> Result<(), String> {
        let response = self.document.pointer(place).ok_or("the status isn't described")?;
        self.headers(response, exchange.headers)?;
        if exchange.method == "HEAD" {
            return Ok(());
        }
        let given = exchange.headers.get("content-type").and_then(|value| value.to_str().ok());
        let given = given.map(|text| text.split(';').next().unwrap_or_default().trim());
        let described = response["content"].as_object();
        let (Some(given), Some(described)) = (given, described) else {
            let nothing = given.is_none() && described.is_none() && exchange.body.is_empty();
            return if nothing { Ok(()) } else { Err(format!("its type is {given:?}")) };
        };
        let kind = [given, "*/*"].into_iter().find(|kind| described.contains_key(*kind));
        let kind = kind.ok_or_else(|| format!("its type is {given}"))?;
        if !given.ends_with("json") || kind == "*/*" {
            return Ok(());
        }
        let body = serde_json::from_slice(exchange.body).map_err(|_| "its body is not JSON")?;
        self.valid(&format!("{place}/content/{}/schema", escaped(kind)), &body)
    }

    fn headers(&self, response: &Value, given: &HeaderMap) -> Result<(), String> {
        let none = Map::new();
        let described = response["headers"].as_object().unwrap_or(&none);
        let undescribed = given.keys().map(axum::http::HeaderName::as_str).find(|name| {
            !USUAL.contains(name) && !described.keys().any(|known| known.eq_ignore_ascii_case(name))
        });
        if let Some(name) = undescribed {
            return Err(format!("the header {name} isn't described"));
        }
        for (name, header) in described {
            let place = header["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
            let header = place.and_then(|place| self.document.pointer(place)).unwrap_or(header);
            match given.get(name).map(|value| value.to_str().unwrap_or_default()) {
                None if header["required"] == true => return Err(format!("no header {name}")),
                Some(text) => {
                    let value = match header["schema"]["type"].as_str() {
                        Some("integer") => text.parse::<i64>().map_or(Value::Null, Value::from),
                        _ => text.into(),
                    };
                    let schema = place.map(|place| format!("{place}/schema"));
                    schema
                        .map_or(Ok(()), |schema| self.valid(&schema, &value))
                        .map_err(|why| format!("the header {name}: {why}"))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Whether a value is as the schema at this place says.
    pub(crate) fn valid(&self, place: &str, value: &Value) -> Result<(), String> {
        let validator = self.validator(place);
        let wrong: Vec<_> = validator
            .iter_errors(value)
            .map(|error| format!("{} at {:?}", error, error.instance_path().as_str()))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Compiled once.
    fn validator(&self, place: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validator) = validators.get(place) {
            return Arc::clone(validator);
        }
        let schema = serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [self.document.pointer(place).unwrap()],
            "components": { "schemas": self.document["components"]["schemas"] },
        });
        let options = jsonschema::options().with_draft(Draft::Draft202012);
        let validator = Arc::new(options.should_validate_formats(true).build(&schema).unwrap());
        validators.insert(place.to_owned(), Arc::clone(&validator));
        validator
    }
}

/// Callers must bear members that they don't know; tests must not.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object)
                && members.get("type").is_some_and(|kind| kind == "object")
            {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// As a JSON pointer writes a name.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
