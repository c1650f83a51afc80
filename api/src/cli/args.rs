//! The command line: `postrider-api` alone serves.

use clap::{Parser, Subcommand};
use postrider_common::config::{Backends, Config, LogFormat};
use postrider_common::runtime::telemetry;

use crate::cli::{account, ban, dead_letters, migrate, purge, token};
use crate::server::serve;

/// Sends verification codes and notices by SMS.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (and embedded, the worker too). The default.
    Serve,
    /// Apply the migrations that aren't applied yet.
    Migrate,
    /// Create a token (printed last), and its account where there is none.
    Token(token::Asked),
    /// Accounts.
    #[command(subcommand)]
    Account(Account),
    /// Ban a phone number, an address or a network.
    Ban(ban::Asked),
    /// Lift a ban.
    Unban(ban::Lifted),
    /// Messages that couldn't be sent, and jobs that nobody could read.
    #[command(subcommand)]
    Dead(Dead),
    /// Delete what is old: messages, refusals, dead letters. Made to be run by cron, beside a running service.
    Purge(purge::Asked),
}

#[derive(Debug, Subcommand)]
enum Account {
    /// Give an account the password on stdin, so that its owner can log in; every older token ends.
    SetPassword(account::Asked),
}

#[derive(Debug, Subcommand)]
enum Dead {
    /// List dead letters, newest first.
    List(dead_letters::Asked),
}

impl Cli {
    /// Returns whether this process serves: a command that doesn't needs no provider.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self.command, None | Some(Command::Serve))
    }
}

/// Runs what was asked for.
pub async fn run(cli: Cli, config: Config) -> anyhow::Result<()> {
    let log = &config.settings.log;
    let usual = match config.backends {
        Backends::Embedded { .. } => LogFormat::Text,
        Backends::Distributed { .. } => LogFormat::Json,
    };
    telemetry::init_logs(log.format.unwrap_or(usual), &log.filter)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config).await,
        Command::Migrate => migrate::run(&config).await,
        Command::Token(asked) => token::run(&config, asked).await,
        Command::Account(Account::SetPassword(asked)) => {
            account::set_password(&config, asked).await
        }
        Command::Ban(asked) => ban::ban(&config, asked).await,
        Command::Unban(lifted) => ban::unban(&config, &lifted).await,
        Command::Dead(Dead::List(asked)) => dead_letters::list(&config, &asked).await,
        Command::Purge(asked) => purge::run(&config, &asked).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let parsed = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parsed("postrider-api token --account shop --admin --scope on_behalf --ttl 24h"));
        assert!(parsed("postrider-api token --account shop --existing"));
        assert!(parsed("postrider-api ban cidr 203.0.113.0/24 --for 30m --reason abuse"));
        assert!(parsed("postrider-api dead list --limit 5"));
        assert!(parsed("postrider-api account set-password --account ops"));
        assert!(parsed("postrider-api purge --older-than 90d --dry-run"));
        assert!(!parsed("postrider-api purge"));
        assert!(!parsed("postrider-api purge --older-than 23h"));
        assert!(!parsed("postrider-api ban phone"));
        assert!(!parsed("postrider-api token"));
    }
}
