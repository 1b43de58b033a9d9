//! What lies over the dashboard: the keys, and the list of runs.

use std::path::PathBuf;

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Modifier, Style},
    text::Line,
    widgets::{Block, Clear, List, ListItem, ListState, Paragraph},
};

use super::Look;
use crate::{app::App, text};

const KEYS: [(&str, &str); 13] = [
    ("left, right, tab", "other metric"),
    ("+ and -", "zoom in and out along the steps"),
    ("[ and ]", "move to earlier and later steps"),
    ("0", "the whole run again"),
    ("l", "logarithmic scale"),
    ("s", "smooth the curves: off, 0.6, 0.9, 0.98"),
    ("c", "compare with another run, or no longer"),
    ("t", "times instead of the log, where both do not fit"),
    ("up, down, page", "scroll the log"),
    ("?", "these keys"),
    ("q, escape", "leave; the run goes on"),
    ("", ""),
    ("", "Times are in UTC. Only files are read."),
];

/// The list of keys.
pub(super) fn help(frame: &mut Frame<'_>, app: &App) {
    let look = Look::of(app);
    let mut lines: Vec<Line<'_>> =
        KEYS.iter().map(|(key, what)| Line::raw(format!(" {key:18}{what}"))).collect();
    let leaves =
        if app.ends_run { "end the run after its step, with everything saved" } else { "leave" };
    lines.insert(11, Line::raw(format!(" {:18}{leaves}", "ctrl-c")));
    let area = centered(frame.area(), 72, lines.len() as u16 + 2);
    frame.render_widget(Clear, area);
    let block = Block::bordered().border_style(look.strong()).title_top(" keys ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// The list of runs to compare with.
pub(super) fn runs(frame: &mut Frame<'_>, app: &App, runs: &[(String, PathBuf)], selected: usize) {
    let look = Look::of(app);
    let area = centered(frame.area(), 60, runs.len() as u16 + 2);
    frame.render_widget(Clear, area);
    let items = runs.iter().map(|(id, _)| ListItem::new(text::line(id)));
    let list =
        List::new(items).highlight_style(Style::new().add_modifier(Modifier::REVERSED)).block(
            Block::bordered()
                .border_style(look.strong())
                .title_top(" compare with ")
                .title_bottom(" enter: compare, escape: back "),
        );
    let mut state = ListState::default().with_selected(Some(selected));
    frame.render_stateful_widget(list, area, &mut state);
}

fn centered(area: Rect, width: u16, height: u16) -> Rect {
    let height = height.min(area.height.saturating_sub(2)).max(3);
    area.centered(Constraint::Length(width.min(area.width)), Constraint::Length(height))
}
