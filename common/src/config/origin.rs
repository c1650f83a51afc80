//! The origin of a setting, the file or an environment variable, for messages about it.

use std::collections::BTreeMap;

use super::load::ConfigError;

/// Begins the name of every variable of ours.
const PREFIX: &str = "POSTRIDER_";

/// The sources that settings were read from.
#[derive(Debug)]
pub(super) struct Origin {
    /// The file's path; it may not exist.
    path: String,
    found: bool,
    /// Each overridden setting, as `code.ttl`, with its variable's name.
    variables: BTreeMap<String, String>,
}

impl Origin {
    pub(super) fn new<'a>(
        path: &str,
        found: bool,
        overrides: impl Iterator<Item = &'a String>,
    ) -> Self {
        let key = |name: &str| name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let variables = overrides.map(|name| (key(name), name.clone())).collect();
        Self { path: path.to_owned(), found, variables }
    }

    pub(super) fn file(&self) -> String {
        if self.found { self.path.clone() } else { format!("{} (not found)", self.path) }
    }

    /// The variable that sets this key, or else the file.
    fn of(&self, key: &str) -> String {
        let setting = key.split('[').next().unwrap_or(key);
        let within = |(set, _): &(&String, &String)| {
            set.strip_prefix(setting).is_some_and(|rest| rest.starts_with('.'))
        };
        let exact = self.variables.get(setting);
        let inside = || self.variables.iter().find(within).map(|(_, name)| name);
        let variable = exact.or_else(|| if self.found { None } else { inside() });
        variable.cloned().unwrap_or_else(|| self.file())
    }

    /// The same error with the place where its setting stands.
    pub(super) fn name(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Wrong { place: None, key, problem } => {
                ConfigError::Wrong { place: Some(self.of(&key)), key, problem }
            }
            other => other,
        }
    }

    /// An error of the library that reads the settings, in our words.
    pub(super) fn unreadable(&self, error: &config::ConfigError) -> ConfigError {
        let text = error.to_string();
        if let Some(rest) = text.strip_prefix("TOML parse error ") {
            // In between it shows the line, and with it maybe a credential.
            let at = rest.lines().next().unwrap_or_default();
            let why = rest.lines().map(str::trim).rfind(|line| !line.is_empty());
            let problem = format!("not valid TOML {at}: {}", why.unwrap_or_default());
            return ConfigError::Syntax { place: self.file(), problem };
        }
        let (problem, key) = split(&text);
        self.name(ConfigError::Wrong { place: None, key, problem })
    }
}

/// The problem and the key of `<problem> for key `<key>` in <source>`.
fn split(text: &str) -> (String, String) {
    if let Some(key) = quoted(text, "missing configuration field \"", '"') {
        let values = if key.rsplit('.').next() == Some("kind") {
            ": must be `aliyun`, `spug` or `sandbox`"
        } else {
            ""
        };
        return (format!("is required{values}"), key.to_owned());
    }
    let (problem, key) = match text.rsplit_once(" for key `") {
        Some((problem, rest)) => (problem, rest.split('`').next().unwrap_or_default()),
        None => (text, ""),
    };
    if let Some(field) = quoted(problem, "unknown field `", '`') {
        let key = if key.is_empty() { field.to_owned() } else { format!("{key}.{field}") };
        let expected = problem.split_once(", ").map_or("", |(_, expected)| expected);
        return (format!("unknown setting, {expected}"), key);
    }
    (without_type_names(problem), key.to_owned())
}

fn quoted<'a>(text: &'a str, before: &str, end: char) -> Option<&'a str> {
    text.strip_prefix(before)?.split(end).next()
}

/// The names of types mean nothing to an operator.
fn without_type_names(problem: &str) -> String {
    if let Some((before, _)) = problem.split_once("expected struct ") {
        return format!("{before}expected a section");
    }
    if problem.contains("too large to fit") {
        return "must be a whole number, 0 or more, and not as large".to_owned();
    }
    let number = [(", expected an unsigned ", ", 0 or more"), (", expected an integer", "")];
    for (words, least) in number {
        if let Some((given, _)) = problem.split_once(words) {
            let given = given.strip_prefix("invalid type: ").unwrap_or(given);
            return format!("{given}: must be a whole number{least}");
        }
    }
    problem.to_owned()
}
