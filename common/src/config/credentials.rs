//! Credentials of providers: those that come from the environment, and the white space that a file or a shell leaves
//! around them.

use secrecy::{ExposeSecret as _, SecretString};

use super::load::{ConfigError, Environment, wrong, wrong_variable};
use super::providers::{Provider, ProviderKind};
use super::sections::Settings;

pub(super) const OUTER_WHITESPACE: &str =
    "must not begin or end with white space (one newline at the end is cut)";

/// The keys of `[providers.NAME]` that hold credentials.
const KEYS: [&str; 4] = ["access_key_id", "access_key_secret", "security_token", "token"];

/// Takes from the environment what the file doesn't say, and cuts one newline at the end of each credential.
pub(super) fn complete(
    settings: &mut Settings,
    environment: &Environment,
) -> Result<(), ConfigError> {
    for (name, provider) in &mut settings.providers {
        for (field, credential) in fields(provider) {
            let key = format!("providers.{name}.{field}");
            clean(credential).map_err(|problem| wrong(key, problem))?;
        }
        if provider.kind == ProviderKind::Aliyun {
            complete_aliyun(provider, environment)?;
        }
    }
    Ok(())
}

fn complete_aliyun(provider: &mut Provider, environment: &Environment) -> Result<(), ConfigError> {
    let variable = |name: &str| -> Result<_, ConfigError> {
        let mut value = environment.get(name).map(|value| SecretString::from(value.as_str()));
        clean(&mut value).map_err(|problem| wrong_variable(name, problem))?;
        Ok(value)
    };
    let own = provider.access_key_id.is_some();
    if !own {
        provider.access_key_id = variable("ALIBABA_CLOUD_ACCESS_KEY_ID")?;
    }
    if provider.access_key_secret.is_none() {
        provider.access_key_secret = variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET")?;
    }
    // A session token belongs to the key pair that it came with.
    if !own && provider.security_token.is_none() {
        provider.security_token = variable("ALIBABA_CLOUD_SECURITY_TOKEN")?;
    }
    Ok(())
}

fn fields(provider: &mut Provider) -> [(&'static str, &mut Option<SecretString>); 4] {
    [
        (KEYS[0], &mut provider.access_key_id),
        (KEYS[1], &mut provider.access_key_secret),
        (KEYS[2], &mut provider.security_token),
        (KEYS[3], &mut provider.token),
    ]
}

fn clean(credential: &mut Option<SecretString>) -> Result<(), &'static str> {
    let Some(secret) = credential else { return Ok(()) };
    let text = without_newline(secret.expose_secret());
    if has_outer_whitespace(text) {
        return Err(OUTER_WHITESPACE);
    }
    *credential = Some(SecretString::from(text));
    Ok(())
}

/// The text without one newline at its end.
pub(super) fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

pub(super) fn has_outer_whitespace(text: &str) -> bool {
    text.trim() != text
}

/// Returns whether a line of TOML sets this key.
fn sets(line: &str, key: &str) -> bool {
    line.match_indices(key).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_') && after.starts_with('=')
    })
}

/// Returns whether a file holds a credential.
pub(super) fn are_in(file: &str) -> bool {
    file.lines().any(|line| {
        let line = line.trim_start();
        // A provider may be one line: `main = { kind = "spug", token = ".." }`.
        !line.starts_with('#') && KEYS[1..].iter().any(|key| sets(line, key))
    })
}
