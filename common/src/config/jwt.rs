//! `[jwt]`: whose tokens are taken beside our own.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::load::{ConfigError, wrong};
use super::values::list;

/// Tokens of an identity provider: file, issuer and audience, all three or none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// The provider's public keys, a JSON Web Key Set (RFC 7517); none.
    pub jwks_file: Option<PathBuf>,
    /// What its tokens say in `iss`; none.
    pub issuer: Option<String>,
    /// What its tokens say in `aud`, or have among it, when they are meant for us; none.
    pub audience: Option<String>,
    /// The claim that names our account, by its user name; `sub`.
    pub account_claim: String,
    /// What its tokens may say in `typ`; `at+jwt` (RFC 9068).
    #[serde(deserialize_with = "list")]
    pub types: Vec<String>,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            jwks_file: None,
            issuer: None,
            audience: None,
            account_claim: "sub".to_owned(),
            types: vec!["at+jwt".to_owned()],
        }
    }
}

impl Jwt {
    /// File, issuer and audience, where an identity provider is configured.
    #[must_use]
    pub fn provider(&self) -> Option<(&Path, &str, &str)> {
        Some((self.jwks_file.as_deref()?, self.issuer.as_deref()?, self.audience.as_deref()?))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let given = [
            ("jwt.jwks_file", self.jwks_file.as_ref().is_some_and(|p| !p.as_os_str().is_empty())),
            ("jwt.issuer", self.issuer.as_ref().is_some_and(|text| !text.is_empty())),
            ("jwt.audience", self.audience.as_ref().is_some_and(|text| !text.is_empty())),
        ];
        let any = self.jwks_file.is_some() || self.issuer.is_some() || self.audience.is_some();
        if let Some((missing, _)) = given.iter().find(|(_, given)| any && !given) {
            return Err(wrong(*missing, "is required: jwks_file, issuer and audience go together"));
        }
        if self.account_claim.is_empty() {
            return Err(wrong("jwt.account_claim", "must name a claim, such as sub"));
        }
        if self.types.is_empty() {
            return Err(wrong("jwt.types", "must name at least one type, such as at+jwt"));
        }
        Ok(())
    }
}
