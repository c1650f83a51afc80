//! Refuses settings that can't work, by name, before anything starts.

mod providers;

use std::time::Duration;

use super::accounts::Registration;
use super::load::{ConfigError, wrong};
use super::sections::{CodeRules, Retry, Settings};
use crate::model::code;
use crate::model::phone::{DefaultRegion, PhoneNumber};
use crate::model::template;
use crate::runtime::telemetry;

/// The longest life of a code from its first send (NIST SP 800-63B).
const LONGEST_CODE: Duration = Duration::from_mins(10);

/// Less than that answers nothing.
const MIN_REQUEST_TIMEOUT: Duration = Duration::from_millis(1);

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
            let problem = "the name of a purpose must match ^[a-z0-9_.-]{1,64}$";
            return Err(wrong(format!("purposes.{purpose}"), problem));
        }
        let key = format!("purposes.{purpose}");
        check_rules(&key, settings, &settings.code_rules(purpose).unwrap_or_default())?;
    }
    for (name, template) in &settings.templates {
        template::places(&template.text)
            .map_err(|error| wrong(format!("templates.{name}.text"), error.to_string()))?;
        if template.text.is_empty() && template.aliyun.is_none() {
            let problem = "must not be empty where `aliyun` names no template code";
            return Err(wrong(format!("templates.{name}.text"), problem));
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
        let problem = "must be closed when [jwt] is set: anyone could register an identity provider user's name";
        return Err(wrong("accounts.registration", problem));
    }
    check_dialects(settings)?;
    if let Some((key, problem)) = settings.accounts.problem() {
        return Err(wrong(format!("accounts.{key}"), problem));
    }
    check_retry("retry", &settings.retry)?;
    providers::all(settings)?;
    telemetry::check_filter(&settings.log.filter)
        .map_err(|problem| wrong("log.filter", problem))?;
    check_numbers(settings)
}

fn check_rules(key: &str, settings: &Settings, rules: &CodeRules) -> Result<(), ConfigError> {
    let key = |field: &str| format!("{key}.{field}");
    if !code::DIGITS.contains(&rules.length) {
        return Err(wrong(key("length"), "must be 4 to 9 (digits)"));
    }
    if rules.ttl.as_secs() == 0 || rules.ttl > LONGEST_CODE {
        return Err(wrong(key("ttl"), "must be 1s to 10m (NIST SP 800-63B)"));
    }
    for (field, most) in [("max_attempts", rules.max_attempts), ("max_sends", rules.max_sends)] {
        if most == 0 {
            return Err(wrong(key(field), "must be at least 1"));
        }
    }
    let template = settings.templates.get(&rules.template);
    let template =
        template.ok_or_else(|| wrong(key("template"), no_template(settings, &rules.template)))?;
    if !template.text.is_empty()
        && !template::places(&template.text).unwrap_or_default().contains(&"code")
    {
        let problem = "must hold {code}: codes are sent with this template";
        return Err(wrong(format!("templates.{}.text", rules.template), problem));
    }
    let known = ["sign", "code", "minutes"];
    match template::places(&template.text).unwrap_or_default().iter().find(|p| !known.contains(p)) {
        Some(place) => {
            let problem = format!(
                "unknown place `{{{place}}}`; the text of a code may hold {{sign}}, {{code}} and {{minutes}}"
            );
            Err(wrong(format!("templates.{}.text", rules.template), problem))
        }
        None => Ok(()),
    }
}

fn no_template(settings: &Settings, name: &str) -> String {
    let known: Vec<_> = settings.templates.keys().map(|name| format!("`{name}`")).collect();
    format!("there is no [templates.{name}]; must be one of {}", known.join(", "))
}

fn check_dialects(settings: &Settings) -> Result<(), ConfigError> {
    check_rules("dialects.flask", settings, &settings.flask_rules())?;
    for (dialect, anonymous) in settings.dialects.anonymous() {
        let Some(anonymous) = anonymous else { continue };
        let key = |field: &str| format!("dialects.{dialect}.anonymous.{field}");
        if anonymous.account.is_empty() {
            return Err(wrong(key("account"), "must name an account"));
        }
        if anonymous.from.is_empty() {
            return Err(wrong(key("from"), "must name at least one network, such as 10.0.0.0/8"));
        }
    }
    Ok(())
}

fn check_retry(key: &str, retry: &Retry) -> Result<(), ConfigError> {
    let (field, problem) = if retry.max_attempts == 0 {
        ("max_attempts", "must be at least 1")
    } else if !(retry.factor.is_finite() && retry.factor >= 1.0) {
        ("factor", "must be at least 1.0")
    } else if !(0.0..=1.0).contains(&retry.jitter) {
        ("jitter", "must be between 0 and 1")
    } else if retry.initial > retry.max {
        ("initial", "must be at most `max`")
    } else {
        return Ok(());
    };
    Err(wrong(format!("{key}.{field}"), problem))
}

fn check_numbers(settings: &Settings) -> Result<(), ConfigError> {
    let worker = &settings.worker;
    let checks = [
        (
            "server.header_timeout",
            !settings.server.header_timeout.is_zero(),
            "must be greater than zero",
        ),
        (
            "server.request_timeout",
            settings.server.request_timeout >= MIN_REQUEST_TIMEOUT,
            "must be at least 1ms",
        ),
        ("server.max_connections", settings.server.max_connections > 0, "must be at least 1"),
        ("worker.lanes", !worker.lanes.is_empty(), "must name at least one of code, notice"),
        ("worker.code_concurrency", worker.code_concurrency > 0, "must be at least 1"),
        ("worker.notice_concurrency", worker.notice_concurrency > 0, "must be at least 1"),
        (
            "worker.notices_beside_codes",
            worker.notices_beside_codes >= u32::from(worker.notice_concurrency).div_ceil(450),
            // Twice the concurrency is prefetched, and the broker takes back what isn't acked for half an hour.
            "must be at least 1, and at least a 450th of worker.notice_concurrency",
        ),
        ("worker.row_batch", (1..=5000).contains(&worker.row_batch), "must be 1 to 5000"),
        ("database.max_connections", settings.database.max_connections > 0, "must be at least 1"),
        ("queue.max_ready", settings.queue.max_ready > 0, "must be at least 1"),
        (
            "queue.confirm_timeout",
            !settings.queue.confirm_timeout.is_zero(),
            "must be greater than zero",
        ),
        ("bans.threshold", settings.bans.threshold <= 1000, "must be 0 to 1000"),
        ("bans.window", settings.bans.window.as_secs() > 0, "must be at least 1s"),
        ("bans.duration", settings.bans.duration.as_secs() > 0, "must be at least 1s"),
        ("notices.ttl", settings.notices.ttl.as_secs() > 0, "must be at least 1s"),
    ];
    let mut phones = settings.bans.safe_phones.iter();
    if let Some(text) = phones.find(|text| PhoneNumber::from_e164(text).is_err()) {
        return Err(wrong(
            "bans.safe_phones",
            format!("`{text}` must be a number in E.164, such as +8613800138000"),
        ));
    }
    match checks.into_iter().find(|(_, fine, _)| !fine) {
        Some((key, _, problem)) => Err(wrong(key, problem)),
        None => Ok(()),
    }
}
