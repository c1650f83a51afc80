//! Refuses settings that can't work, by name, before anything starts.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::accounts::Registration;
use super::load::{ConfigError, wrong};
use super::providers::{Provider, ProviderKind};
use super::sections::{CodeRules, Retry, Settings};
use crate::code;
use crate::phone::{DefaultRegion, PhoneNumber};
use crate::template;

/// The longest life of a code from its first send (NIST SP 800-63B).
const LONGEST_CODE: Duration = Duration::from_mins(10);

pub(super) fn all(settings: &Settings) -> Result<(), ConfigError> {
    settings
        .server
        .default_region
        .parse::<DefaultRegion>()
        .map_err(|problem| wrong("server.default_region", problem))?;
    check_rules("code", settings, &settings.code)?;
    for purpose in settings.purposes.keys() {
        let named_well = (1..=64).contains(&purpose.len())
            && purpose
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b));
        if !named_well {
            return Err(wrong(format!("purposes.{purpose}"), "a purpose is ^[a-z0-9_.-]{1,64}$"));
        }
        let key = format!("purposes.{purpose}");
        check_rules(&key, settings, &settings.code_rules(purpose).unwrap_or_default())?;
    }
    for (name, template) in &settings.templates {
        template::places(&template.text)
            .map_err(|error| wrong(format!("templates.{name}.text"), error.to_string()))?;
        if template.text.is_empty() && template.aliyun.is_none() {
            return Err(wrong(format!("templates.{name}.text"), "is empty"));
        }
        if settings.is_template_of_codes(name) && !template.limits.is_empty() {
            let problem = "codes are sent with this template: limit them in [purposes.NAME.limits]";
            return Err(wrong(format!("templates.{name}.limits"), problem));
        }
    }
    settings.jwt.check()?;
    if settings.jwt.provider().is_some()
        && settings.accounts.registration == Some(Registration::Open)
    {
        let problem = "open beside [jwt], strangers could take the names of its people";
        return Err(wrong("accounts.registration", problem));
    }
    check_dialects(settings)?;
    if let Some((key, problem)) = settings.accounts.problem() {
        return Err(wrong(format!("accounts.{key}"), problem));
    }
    check_retry("retry", &settings.retry)?;
    let shortest = shortest_wait(settings);
    for (name, provider) in &settings.providers {
        check_provider(name, provider, shortest)?;
    }
    check_numbers(settings)
}

fn check_rules(key: &str, settings: &Settings, rules: &CodeRules) -> Result<(), ConfigError> {
    let key = |field: &str| format!("{key}.{field}");
    if !code::DIGITS.contains(&rules.length) {
        return Err(wrong(key("length"), "4 to 9 digits"));
    }
    if rules.ttl.as_secs() == 0 || rules.ttl > LONGEST_CODE {
        return Err(wrong(key("ttl"), "1s to 10m (NIST SP 800-63B)"));
    }
    if rules.max_attempts == 0 || rules.max_sends == 0 {
        return Err(wrong(key("max_attempts, max_sends"), "at least 1"));
    }
    let template = settings.templates.get(&rules.template);
    let template = template
        .ok_or_else(|| wrong(key("template"), format!("no [templates.{}]", rules.template)))?;
    let known = ["sign", "code", "minutes"];
    match template::places(&template.text).unwrap_or_default().iter().find(|p| !known.contains(p)) {
        Some(place) => {
            let problem = format!("`{{{place}}}` is none of {{sign}}, {{code}}, {{minutes}}");
            Err(wrong(format!("templates.{}.text", rules.template), problem))
        }
        None => Ok(()),
    }
}

fn check_dialects(settings: &Settings) -> Result<(), ConfigError> {
    check_rules("dialects.flask", settings, &settings.flask_rules())?;
    for (dialect, anonymous) in settings.dialects.anonymous() {
        let Some(anonymous) = anonymous else { continue };
        let key = |field: &str| format!("dialects.{dialect}.anonymous.{field}");
        if anonymous.account.is_empty() {
            return Err(wrong(key("account"), "names an account"));
        }
        if anonymous.from.is_empty() {
            return Err(wrong(key("from"), "names at least one network"));
        }
    }
    Ok(())
}

fn check_retry(key: &str, retry: &Retry) -> Result<(), ConfigError> {
    let problem = if retry.max_attempts == 0 {
        "max_attempts is at least 1"
    } else if !(retry.factor.is_finite() && retry.factor >= 1.0) {
        "factor is at least 1.0"
    } else if !(0.0..=1.0).contains(&retry.jitter) {
        "jitter is between 0 and 1"
    } else if retry.initial > retry.max {
        "initial is at most max"
    } else {
        return Ok(());
    };
    Err(wrong(key, problem))
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
    let needed = match provider.kind {
        ProviderKind::Aliyun => vec![
            ("access_key_id", &provider.access_key_id),
            ("access_key_secret", &provider.access_key_secret),
        ],
        ProviderKind::Spug => vec![("token", &provider.token)],
        ProviderKind::Sandbox => Vec::new(),
    };
    for (field, value) in needed {
        if value.as_ref().is_none_or(|secret| secret.expose_secret().is_empty()) {
            return Err(wrong(
                key(field),
                "is missing, and this provider can't be used without it",
            ));
        }
    }
    if let Some(endpoint) = &provider.endpoint {
        let parsed =
            url::Url::parse(endpoint).map_err(|error| wrong(key("endpoint"), error.to_string()))?;
        if !["http", "https"].contains(&parsed.scheme()) {
            return Err(wrong(key("endpoint"), "is an http or https URL"));
        }
    }
    check_foreign_prefix(provider).map_err(|problem| wrong(key("foreign_prefix"), problem))?;
    if provider.connect_timeout.is_zero() || provider.read_timeout.is_zero() {
        return Err(wrong(key("connect_timeout, read_timeout"), "more than nothing"));
    }
    if provider.kind != ProviderKind::Sandbox && provider.connect_timeout * 2 > shortest_wait {
        let problem =
            "at most half of what any message may wait: two thirds of a code's ttl, notices.ttl";
        return Err(wrong(key("connect_timeout"), problem));
    }
    provider.retry.as_ref().map_or(Ok(()), |retry| check_retry(&key("retry"), retry))
}

/// Other prefixes could make of a foreign number what the provider takes for a mainland one.
fn check_foreign_prefix(provider: &Provider) -> Result<(), &'static str> {
    let Some(prefix) = provider.foreign_prefix.as_deref() else { return Ok(()) };
    if provider.kind != ProviderKind::Aliyun {
        return Err("is a setting of kind = \"aliyun\"");
    }
    if ["00", "+"].contains(&prefix) { Ok(()) } else { Err("must be \"00\" or \"+\"") }
}

fn check_numbers(settings: &Settings) -> Result<(), ConfigError> {
    let worker = &settings.worker;
    let checks = [
        ("server.header_timeout", !settings.server.header_timeout.is_zero(), "more than nothing"),
        ("server.max_connections", settings.server.max_connections > 0, "at least 1"),
        ("worker.lanes", !worker.lanes.is_empty(), "names at least one lane"),
        ("worker.code_concurrency", worker.code_concurrency > 0, "at least 1"),
        ("worker.notice_concurrency", worker.notice_concurrency > 0, "at least 1"),
        (
            "worker.notices_beside_codes",
            worker.notices_beside_codes >= u32::from(worker.notice_concurrency).div_ceil(450),
            // Twice the concurrency is prefetched, and the broker takes back what isn't acked for half an hour.
            "at least 1, and a 450th of worker.notice_concurrency",
        ),
        ("worker.row_batch", (1..=5000).contains(&worker.row_batch), "1 to 5000"),
        ("database.max_connections", settings.database.max_connections > 0, "at least 1"),
        ("queue.max_ready", settings.queue.max_ready > 0, "at least 1"),
        ("queue.confirm_timeout", !settings.queue.confirm_timeout.is_zero(), "more than nothing"),
        ("bans.threshold", settings.bans.threshold <= 1000, "0 to 1000"),
        ("bans.window", settings.bans.window.as_secs() > 0, "at least 1s"),
        ("bans.duration", settings.bans.duration.as_secs() > 0, "at least 1s"),
        ("notices.ttl", settings.notices.ttl.as_secs() > 0, "at least 1s"),
    ];
    let mut phones = settings.bans.safe_phones.iter();
    if let Some(text) = phones.find(|text| PhoneNumber::from_e164(text).is_err()) {
        return Err(wrong(
            "bans.safe_phones",
            format!("`{text}` is no number like +8613800138000"),
        ));
    }
    match checks.into_iter().find(|(_, fine, _)| !fine) {
        Some((key, _, problem)) => Err(wrong(key, problem)),
        None => Ok(()),
    }
}
