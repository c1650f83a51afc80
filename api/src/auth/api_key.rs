//! The text of an API key, and its hash: all that is kept of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

const LIVE_PREFIX: &str = "pk_live_";
const TEST_PREFIX: &str = "pk_test_";
const RANDOM_BYTES: usize = 32;
/// Length of [`RANDOM_BYTES`] in base64url.
const RANDOM_LEN: usize = 43;

/// Makes a key of 256 bits of the operating system's randomness.
pub fn generate(test: bool) -> String {
    let prefix = if test { TEST_PREFIX } else { LIVE_PREFIX };
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>()))
}

/// Returns whether a bearer's text has the form of an API key.
pub fn is_api_key(text: &str) -> bool {
    let random = text.strip_prefix(LIVE_PREFIX).or_else(|| text.strip_prefix(TEST_PREFIX));
    random.is_some_and(|random| random.len() == RANDOM_LEN && random.is_ascii())
}

/// Plain SHA-256, in hex. A salt or a slow hash would defend what can be guessed; nobody guesses 256 random bits.
pub fn hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}
