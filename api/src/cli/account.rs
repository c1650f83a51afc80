//! `postrider-api account set-password`: gives an account a password, so that its owner can log in.

use std::io::Read as _;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use postrider_common::config::Config;
use postrider_common::store::{BanCheck, Explain, Store, StoreError};
use secrecy::SecretString;

use super::print;
use crate::auth::passwords::{self, Passwords};
use crate::http::clock::unix_ms;
use crate::server::backends;

#[derive(Debug, Args)]
pub struct Asked {
    /// The account's name.
    #[arg(long)]
    account: String,
}

/// Reads the password from stdin, up to the end of its first line, and ends every token of the account.
pub async fn set_password(config: &Config, asked: Asked) -> anyhow::Result<()> {
    let password = read_password(std::io::stdin().lock())?;
    let (database, store) = backends::tables_and_store(config).await?;
    let account = database.account_by_name(&asked.account).await.context("the account")?;
    let account = account.with_context(|| format!("there is no account `{}`", asked.account))?;
    let hash = Passwords::new().hash(password).await;
    let hash = hash.map_err(|problem| anyhow!(problem.code.title()))?;
    let now = time_of(&store).await.context("the code store; nothing was changed")?;
    database.set_password(account.id, None, &hash, now).await.context("the account")?;
    // Also those of whoever logged in while it was being set.
    let now = time_of(&store).await.unwrap_or(now);
    let version = database.revoke_all(account.id, now).await.context("the account's tokens")?;
    let version = version.context("the account is gone")?;
    match store.set_account_version(account.id, version).await {
        // A store that lost its data asks the table.
        Ok(()) | Err(StoreError::Lost) => {}
        Err(error) => bail!("it is set, but the store isn't told: set it again: {error}"),
    }
    print("the password is set, and every older token has ended")?;
    Ok(())
}

fn read_password(input: impl std::io::Read) -> anyhow::Result<SecretString> {
    let mut bytes = Vec::new();
    let most = u64::try_from(passwords::LONGEST).unwrap_or(u64::MAX) + 2;
    input.take(most).read_to_end(&mut bytes).context("stdin")?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("the password isn't UTF-8"))?;
    let line = text.split('\n').next().unwrap_or_default();
    let password = SecretString::from(line.strip_suffix('\r').unwrap_or(line));
    match passwords::problem(&password) {
        Some(problem) => bail!("a password {problem}"),
        None => Ok(password),
    }
}

/// Log-ins are issued by the store's clock.
async fn time_of(store: &Store) -> Result<i64, StoreError> {
    let ban_check = BanCheck::default();
    match store.explain(&Explain { now: None, limits: Vec::new(), ban_check }).await {
        Ok(explained) => Ok(explained.now),
        Err(StoreError::Lost) => Ok(unix_ms()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn the_first_line_is_the_password() {
        let read =
            |text: &str| read_password(text.as_bytes()).map(|p| p.expose_secret().to_owned());
        assert_eq!(read("correct horse\n").unwrap(), "correct horse");
        assert_eq!(read("correct horse\r\nmore").unwrap(), "correct horse");
        assert_eq!(read(" spaces count ").unwrap(), " spaces count ");
        assert_eq!(read(&format!("{}\n", "a".repeat(256))).unwrap().len(), 256);
        assert!(read("short\n").is_err() && read("").is_err());
        assert!(read(&"a".repeat(1 << 20)).is_err());
        assert!(read_password([0xff; 10].as_slice()).is_err());
    }
}
