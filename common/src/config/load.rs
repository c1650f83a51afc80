//! Reads the file and the environment into a [`Config`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Environment as EnvironmentSource, File, FileFormat};
use secrecy::{ExposeSecret, SecretString};

use super::accounts::Registration;
use super::check;
use super::providers::{Provider, ProviderKind};
use super::sections::{Backends, Config, Purpose, Settings, Template};
use crate::secret::{KeyRing, SecretError};

/// Environment variables: a map, so that tests need not change the process's own.
pub type Environment = BTreeMap<String, String>;

const SHORT_NAMES: [&str; 5] = [
    "POSTRIDER_LISTEN",
    "POSTRIDER_DATA_DIR",
    "POSTRIDER_CONFIG",
    "POSTRIDER_SECRET",
    "POSTRIDER_SANDBOX",
];

/// Why a process can't start as it is configured; it says which key and exits 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("AMQP_URL, REDIS_URL and DATABASE_URL go together: {0} is set and {1} is not")]
    SomeBackends(&'static str, &'static str),
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    #[error("{0}")]
    Unreadable(#[from] config::ConfigError),
    #[error("{0}: no such setting; settings of the file are overridden as POSTRIDER_SECTION__KEY")]
    UnknownVariable(String),
    #[error("{key}: {problem}")]
    Wrong { key: String, problem: String },
    #[error("POSTRIDER_SECRET: {0}")]
    Secret(#[from] SecretError),
    #[error("the secret kept in {0}: {1}")]
    SecretFile(PathBuf, std::io::Error),
}

pub(super) fn wrong(key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError::Wrong { key: key.into(), problem: problem.into() }
}

/// Loads and checks the configuration. In embedded form this makes the data directory, and in it the secret,
/// where they aren't there yet.
pub fn load(environment: &Environment) -> Result<Config, ConfigError> {
    let backends = backends(environment)?;
    let mut settings = settings(environment)?;
    complete(&mut settings, environment, &backends)?;
    check::all(&settings)?;
    let given = environment.get("POSTRIDER_SECRET").map(|text| SecretString::from(text.as_str()));
    let keys = match (&given, &backends) {
        (Some(secret), _) => KeyRing::from_master(secret)?,
        (None, Backends::Embedded { data_dir }) => super::kept_secret::load_or_make(data_dir)?,
        (None, Backends::Distributed { .. }) => return Err(SecretError::Empty.into()),
    };
    let only_sandbox = settings.providers.values().all(|p| p.kind == ProviderKind::Sandbox);
    let trial = given.is_none() && only_sandbox && matches!(backends, Backends::Embedded { .. });
    Ok(Config { backends, keys, trial, settings })
}

fn backends(environment: &Environment) -> Result<Backends, ConfigError> {
    const NAMES: [&str; 3] = ["AMQP_URL", "REDIS_URL", "DATABASE_URL"];
    let urls = NAMES.map(|name| environment.get(name).filter(|url| !url.is_empty()));
    let set = NAMES.iter().zip(&urls).find(|(_, url)| url.is_some());
    let unset = NAMES.iter().zip(&urls).find(|(_, url)| url.is_none());
    match (set, unset) {
        (None, _) => {
            let dir = environment.get("POSTRIDER_DATA_DIR").map_or("data", String::as_str);
            Ok(Backends::Embedded { data_dir: PathBuf::from(dir) })
        }
        (Some((set, _)), Some((unset, _))) => Err(ConfigError::SomeBackends(set, unset)),
        (Some(_), None) => {
            let [amqp, redis, database] =
                urls.map(|url| SecretString::from(url.cloned().unwrap_or_default()));
            check_scheme("AMQP_URL", &amqp, &["amqp", "amqps"])?;
            check_scheme("REDIS_URL", &redis, &["redis", "rediss"])?;
            check_scheme(
                "DATABASE_URL",
                &database,
                &["postgres", "postgresql", "mysql", "mariadb"],
            )?;
            Ok(Backends::Distributed { amqp, redis, database })
        }
    }
}

fn check_scheme(name: &str, url: &SecretString, schemes: &[&str]) -> Result<(), ConfigError> {
    let parsed =
        url::Url::parse(url.expose_secret()).map_err(|error| wrong(name, error.to_string()))?;
    if schemes.contains(&parsed.scheme()) {
        Ok(())
    } else {
        Err(wrong(name, format!("starts with none of {}", schemes.join(", "))))
    }
}

fn settings(environment: &Environment) -> Result<Settings, ConfigError> {
    let mut overrides = config::Map::new();
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("POSTRIDER_")) {
        if name.contains("__") {
            overrides.insert(name.clone(), value.clone());
        } else if !SHORT_NAMES.contains(&name.as_str()) {
            return Err(ConfigError::UnknownVariable(name.clone()));
        }
    }
    let mut builder = config::Config::builder();
    let named = environment.get("POSTRIDER_CONFIG");
    let path = named.map_or("postrider.toml", String::as_str);
    match std::fs::read_to_string(path) {
        Ok(text) => builder = builder.add_source(File::from_str(&text, FileFormat::Toml)),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(ConfigError::File(path.to_owned(), error)),
    }
    let source = EnvironmentSource::with_prefix("POSTRIDER")
        .prefix_separator("_")
        .separator("__")
        .source(Some(overrides));
    let mut settings: Settings = builder.add_source(source).build()?.try_deserialize()?;
    if let Some(listen) = environment.get("POSTRIDER_LISTEN") {
        settings.server.listen = listen
            .parse()
            .map_err(|_| wrong("POSTRIDER_LISTEN", format!("`{listen}` is no address and port")))?;
    }
    Ok(settings)
}

/// What the template of codes is where it isn't said.
fn complete_verify(template: &mut Template) {
    if template.text.is_empty() {
        "【{sign}】您的验证码是{code}，{minutes}分钟内有效。".clone_into(&mut template.text);
    }
    if template.sign.is_empty() {
        "Postrider".clone_into(&mut template.sign);
    }
}

/// Adds what is there when nothing is said: purposes, the template of codes, the sandbox, and the
/// credentials that come from the environment.
fn complete(
    settings: &mut Settings,
    environment: &Environment,
    backends: &Backends,
) -> Result<(), ConfigError> {
    if settings.purposes.is_empty() {
        let built_in = ["login", "register", "reset_password"];
        settings.purposes = built_in.map(|name| (name.to_owned(), Purpose::default())).into();
    }
    complete_verify(settings.templates.entry("verify".to_owned()).or_default());
    let embedded = matches!(backends, Backends::Embedded { .. });
    let sandbox_asked = match environment.get("POSTRIDER_SANDBOX").map(String::as_str) {
        None | Some("" | "0") => false,
        Some("1") => true,
        Some(_) => return Err(wrong("POSTRIDER_SANDBOX", "is 1 or not set")),
    };
    let distributed = !embedded;
    // Where an identity provider names our accounts, nobody may take a name before its owner comes.
    let is_open = embedded && settings.jwt.provider().is_none();
    let usual = if is_open { Registration::Open } else { Registration::Closed };
    settings.accounts.registration.get_or_insert(usual);
    if settings.providers.is_empty() && (!distributed || sandbox_asked) {
        settings.providers.insert("sandbox".to_owned(), Provider::sandbox());
    }
    if settings.providers.is_empty() {
        return Err(wrong("providers", "none is configured, so nothing could be sent"));
    }
    let trial = embedded && settings.carries_nothing();
    settings.dialects.platform.self_recharge.get_or_insert(trial);
    if distributed && settings.has_sandbox() && !sandbox_asked {
        return Err(wrong("providers", "a sandbox in distributed form takes POSTRIDER_SANDBOX=1"));
    }
    let variable = |name: &str| environment.get(name).map(|v| SecretString::from(v.as_str()));
    for provider in settings.providers.values_mut().filter(|p| p.kind == ProviderKind::Aliyun) {
        let own = provider.access_key_id.is_some();
        provider.access_key_id =
            provider.access_key_id.take().or_else(|| variable("ALIBABA_CLOUD_ACCESS_KEY_ID"));
        provider.access_key_secret = provider
            .access_key_secret
            .take()
            .or_else(|| variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET"));
        // A session token belongs to the key pair that it came with.
        if !own && provider.security_token.is_none() {
            provider.security_token = variable("ALIBABA_CLOUD_SECURITY_TOKEN");
        }
    }
    Ok(())
}
