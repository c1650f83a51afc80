//! The folder of the embedded form: secret, database and lock.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Creates the folder where it doesn't exist, with its parents, for its owner alone. The mode of an existing folder is
/// the operator's choice and stays.
pub fn create(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
