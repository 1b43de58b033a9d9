//! The panels below the charts: figures, times, messages.

use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Block, Cell, Paragraph, Row, Table},
};

use super::Look;
use crate::{
    app::App,
    record::{Level, Record},
    text,
};

/// A row of the figures.
struct Figure {
    name: String,
    step: Option<f64>,
    epoch: Option<f64>,
    best: Option<(f64, u64)>,
    other: Option<f64>,
}

fn rows(app: &App) -> Vec<Figure> {
    let mut rows: Vec<(String, String, Figure)> = Vec::new();
    let mut row = |phase: &str, name: &str, fill: &mut dyn FnMut(&mut Figure)| {
        let found = rows.iter().position(|(of, named, _)| of == phase && named == name);
        let place = found.unwrap_or_else(|| {
            let label = text::line(&format!("{phase} {name}"));
            let label = label.trim_start().to_owned();
            let empty = Figure { name: label, step: None, epoch: None, best: None, other: None };
            rows.push((phase.to_owned(), name.to_owned(), empty));
            rows.len() - 1
        });
        fill(&mut rows[place].2);
    };
    for figure in &app.run.figures {
        row(&figure.phase, &figure.name, &mut |row| {
            (row.epoch, row.best) = (Some(figure.last), figure.best);
        });
    }
    let by_step = |run: &Record| -> Vec<(String, String, f64)> {
        let curves = run.curves.all().iter();
        let curves = curves.filter(|curve| curve.scope == "step" && !curve.is_hyper_parameter());
        curves.map(|curve| (curve.phase.clone(), curve.name.clone(), curve.last)).collect()
    };
    for (phase, name, last) in by_step(&app.run) {
        row(&phase, &name, &mut |row| row.step = Some(last));
    }
    for figure in app.other.iter().flat_map(|other| &other.figures) {
        let value = figure.best.map_or(figure.last, |best| best.0);
        row(&figure.phase, &figure.name, &mut |row| row.other = Some(value));
    }
    rows.into_iter().map(|(_, _, row)| row).collect()
}

/// Width of a terminal from which the last values by step and by epoch have a column each.
const WIDE: u16 = 100;

/// Widths of the columns on a terminal of some width.
fn widths(app: &App, rows: &[Figure], terminal: u16) -> Vec<u16> {
    let name = rows.iter().map(|row| Span::raw(row.name.as_str()).width()).max().unwrap_or(0);
    let name = name.clamp(10, 28) as u16;
    match (terminal < WIDE, app.other.is_some()) {
        (true, false) => vec![name, 9, 12],
        (true, true) => vec![name, 9, 9, 9],
        (false, false) => vec![name, 9, 9, 15],
        (false, true) => vec![name, 9, 9, 15, 9],
    }
}

/// The width that the figures need on a terminal of some width.
pub(super) fn width_of_figures(app: &App, terminal: u16) -> u16 {
    let widths = widths(app, &rows(app), terminal);
    widths.iter().sum::<u16>() + widths.len() as u16 + 1
}

/// The figures: last value by step and by epoch, the best one with its epoch. A narrow terminal has one
/// column for the last value: by epoch, and by step before the first epoch has ended.
pub(super) fn figures(frame: &mut Frame<'_>, app: &App, terminal: u16, area: Rect) {
    let look = Look::of(app);
    let rows = rows(app);
    let widths = widths(app, &rows, terminal);
    let wide = terminal >= WIDE;
    let space = usize::from(area.height.saturating_sub(3));
    let hidden = if rows.len() > space { rows.len() - space.saturating_sub(1) } else { 0 };
    let shown = rows.len() - hidden;
    let number = |value: Option<f64>| value.map_or(String::new(), text::number);
    let right = |text: String, style: Style| Cell::new(Line::styled(text, style).right_aligned());
    let mut lines: Vec<Row<'_>> = rows[..shown]
        .iter()
        .map(|row| {
            let best = row.best.map_or(String::new(), |(value, epoch)| {
                let value = text::number(value);
                // There is no space for the epoch beside a second run.
                if wide || app.other.is_none() { format!("{value} in {epoch}") } else { value }
            });
            let mut cells = vec![Cell::new(row.name.clone())];
            if wide {
                cells.push(right(number(row.step), look.soft()));
            }
            let last = if wide { row.epoch } else { row.epoch.or(row.step) };
            cells.push(right(number(last), Style::new()));
            cells.push(right(best, look.good()));
            if app.other.is_some() {
                cells.push(right(number(row.other), look.curve(1)));
            }
            Row::new(cells)
        })
        .collect();
    if hidden > 0 {
        lines.push(Row::new(vec![Cell::new(Span::styled(
            format!("and {hidden} more"),
            look.soft(),
        ))]));
    }
    let mut head = vec![Cell::new("")];
    let titles: &[&str] = if wide { &["step", "epoch", "best"] } else { &["last", "best"] };
    for title in titles.iter().chain(app.other.as_ref().map(|_| &"other")) {
        head.push(right((*title).to_owned(), look.soft()));
    }
    let table = Table::new(lines, widths.into_iter().map(Constraint::Length))
        .header(Row::new(head))
        .block(Block::bordered().border_style(look.soft()).title_top(" figures "));
    frame.render_widget(table, area);
}

/// Where the time went: by callback once that is recorded, by phase until then.
pub(super) fn times(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = Look::of(app);
    let profile = &app.run.profile;
    let block = Block::bordered().border_style(look.soft());
    if profile.callbacks.is_empty() && profile.work.is_empty() {
        let mut lines: Vec<Line<'_>> = app
            .run
            .timeline
            .durations()
            .map(|(phase, seconds)| {
                Line::raw(format!("{}  {} an epoch", text::line(phase), text::duration(seconds)))
            })
            .collect();
        lines.push(Line::styled("by callback when the run ends", look.soft()));
        frame.render_widget(Paragraph::new(lines).block(block.title_top(" time ")), area);
        return;
    }
    let kinds = profile.callbacks.iter().chain(&profile.work);
    let mut rows: Vec<&(String, f64)> = kinds.filter(|row| row.1 > 0.0).collect();
    rows.sort_by(|one, other| other.1.total_cmp(&one.1));
    let most = rows.first().map_or(1.0, |row| row.1);
    let width = area.width.saturating_sub(36).clamp(4, 24);
    let lines = rows.iter().map(|(name, seconds)| {
        let full = (seconds / most * f64::from(width)).round() as usize;
        Row::new(vec![
            Cell::new(name.clone()),
            Cell::new(Line::raw(text::duration(*seconds)).right_aligned()),
            Cell::new(Span::styled("━".repeat(full), look.curve(0))),
        ])
    });
    let columns = [Constraint::Fill(1), Constraint::Length(12), Constraint::Length(width)];
    let table = Table::new(lines, columns).block(block.title_top(" time of the last process "));
    frame.render_widget(table, area);
}

/// The last messages, the newest at the bottom.
pub(super) fn messages(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = Look::of(app);
    let space = usize::from(area.height.saturating_sub(2));
    let all = &app.run.messages;
    let end = all.len().saturating_sub(app.scrolled.min(all.len().saturating_sub(1)));
    let lines: Vec<Line<'_>> = all
        .iter()
        .take(end)
        .skip(end.saturating_sub(space))
        .map(|message| {
            let style = match message.level {
                Level::Plain => Style::new(),
                Level::Warning => look.warning(),
                Level::Error => look.bad(),
            };
            Line::from(vec![
                Span::styled(format!("{} ", text::clock(message.time)), look.soft()),
                Span::styled(message.text.as_str(), style),
            ])
        })
        .collect();
    let title = match app.scrolled {
        0 => " log (UTC) ".to_owned(),
        after => format!(" log (UTC), {after} later "),
    };
    let block = Block::bordered().border_style(look.soft()).title_top(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
