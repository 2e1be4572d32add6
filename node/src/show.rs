//! How a running command shows figures that change with every block: one JSON document a line, or one line
//! that changes on a terminal.

use crate::out;
use serde::Serialize;

/// Figures that fit on one line.
pub(crate) trait Figures: Serialize {
    /// As much as `columns` hold, on one line.
    fn line(&self, columns: usize) -> String;
}

/// How figures are shown: a terminal has so many columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// As JSON.
    Json,
    /// As lines.
    Lines(Option<usize>),
}

impl Show {
    /// As `--json` says, or as standard output is.
    pub(crate) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Lines(out::columns()) }
    }

    /// Shows figures. A terminal's line always changes; a log gets a line when there is `news`.
    pub(crate) fn figures(self, figures: &impl Figures, news: bool) {
        match self {
            // Its width may change at any time; the last column stays free, or some terminals wrap.
            Self::Lines(Some(columns)) => {
                let columns = out::columns().unwrap_or(columns);
                out::status(figures.line(columns.saturating_sub(1)));
            }
            Self::Lines(None) if news => out::line(figures.line(usize::MAX)),
            Self::Json if news => out::json_line(figures),
            _ => {}
        }
    }

    /// Says that the command ends, on a line of its own.
    pub(crate) fn stopping(self, text: &str) {
        if let Self::Lines(columns) = self {
            if columns.is_some() {
                out::line("");
            }
            out::line(text);
        }
    }

    /// Says what happened, on a line of its own.
    pub(crate) fn event(self, what: &str, text: &str) {
        match self {
            Self::Json => out::json_line(&serde_json::json!({ "event": what, "text": text })),
            Self::Lines(columns) => {
                if columns.is_some() {
                    out::status("");
                }
                out::line(format!("{what}: {text}"));
            }
        }
    }
}
