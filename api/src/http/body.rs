//! A request's JSON body: an object whose fields are taken one by one, so that every wrong one is named.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::http::problem::{Code, FieldError, Problem};

/// The largest body that is read, in bytes.
pub const LARGEST: usize = 16 * 1024;

/// Wrong fields that are named, at the most: a small body of many must not ask for a large answer.
const MOST_ERRORS: usize = 32;

/// A body that is a JSON object, with the bytes that it was read from.
#[derive(Debug)]
pub struct Body {
    /// What an idempotency key's fingerprint is made of.
    pub raw: Bytes,
    pub fields: Fields,
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::new(Code::ContentTypeUnsupported));
        }
        // Also counts what comes without a Content-Length, through the router's body limit.
        let raw = Bytes::from_request(request, state).await.map_err(|rejection| match rejection
            .status()
        {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge),
            _ => Problem::new(Code::BodyMalformed).detail("the body broke off"),
        })?;
        let value = serde_json::from_slice(&raw).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Problem::new(Code::BodyMalformed).detail(format!("not JSON at {place}"))
        })?;
        match value {
            Value::Object(members) => Ok(Self { raw, fields: Fields::new(members) }),
            _ => Err(Problem::new(Code::FieldsInvalid).detail("the body is not a JSON object")),
        }
    }
}

fn is_json(request: &Request) -> bool {
    let Some(Ok(text)) = request.headers().get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Members yet to be taken, and what was wrong with those that were.
#[derive(Debug)]
pub struct Fields {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub fn new(members: Map<String, Value>) -> Self {
        Self { members, errors: Vec::new() }
    }

    pub fn has(&self, field: &str) -> bool {
        self.members.contains_key(field)
    }

    /// A text of 1 to `longest` bytes. Where it is missing or wrong that is noted, and the text is empty.
    pub fn text(&mut self, field: &str, longest: usize) -> String {
        if !self.has(field) {
            self.note(field, "missing", "is needed");
        }
        self.optional_text(field, longest).unwrap_or_default()
    }

    /// As [`Fields::text`]; missing and null are nothing.
    pub fn optional_text(&mut self, field: &str, longest: usize) -> Option<String> {
        match self.members.remove(field)? {
            Value::Null => None,
            Value::String(text) if (1..=longest).contains(&text.len()) => Some(text),
            Value::String(_) => self.wrong(field, "length", format!("has 1 to {longest} bytes")),
            _ => self.wrong(field, "type", "is a text"),
        }
    }

    /// As [`Fields::text`], of what is shown to nobody.
    pub fn secret(&mut self, field: &str, longest: usize) -> SecretString {
        SecretString::from(self.text(field, longest))
    }

    /// `true` or `false`; missing and null are nothing.
    pub fn optional_flag(&mut self, field: &str) -> Option<bool> {
        match self.members.remove(field)? {
            Value::Null => None,
            Value::Bool(flag) => Some(flag),
            _ => self.wrong(field, "type", "is true or false"),
        }
    }

    /// `true` or `false`; missing and null are false.
    pub fn flag(&mut self, field: &str) -> bool {
        self.optional_flag(field).unwrap_or(false)
    }

    /// An optional whole number within these bounds.
    pub fn optional_number(&mut self, field: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let number = match self.members.remove(field)? {
            Value::Null => return None,
            value => value.as_i64().filter(|number| bounds.contains(number)),
        };
        let (least, most) = bounds.into_inner();
        number.or_else(|| self.wrong(field, "range", format!("is a number from {least} to {most}")))
    }

    /// A whole number within these bounds. Where it is missing or wrong that is noted, and the number is 0.
    pub fn number(&mut self, field: &str, bounds: RangeInclusive<i64>) -> i64 {
        if self.members.get(field).is_none_or(Value::is_null) {
            self.members.remove(field);
            self.note(field, "missing", "is needed");
        }
        self.optional_number(field, bounds).unwrap_or_default()
    }

    /// An optional text read as `T`.
    pub fn parsed<T>(
        &mut self,
        field: &str,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.optional_text(field, 128)?;
        read(&text).or_else(|| self.wrong(field, "format", format!("is {what}")))
    }

    pub fn address(&mut self, field: &str) -> Option<IpAddr> {
        self.parsed(field, "an IPv4 or IPv6 address", |text| {
            text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
        })
    }

    /// A list of 1 to `most` texts of 1 to `longest` bytes each.
    pub fn list(&mut self, field: &str, most: usize, longest: usize) -> Vec<String> {
        let Some(Value::Array(values)) = self.members.remove(field) else {
            return self.wrong(field, "type", "is a list of texts").unwrap_or_default();
        };
        if !(1..=most).contains(&values.len()) {
            return self.wrong(field, "length", format!("has 1 to {most}")).unwrap_or_default();
        }
        let fine = |text: &String| (1..=longest).contains(&text.len());
        let texts: Option<Vec<_>> =
            values.into_iter().map(|v| v.as_str().map(str::to_owned).filter(fine)).collect();
        let what = || format!("each is a text of 1 to {longest} bytes");
        texts.or_else(|| self.wrong(field, "type", what())).unwrap_or_default()
    }

    /// A text, or a whole number as its digits, as older clients may write it; nothing where there is neither.
    pub fn loose(&mut self, field: &str) -> Option<String> {
        match self.members.remove(field)? {
            Value::String(text) => Some(text),
            Value::Number(number) if number.is_u64() => Some(number.to_string()),
            _ => None,
        }
    }

    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.members.remove(field)
    }

    /// An object of texts; missing is empty.
    pub fn texts(&mut self, field: &str) -> std::collections::BTreeMap<String, String> {
        let texts = match self.members.remove(field) {
            None | Some(Value::Null) => Some(std::collections::BTreeMap::new()),
            Some(Value::Object(members)) => members
                .into_iter()
                .map(|(name, value)| Some((name, value.as_str()?.to_owned())))
                .collect(),
            Some(_) => None,
        };
        texts.or_else(|| self.wrong(field, "type", "is an object of texts")).unwrap_or_default()
    }

    /// A list of texts, each read as `T`, at most `most`; missing and null are an empty one.
    pub fn parsed_list<T>(
        &mut self,
        field: &str,
        most: usize,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let list = match self.members.remove(field) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(list)) if list.len() <= most => list,
            _ => {
                self.note(field, "type", format!("is a list of at most {most} texts"));
                return Vec::new();
            }
        };
        let read: Option<Vec<T>> = list.iter().map(|text| read(text.as_str()?)).collect();
        read.or_else(|| self.wrong(field, "format", format!("each is {what}"))).unwrap_or_default()
    }

    /// Whether anything was wrong with a field.
    pub fn has_errors(&self, field: &str) -> bool {
        self.errors.iter().any(|error| error.field == field)
    }

    /// Notes what is wrong with a field.
    pub fn note(&mut self, field: &str, code: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError { field: field.to_owned(), code, detail: detail.into() });
    }

    fn wrong<T>(
        &mut self,
        field: &str,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Option<T> {
        self.note(field, code, detail);
        None
    }

    /// Refuses if any field was wrong, or is one that nobody asked for: a misspelt `client_ip` must not pass
    /// for none.
    pub fn done(mut self) -> Result<(), Problem> {
        let unknown = self.members.keys().take(MOST_ERRORS).map(|field| FieldError {
            field: field.chars().take(64).collect(),
            code: "unknown",
            detail: "is no field of this request".to_owned(),
        });
        self.errors.extend(unknown);
        self.errors.truncate(MOST_ERRORS);
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(Problem::new(Code::FieldsInvalid).errors(&self.errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        let Value::Object(members) = value else { panic!("an object") };
        Fields::new(members)
    }

    #[test]
    fn every_wrong_field_is_named() {
        let mut body =
            fields(json!({"phone": 1, "client_ip": "x", "purpose": "", "clientIp": "y"}));
        body.text("phone", 32);
        body.text("purpose", 64);
        body.text("code", 32);
        body.address("client_ip");
        let problem = body.done().unwrap_err().body("id");
        let named: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| format!("{} {}", e["field"].as_str().unwrap(), e["code"].as_str().unwrap()))
            .collect();
        assert_eq!(
            named,
            [
                "phone type",
                "purpose length",
                "code missing",
                "client_ip format",
                "clientIp unknown"
            ]
        );
    }

    #[test]
    fn of_very_many_wrong_fields_the_first_are_named() {
        let unknown = (0..2000).map(|n| (format!("f{n}"), Value::Null)).collect();
        let mut body = fields(Value::Object(unknown));
        body.text("phone", 32);
        let problem = body.done().unwrap_err().body("id");
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!((errors.len(), &errors[0]["field"]), (32, &json!("phone")));
        assert!(problem.to_string().len() < 4096, "{problem}");
    }

    #[test]
    fn what_is_right_is_taken() {
        let mut body = fields(json!({
            "phone": "1", "locale": null, "client_ip": "::ffff:203.0.113.7", "params": {"a": "b"}
        }));
        assert_eq!(body.text("phone", 32), "1");
        assert_eq!(body.optional_text("locale", 35), None);
        assert_eq!(body.address("client_ip"), Some("203.0.113.7".parse().unwrap()));
        assert_eq!(body.texts("params")["a"], "b");
        assert!(body.done().is_ok());
    }
}
