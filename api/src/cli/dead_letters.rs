//! `postrider-api dead list`: dead letters, without what is sealed in them.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;
use postrider_common::config::Config;
use postrider_common::database::dead_letter::NewDeadLetter;
use postrider_common::runtime::terminal::printable;
use serde_json::json;

use super::print;
use crate::http::clock::rfc3339;
use crate::server::backends;

#[derive(Debug, Args)]
pub struct Asked {
    /// How many at the most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// One JSON object a line, in place of a table.
    #[arg(long)]
    json: bool,
}

pub async fn list(config: &Config, asked: &Asked) -> anyhow::Result<()> {
    let (database, _) = backends::existing_tables_and_store(config).await?;
    let letters = database.dead_letters(None, asked.limit).await.context("the dead letters")?;
    if !asked.json {
        print(&format!(
            "{:24}  {:40}  {:6}  {:14}  tries  detail",
            "when", "id", "lane", "reason"
        ))?;
    }
    for letter in &letters {
        let text = if asked.json { object(letter) } else { line(letter)? };
        print(&printable(&text))?;
    }
    Ok(())
}

fn lane(letter: &NewDeadLetter) -> &'static str {
    letter.lane.map_or("-", |lane| lane.as_str())
}

fn reason(letter: &NewDeadLetter) -> String {
    json!(letter.reason).as_str().unwrap_or_default().to_owned()
}

fn line(letter: &NewDeadLetter) -> Result<String, std::fmt::Error> {
    // Numbered from 1; the letter has the last ones.
    let tries = letter.attempts.last().map_or(0, |attempt| attempt.number);
    let when = rfc3339(letter.create_time);
    let mut line = String::new();
    write!(line, "{when:24}  {:40}  {:6}  {:14}", letter.id, lane(letter), reason(letter))?;
    write!(line, "  {tries:>5}  {}", letter.detail)?;
    if let Some(code) = letter.attempts.last().and_then(|attempt| attempt.error_code.as_ref()) {
        write!(line, " (last: {code})")?;
    }
    Ok(line)
}

fn object(letter: &NewDeadLetter) -> String {
    json!({
        "id": letter.id,
        "message_id": letter.message_id,
        "lane": letter.lane,
        "reason": letter.reason,
        "detail": letter.detail,
        "created_at": rfc3339(letter.create_time),
        "attempts": letter.attempts.iter().map(|attempt| json!({
            "number": attempt.number,
            "provider": attempt.provider,
            "outcome": attempt.outcome,
            "at": rfc3339(attempt.at),
            "error_code": attempt.error_code,
        })).collect::<Vec<_>>(),
    })
    .to_string()
}
