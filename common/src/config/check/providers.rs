//! What a provider can't work without.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::super::load::{ConfigError, wrong};
use super::super::providers::{Provider, ProviderKind};
use super::super::sections::{Settings, Template};
use super::check_retry;
use crate::model::template::places;

pub(super) fn all(settings: &Settings) -> Result<(), ConfigError> {
    let shortest = shortest_wait(settings);
    for (name, provider) in &settings.providers {
        check_provider(name, provider, shortest)?;
        check_fields(name, provider, &settings.templates)?;
    }
    check_aliyun_templates(settings)
}

/// The least that a message may wait for its provider; a code's deadline leaves a third of its life for its use.
fn shortest_wait(settings: &Settings) -> Duration {
    let of_purposes = settings.purposes.values().filter_map(|purpose| purpose.ttl);
    let lives = of_purposes.chain([settings.code.ttl, settings.flask_rules().ttl]).min();
    settings.notices.ttl.min(lives.unwrap_or_default() * 2 / 3)
}

fn check_provider(
    name: &str,
    provider: &Provider,
    shortest_wait: Duration,
) -> Result<(), ConfigError> {
    let key = |field: &str| format!("providers.{name}.{field}");
    check_credentials(name, provider)?;
    if let Some(endpoint) = &provider.endpoint {
        let scheme = url::Url::parse(endpoint).map(|url| url.scheme().to_owned());
        if !scheme.is_ok_and(|scheme| ["http", "https"].contains(&scheme.as_str())) {
            return Err(wrong(
                key("endpoint"),
                "must be a URL that starts with http:// or https://",
            ));
        }
    }
    check_foreign_prefix(provider).map_err(|problem| wrong(key("foreign_prefix"), problem))?;
    for (field, timeout) in
        [("connect_timeout", provider.connect_timeout), ("read_timeout", provider.read_timeout)]
    {
        if timeout.is_zero() {
            return Err(wrong(key(field), "must be greater than zero"));
        }
    }
    if provider.kind != ProviderKind::Sandbox && provider.connect_timeout * 2 > shortest_wait {
        let problem = format!(
            "must be at most {}: half of the shortest time that a message may wait (notices.ttl, or two thirds of a \
             code's ttl)",
            humantime::format_duration(shortest_wait / 2)
        );
        return Err(wrong(key("connect_timeout"), problem));
    }
    provider.retry.as_ref().map_or(Ok(()), |retry| check_retry(&key("retry"), retry))
}

fn check_credentials(name: &str, provider: &Provider) -> Result<(), ConfigError> {
    let needed = match provider.kind {
        ProviderKind::Aliyun => vec![
            ("access_key_id", &provider.access_key_id, " (or ALIBABA_CLOUD_ACCESS_KEY_ID)"),
            (
                "access_key_secret",
                &provider.access_key_secret,
                " (or ALIBABA_CLOUD_ACCESS_KEY_SECRET)",
            ),
        ],
        ProviderKind::Spug => vec![("token", &provider.token, "")],
        ProviderKind::Sandbox => Vec::new(),
    };
    let missing = |secret: &Option<secrecy::SecretString>| {
        secret.as_ref().is_none_or(|secret| secret.expose_secret().is_empty())
    };
    match needed.into_iter().find(|(_, value, _)| missing(value)) {
        Some((field, _, other)) => {
            let problem = format!("is required by this kind of provider{other}; must not be empty");
            Err(wrong(format!("providers.{name}.{field}"), problem))
        }
        None => Ok(()),
    }
}

/// Other prefixes could make of a foreign number what the provider takes for a mainland one.
fn check_foreign_prefix(provider: &Provider) -> Result<(), &'static str> {
    let Some(prefix) = provider.foreign_prefix.as_deref() else { return Ok(()) };
    if provider.kind != ProviderKind::Aliyun {
        return Err("is a setting of kind = \"aliyun\"");
    }
    if ["00", "+"].contains(&prefix) { Ok(()) } else { Err("must be \"00\" or \"+\"") }
}

/// A name that is no parameter of ours maps nothing, and two parameters under one name lose one of them.
fn check_fields(
    name: &str,
    provider: &Provider,
    templates: &BTreeMap<String, Template>,
) -> Result<(), ConfigError> {
    let key = |field: &str| format!("providers.{name}.fields.{field}");
    let fields = &provider.fields;
    let Some(first) = fields.keys().next() else { return Ok(()) };
    if provider.kind != ProviderKind::Spug {
        return Err(wrong(key(first), "fields are a setting of kind = \"spug\""));
    }
    let known: BTreeSet<&str> = templates.values().flat_map(parameters).collect();
    for (field, theirs) in fields {
        if !known.contains(field.as_str()) {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            let problem = format!(
                "unknown parameter; must be one of {} (`phone`, `code`, and the places of templates)",
                known.join(", ")
            );
            return Err(wrong(key(field), problem));
        }
        if theirs.is_empty() {
            return Err(wrong(key(field), "must not be empty"));
        }
    }
    let written = |ours: &str| match (fields.get(ours), ours) {
        (Some(theirs), _) => theirs.clone(),
        (None, "phone") => "targets".to_owned(),
        (None, ours) => ours.to_owned(),
    };
    for parameters in templates.values().map(parameters) {
        let mut taken = BTreeMap::new();
        for ours in parameters {
            if let Some(other) = taken.insert(written(ours), ours) {
                let problem = format!(
                    "`{ours}` and `{other}` would both be `{}`; must differ",
                    written(ours)
                );
                let named = if fields.contains_key(ours) { ours } else { other };
                return Err(wrong(key(named), problem));
            }
        }
    }
    Ok(())
}

/// The parameters that a provider is given of a message with this template, each once.
fn parameters(template: &Template) -> BTreeSet<&str> {
    let places = places(&template.text).unwrap_or_default();
    let given = places.into_iter().filter(|place| !["sign", "minutes"].contains(place));
    given.chain(["phone", "code"]).collect()
}

/// With Alibaba Cloud alone, a template without its code there could never be sent.
fn check_aliyun_templates(settings: &Settings) -> Result<(), ConfigError> {
    let mut kinds = settings.providers.values().map(|provider| provider.kind);
    if settings.providers.is_empty() || kinds.any(|kind| kind != ProviderKind::Aliyun) {
        return Ok(());
    }
    for (name, template) in &settings.templates {
        if template.aliyun.as_ref().is_none_or(|code| code.trim().is_empty()) {
            return Err(wrong(
                format!("templates.{name}.aliyun"),
                "is required where Alibaba Cloud is the only provider: the code of its template, such as SMS_0000",
            ));
        }
        if template.sign.trim().is_empty() {
            return Err(wrong(
                format!("templates.{name}.sign"),
                "is required where Alibaba Cloud is the only provider: a sign (签名) that it has approved",
            ));
        }
    }
    Ok(())
}
