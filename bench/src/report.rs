//! What a run found: printed as a table, written as JSON, drawn as SVG.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::chart;
use crate::floors::Floors;
use crate::machine::{Machine, Shares};
use crate::stage::SETTINGS;
use crate::timeline::Points;

/// What a figure is to be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", number(least)),
            Self::AtMost(most) => format!("<= {}", number(most)),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// A floor's name, and this figure's share of it.
    pub(crate) ratio: Option<(&'static str, f64)>,
    pub(crate) target: Option<Target>,
    pub(crate) reached: Option<bool>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    /// How this scenario was set up beside that.
    pub(crate) notes: Vec<String>,
    pub(crate) floors: Option<Floors>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) processors: Option<Shares>,
    /// Runs before this one that were thrown away for their steal.
    pub(crate) repeated: usize,
    pub(crate) points: Points,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, ratio: None, target: None, reached: None }
    }

    pub(crate) fn of_floor(mut self, name: &'static str, floor: f64) -> Self {
        self.ratio = Some((name, self.value / floor));
        self
    }

    pub(crate) fn at_least(mut self, least: f64) -> Self {
        self.target = Some(Target::AtLeast(least));
        self.judged()
    }

    pub(crate) fn at_most(mut self, most: f64) -> Self {
        self.target = Some(Target::AtMost(most));
        self.judged()
    }

    fn judged(mut self) -> Self {
        self.reached = self.target.map(|target| target.reached(self.value));
        self
    }

    fn row(&self) -> [String; 5] {
        let ratio = self.ratio.map(|(name, ratio)| format!("{ratio:.2} of {name}"));
        let reached = self.reached.map(|reached| if reached { "reached" } else { "SHORT" });
        [
            self.name.clone(),
            format!("{} {}", number(self.value), self.unit),
            ratio.unwrap_or_default(),
            self.target.map(Target::text).unwrap_or_default(),
            reached.unwrap_or_default().to_owned(),
        ]
    }
}

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            machine: Machine::this(),
            settings: SETTINGS.into_iter().filter(|(name, _)| !name.contains("SECRET")).collect(),
            notes: Vec::new(),
            floors: None,
            figures: Vec::new(),
            processors: None,
            repeated: 0,
            points: Points::default(),
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        println!("  {}", figure.row().join("  ").trim_end());
        self.figures.push(figure);
    }

    pub(crate) fn print(&self) {
        let Machine { processor, cores, memory_gib, kernel } = &self.machine;
        println!(
            "\n{} on {cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}",
            self.scenario
        );
        if let Some(floors) = &self.floors {
            let Floors { publish, consume, guard } = floors;
            println!(
                "floors: publish {}/s, consume {}/s, guard {}/s",
                number(*publish),
                number(*consume),
                number(*guard)
            );
        }
        for note in &self.notes {
            println!("note: {note}");
        }
        if let Some(shares) = &self.processors {
            println!(
                "processors: steal {:.1} %, idle {:.1} %, at {:.2} of their speed, {:.0} s; repeated {} times",
                shares.steal * 100.0,
                shares.idle * 100.0,
                shares.speed,
                shares.seconds,
                self.repeated
            );
        }
        let rows: Vec<_> = self.figures.iter().map(Figure::row).collect();
        let width = |place: usize| rows.iter().map(|row| row[place].chars().count()).max();
        let widths: Vec<_> = (0..5).map(|place| width(place).unwrap_or_default()).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("  {}", line.join("  ").trim_end());
        }
    }

    /// Writes `NAME.json` and `NAME.svg` into the folder.
    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let file = folder.join(format!("{}.json", self.scenario));
        std::fs::write(&file, serde_json::to_string_pretty(self)? + "\n")?;
        std::fs::write(file.with_extension("svg"), chart::svg(&self.scenario, &self.points))?;
        Ok(file)
    }
}

/// With as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_target() {
        assert_eq!(Figure::new("rate", 10.0, "/s").at_least(10.0).reached, Some(true));
        assert_eq!(Figure::new("p99", 51.0, "ms").at_most(50.0).reached, Some(false));
        assert_eq!(Figure::new("p99", 51.0, "ms").reached, None);
        let ratio = Figure::new("rate", 10.0, "/s").of_floor("publish", 40.0).ratio;
        assert_eq!(ratio, Some(("publish", 0.25)));
    }
}
