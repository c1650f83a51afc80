//! Settings that work and shouldn't stay so.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ipnet::IpNet;

use super::sections::Settings;

/// Reading by the group or by others.
const READABLE: u32 = 0o044;

pub(super) fn of_settings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    for network in settings.server.trusted_proxies.iter().filter(|network| is_wide(network)) {
        warnings.push(format!(
            "server.trusted_proxies: {network} holds addresses of strangers, who can choose their own address with \
             X-Forwarded-For: name only the networks of proxies"
        ));
    }
    if settings.code.echo && !settings.carries_nothing() {
        warnings.push(
            "code.echo: codes are answered to whoever asks for them, although a provider carries SMS".to_owned(),
        );
    }
    warnings
}

/// Returns whether a network is wider than any that one operator has.
fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        // Unique local addresses (fc00::/7) are nobody else's.
        IpNet::V6(network) => network.prefix_len() < 16 && !network.addr().is_unique_local(),
    }
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
