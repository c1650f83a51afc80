//! Reads the file and the environment into a [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use config::{Environment as EnvironmentSource, File, FileFormat};
use lapin::uri::AMQPUri;
use secrecy::SecretString;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::accounts::Registration;
use super::origin::Origin;
use super::providers::Provider;
use super::sections::{Backends, Config, Purpose, Settings, Template};
use super::{check, credentials, warnings};
use crate::secrets::{KeyRing, SecretError};

/// Environment variables: a map, so that tests need not change the process's own.
pub type Environment = BTreeMap<String, String>;

const SHORT_NAMES: [&str; 5] = [
    "POSTRIDER_LISTEN",
    "POSTRIDER_DATA_DIR",
    "POSTRIDER_CONFIG",
    "POSTRIDER_SECRET",
    "POSTRIDER_SANDBOX",
];

/// Why a process can't start as it is configured; it names the place and the key, and the process exits 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "AMQP_URL, REDIS_URL and DATABASE_URL go together: {0} is set and {1} is not; set all three for the distributed \
         form, none for the embedded one"
    )]
    SomeBackends(&'static str, &'static str),
    #[error("POSTRIDER_CONFIG: {0}: {1}; must be a readable TOML file")]
    File(String, std::io::Error),
    #[error("{place}: {problem}")]
    Syntax { place: String, problem: String },
    #[error("{0}: unknown variable; a setting of the file is overridden as POSTRIDER_SECTION__KEY")]
    UnknownVariable(String),
    /// A setting; `place` is the file or the variable that it stands in.
    #[error("{}: {key}: {problem}", .place.as_deref().unwrap_or_default())]
    Wrong { place: Option<String>, key: String, problem: String },
    #[error("{name}: {problem}")]
    Variable { name: String, problem: String },
    #[error("POSTRIDER_SECRET: {0}")]
    Secret(#[from] SecretError),
    #[error("{0}: {1}")]
    KeptSecret(PathBuf, SecretError),
    #[error("the secret kept in {0}: {1}")]
    SecretFile(PathBuf, std::io::Error),
}

pub(super) fn wrong(key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
    ConfigError::Wrong { place: None, key: key.into(), problem: problem.into() }
}

pub(super) fn wrong_variable(name: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Variable { name: name.to_owned(), problem: problem.into() }
}

/// Loads and checks the configuration of a process that serves or sends. In embedded form this makes the data
/// directory, and in it the secret, where they aren't there yet.
pub fn load(environment: &Environment) -> Result<Config, ConfigError> {
    read(environment, check_providers)
}

/// The same for a command, which sends nothing: it needs no provider.
pub fn load_for_command(environment: &Environment) -> Result<Config, ConfigError> {
    read(environment, |_, _, _, _| Ok(()))
}

fn read(
    environment: &Environment,
    check_providers: fn(&Settings, &Backends, &Environment, &Origin) -> Result<(), ConfigError>,
) -> Result<Config, ConfigError> {
    let backends = backends(environment)?;
    let (mut settings, origin, mut warnings) = settings(environment)?;
    complete(&mut settings, environment, &backends)?;
    credentials::complete(&mut settings, environment).map_err(|error| origin.name(error))?;
    check_providers(&settings, &backends, environment, &origin)?;
    check::all(&settings).map_err(|error| origin.name(error))?;
    let given = environment.get("POSTRIDER_SECRET").map(|text| SecretString::from(text.as_str()));
    let keys = match (&given, &backends) {
        (Some(secret), _) => KeyRing::from_master(secret)?,
        (None, Backends::Embedded { data_dir }) => {
            let keys = super::kept_secret::load_or_make(data_dir)?;
            warnings.extend(warnings::readable_by_others(&data_dir.join("secret")));
            keys
        }
        (None, Backends::Distributed { .. }) => return Err(SecretError::Empty.into()),
    };
    warnings.extend(warnings::of_settings(&settings));
    let only_sandbox = settings.carries_nothing();
    let trial = given.is_none() && only_sandbox && matches!(backends, Backends::Embedded { .. });
    Ok(Config { backends, keys, trial, warnings, settings })
}

/// Refuses to serve where nothing could be sent, or a sandbox would take real messages unnoticed.
fn check_providers(
    settings: &Settings,
    backends: &Backends,
    environment: &Environment,
    origin: &Origin,
) -> Result<(), ConfigError> {
    if settings.providers.is_empty() {
        let problem = "no provider is configured, so nothing could be sent: add a section [providers.NAME], or set \
            POSTRIDER_SANDBOX=1 to carry no SMS";
        return Err(wrong_in(origin.file(), "providers", problem));
    }
    let distributed = matches!(backends, Backends::Distributed { .. });
    if distributed && settings.has_sandbox() && !asks_for_sandbox(environment)? {
        let problem =
            "a provider of kind `sandbox` in the distributed form needs POSTRIDER_SANDBOX=1";
        return Err(wrong_in(origin.file(), "providers", problem));
    }
    Ok(())
}

fn wrong_in(place: String, key: &str, problem: &str) -> ConfigError {
    ConfigError::Wrong { place: Some(place), key: key.to_owned(), problem: problem.to_owned() }
}

fn asks_for_sandbox(environment: &Environment) -> Result<bool, ConfigError> {
    match environment.get("POSTRIDER_SANDBOX").map(String::as_str) {
        None | Some("" | "0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(wrong_variable("POSTRIDER_SANDBOX", "must be 1, 0 or not set")),
    }
}

fn backends(environment: &Environment) -> Result<Backends, ConfigError> {
    const NAMES: [&str; 3] = ["AMQP_URL", "REDIS_URL", "DATABASE_URL"];
    let urls = NAMES.map(|name| environment.get(name).filter(|url| !url.is_empty()));
    let set = NAMES.iter().zip(&urls).find(|(_, url)| url.is_some());
    let unset = NAMES.iter().zip(&urls).find(|(_, url)| url.is_none());
    match (set, unset) {
        (None, _) => {
            let dir = environment.get("POSTRIDER_DATA_DIR").map_or("data", String::as_str);
            if dir.is_empty() {
                return Err(wrong_variable("POSTRIDER_DATA_DIR", "must be the path of a folder"));
            }
            Ok(Backends::Embedded { data_dir: PathBuf::from(dir) })
        }
        (Some((set, _)), Some((unset, _))) => Err(ConfigError::SomeBackends(set, unset)),
        (Some(_), None) => {
            let read = |place: usize, schemes| {
                let text = urls[place].map(String::as_str).unwrap_or_default();
                service_url(NAMES[place], text, schemes)
            };
            Ok(Backends::Distributed {
                amqp: read(0, &["amqp", "amqps"])?,
                redis: read(1, &["redis", "rediss"])?,
                database: read(2, &["postgres", "postgresql", "mysql", "mariadb"])?,
            })
        }
    }
}

fn service_url(name: &str, text: &str, schemes: &[&str]) -> Result<SecretString, ConfigError> {
    let expected = || format!("must be a URL that starts with {}://", schemes.join(":// or "));
    let text = credentials::without_newline(text);
    if credentials::has_outer_whitespace(text) {
        return Err(wrong_variable(name, credentials::OUTER_WHITESPACE));
    }
    let parsed = url::Url::parse(text)
        .map_err(|error| wrong_variable(name, format!("{error}; {}", expected())))?;
    if !schemes.contains(&parsed.scheme()) {
        return Err(wrong_variable(name, expected()));
    }
    // The clients' own words may repeat the URL, and with it the password.
    let problem = match parsed.scheme() {
        "amqp" | "amqps" if text.parse::<AMQPUri>().is_err() => {
            "must be amqp://USER:PASSWORD@HOST:PORT/VHOST with one virtual host (its `/` written as %2f) and known parameters"
        }
        "redis" | "rediss" if redis::Client::open(text).is_err() => {
            "must be redis://USER:PASSWORD@HOST:PORT/NUMBER, where NUMBER is a database, such as 0"
        }
        "postgres" | "postgresql" if PgConnectOptions::from_str(text).is_err() => {
            "must be postgres://USER:PASSWORD@HOST:PORT/DATABASE with known parameters, such as sslmode=verify-full"
        }
        "mysql" | "mariadb"
            if MySqlConnectOptions::from_str(&text.replacen("mariadb://", "mysql://", 1))
                .is_err() =>
        {
            "must be mysql://USER:PASSWORD@HOST:PORT/DATABASE with known parameters, such as ssl-mode=VERIFY_IDENTITY"
        }
        _ => return Ok(SecretString::from(text)),
    };
    Err(wrong_variable(name, problem))
}

/// Settings with their origin, and what is to be warned of.
fn settings(environment: &Environment) -> Result<(Settings, Origin, Vec<String>), ConfigError> {
    let mut overrides = config::Map::new();
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("POSTRIDER_")) {
        if name.contains("__") {
            overrides.insert(name.clone(), value.clone());
        } else if !SHORT_NAMES.contains(&name.as_str()) {
            return Err(ConfigError::UnknownVariable(name.clone()));
        }
    }
    let mut builder = config::Config::builder();
    let mut warnings = Vec::new();
    let named = environment.get("POSTRIDER_CONFIG");
    let path = named.map_or("postrider.toml", String::as_str);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(ConfigError::File(path.to_owned(), error)),
    };
    let origin = Origin::new(path, text.is_some(), overrides.keys());
    if let Some(text) = text {
        if credentials::are_in(&text) {
            warnings.extend(warnings::readable_by_others(Path::new(path)));
        }
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    let source = EnvironmentSource::with_prefix("POSTRIDER")
        .prefix_separator("_")
        .separator("__")
        .source(Some(overrides));
    let built = builder.add_source(source).build();
    let mut settings: Settings = built
        .and_then(config::Config::try_deserialize)
        .map_err(|error| origin.unreadable(&error))?;
    if let Some(listen) = environment.get("POSTRIDER_LISTEN") {
        let problem = || format!("`{listen}`: {}", super::values::ADDRESS);
        settings.server.listen =
            listen.parse().map_err(|_| wrong_variable("POSTRIDER_LISTEN", problem()))?;
    }
    Ok((settings, origin, warnings))
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

/// Adds what is there when nothing is said: purposes, the template of codes, the sandbox.
fn complete(
    settings: &mut Settings,
    environment: &Environment,
    backends: &Backends,
) -> Result<(), ConfigError> {
    if settings.purposes.is_empty() {
        let built_in = ["login", "register", "reset_password"];
        settings.purposes = built_in.map(|name| (name.to_owned(), Purpose::default())).into();
    }
    // Where codes have other templates it isn't one that a provider has to know.
    if settings.templates_of_codes().any(|name| name == "verify") {
        settings.templates.entry("verify".to_owned()).or_default();
    }
    if let Some(verify) = settings.templates.get_mut("verify") {
        complete_verify(verify);
    }
    let embedded = matches!(backends, Backends::Embedded { .. });
    // Where an identity provider names our accounts, nobody may take a name before its owner comes.
    let is_open = embedded && settings.jwt.provider().is_none();
    let usual = if is_open { Registration::Open } else { Registration::Closed };
    settings.accounts.registration.get_or_insert(usual);
    let sandbox_asked = asks_for_sandbox(environment)?;
    if settings.providers.is_empty() && (embedded || sandbox_asked) {
        settings.providers.insert("sandbox".to_owned(), Provider::sandbox());
    }
    let trial = embedded && settings.carries_nothing();
    settings.dialects.platform.self_recharge.get_or_insert(trial);
    Ok(())
}
