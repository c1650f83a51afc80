//! What `serve` prints: where it listens, and to a newcomer everything that a first code takes.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use postrider_common::config::Config;
use postrider_common::database::Database;
use postrider_common::database::account::Role;

use crate::auth::token::{self, Grant};
use crate::http::clock::unix_ms;

const ACCOUNT: &str = "demo";
const DAY_MS: i64 = 86_400_000;

/// Prints to stdout, where scripts read the address from.
pub async fn say(config: &Config, database: &Database, address: SocketAddr) -> anyhow::Result<()> {
    let mut text = format!("Postrider is listening on http://{address}\n");
    if config.trial {
        let now = unix_ms();
        let account = database.ensure_account(ACCOUNT, Role::Account, now).await?;
        let token = token::issue(&config.keys, account.id, &Grant::USUAL, now, DAY_MS)?;
        text.push_str(&first_steps(address, &token));
    }
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("stdout")
}

/// Exactly two lines begin with `curl `: those that a newcomer pastes, and that scripts run.
fn first_steps(address: SocketAddr, token: &str) -> String {
    let call = |path: &str, body: &str| {
        format!(
            "curl -s http://{address}{path} -H 'Authorization: Bearer {token}' \
             -H 'Content-Type: application/json' -d '{body}'"
        )
    };
    let send = call("/v1/verifications", r#"{"phone":"13800138000","purpose":"login"}"#);
    let verify = call(
        "/v1/verifications/check",
        r#"{"phone":"13800138000","purpose":"login","code":"CODE"}"#,
    );
    format!(
        "
Nothing is configured, so this is a trial: the sandbox provider carries no SMS.
A token for the account `{ACCOUNT}`, good for a day (postrider-api token makes more):

{token}

Send a code:

{send}

The sandbox kept the text; read the code in it:

  curl -s http://{address}/sandbox/messages -H 'Authorization: Bearer {token}'

Verify it, with the code in place of CODE:

{verify}

Read and try the rest at http://{address}/docs

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_are_there_to_be_pasted() {
        let text = first_steps("127.0.0.1:8080".parse().unwrap(), "abc");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("/v1/verifications ") && lines[1].contains("CODE"));
    }
}
