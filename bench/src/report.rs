//! Figures, and the page that keeps them.

use std::{fmt::Write as _, fs, path::Path};

/// One measured figure, with its rival's if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// Ours.
    pub(crate) ours: f64,
    /// The rival's name and figure.
    pub(crate) rival: Option<(String, f64)>,
    /// The unit.
    pub(crate) unit: &'static str,
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: String,
    sections: Vec<(String, Vec<Figure>)>,
}

/// The median of measurements; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Prints progress.
#[expect(clippy::print_stderr, reason = "a bench tells a person how far it is")]
pub(crate) fn progress(text: &str) {
    eprintln!("bench: {text}");
}

/// Prints a failure.
#[expect(clippy::print_stderr, reason = "the one place where the bench reports its failure")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

impl Report {
    /// A report of a machine.
    pub(crate) const fn new(machine: String) -> Self {
        Self { machine, sections: Vec::new() }
    }

    /// Adds a section.
    pub(crate) fn section(&mut self, name: &str, figures: Vec<Figure>) {
        for figure in &figures {
            progress(&row(figure));
        }
        self.sections.push((name.to_owned(), figures));
    }

    /// Writes the page.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut page = String::from(
            "# Performance\n\nMade by `cargo xtask bench`; medians. Client, servers and rival share the machine and \
             its disk.\nWayleave encrypts, erasure-codes 4 of 6, masks, sends to 6 agents and syncs every \
             acknowledged byte to disk; s3s-fs\nwrites a file and syncs nothing. The ratio is ours to the \
             rival's.\n",
        );
        writeln!(page, "\nMachine: {}\n", self.machine)?;
        for (name, figures) in &self.sections {
            writeln!(
                page,
                "## {name}\n\n| what | Wayleave | rival | ratio | unit |\n|---|---|---|---|---|"
            )?;
            for figure in figures {
                writeln!(page, "{}", row(figure))?;
            }
            page.push('\n');
        }
        fs::write(path, page.trim_end().to_owned() + "\n")?;
        progress(&format!("wrote {}", path.display()));
        Ok(())
    }
}

fn row(figure: &Figure) -> String {
    let (rival, ratio) = figure.rival.as_ref().map_or_else(
        || ("-".to_owned(), "-".to_owned()),
        |(name, value)| (format!("{value:.1} ({name})"), format!("{:.2}", figure.ours / value)),
    );
    format!("| {} | {:.1} | {rival} | {ratio} | {} |", figure.what, figure.ours, figure.unit)
}
