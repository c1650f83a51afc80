//! The command line of `postrider-worker`.

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use postrider_common::config::Settings;
use postrider_common::model::job::Lane;

/// Takes jobs from the queue and hands them to SMS providers.
#[derive(Debug, Parser)]
#[command(name = "postrider-worker", version)]
pub struct Cli {
    /// Lanes to consume, in place of `[worker] lanes`.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Lane::ALL.map(Lane::as_str)).map(|name| lane(&name)),
    )]
    lanes: Vec<Lane>,
}

impl Cli {
    /// Puts what the command line says in place of what the settings say.
    pub fn apply(&self, settings: &mut Settings) {
        if !self.lanes.is_empty() {
            let given = |lane: &Lane| self.lanes.contains(lane);
            settings.worker.lanes = Lane::ALL.into_iter().filter(given).collect();
        }
    }
}

/// The lane of a name that was checked.
fn lane(name: &str) -> Lane {
    Lane::ALL.into_iter().find(|lane| lane.as_str() == name).unwrap_or(Lane::Code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn lanes(arguments: &[&str]) -> Result<Vec<Lane>, clap::Error> {
        let line = [&["postrider-worker"], arguments].concat();
        let mut settings = Settings::default();
        Cli::try_parse_from(line)?.apply(&mut settings);
        Ok(settings.worker.lanes)
    }

    #[test]
    fn lanes_replace_those_that_are_configured() {
        Cli::command().debug_assert();
        assert_eq!(lanes(&[]).unwrap(), Settings::default().worker.lanes);
        assert_eq!(lanes(&["--lanes", "notice"]).unwrap(), [Lane::Notice]);
        assert_eq!(lanes(&["--lanes", "notice,code"]).unwrap(), [Lane::Code, Lane::Notice]);
        assert_eq!(lanes(&["--lanes=code", "--lanes=code"]).unwrap(), [Lane::Code], "each once");
        for wrong in [&["--lanes", "fast"][..], &["--lanes", ""], &["--lanes"], &["code"], &["-l"]]
        {
            assert_eq!(lanes(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
