//! One embedded `serve` a data directory: held by a lock on a file, which the system drops with the process.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use postrider_common::runtime::data_dir;

/// Held for as long as it lives.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock; creates the folder where it doesn't exist.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        data_dir::create(data_dir).with_context(|| data_dir.display().to_string())?;
        let path = data_dir.join("postrider.lock");
        let open = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.with_context(|| path.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                bail!("another postrider-api already serves the data in {}", data_dir.display())
            }
            Err(TryLockError::Error(error)) => Err(error).context(path.display().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_turned_away_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        let refusal = DataLock::take(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains("another postrider-api"), "{refusal}");
        drop(first);
        DataLock::take(dir.path()).unwrap();
    }
}
