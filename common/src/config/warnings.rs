//! Settings that work and shouldn't stay so.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::sections::Settings;

/// Reading by the group or by others.
const READABLE: u32 = 0o044;

pub(super) fn of_settings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    for network in settings.server.trusted_proxies.iter().filter(|net| net.prefix_len() == 0) {
        warnings.push(format!(
            "server.trusted_proxies: {network} is everybody: any caller can choose its own address with X-Forwarded-For"
        ));
    }
    if settings.code.echo && !settings.carries_nothing() {
        warnings.push(
            "code.echo: codes are answered to whoever asks for them, although a provider carries SMS".to_owned(),
        );
    }
    warnings
}

/// A warning where others than its owner can read a file with a secret.
pub(super) fn readable_by_others(path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & READABLE != 0).then(|| {
        let (path, mode) = (path.display(), mode & 0o777);
        format!(
            "{path}: holds a secret and can be read by others (mode {mode:04o}): chmod 600 {path}"
        )
    })
}
