//! The secret that the embedded form makes for itself: once, readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use secrecy::SecretString;

use super::ConfigError;
use crate::runtime::data_dir;
use crate::secrets::KeyRing;

/// Reads `secret` in the data directory, or makes it from 32 random bytes. It is written beside its name and
/// linked to it, so that of two processes that start at once both end with the same one, whole.
pub(super) fn load_or_make(data_dir: &Path) -> Result<KeyRing, ConfigError> {
    let path = data_dir.join("secret");
    let failed = |error| ConfigError::SecretFile(path.clone(), error);
    data_dir::create(data_dir).map_err(failed)?;
    if !path.exists() {
        make(data_dir, &path).map_err(failed)?;
    }
    let text = fs::read_to_string(&path).map_err(failed)?;
    KeyRing::from_master(&SecretString::from(text.trim()))
        .map_err(|error| ConfigError::KeptSecret(path.clone(), error))
}

fn make(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    let unfinished = data_dir.join(format!("secret.{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(hex::encode(rand::random::<[u8; 32]>()).as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
