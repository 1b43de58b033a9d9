//! How the dashboard is drawn. Drawing depends on the [`App`] alone, so that tests can look at it.
//!
//! From 80 x 24 characters on everything is there; a smaller terminal shows the parts that fit.

mod chart;
mod overlay;
mod panels;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    app::{App, Overlay, Panel},
    text,
};

/// Smallest size of a chart where several are shown.
const CHART: (u16, u16) = (60, 14);
/// Height of the panels below the charts.
const PANELS: u16 = 8;

/// Draws the dashboard.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    if area.width < 30 || area.height < 8 {
        frame.render_widget(Paragraph::new("the terminal is too small for the dashboard"), area);
        return;
    }
    let panels = match area.height {
        ..16 => 0,
        16..36 => PANELS,
        height => PANELS + (height - 36) / 4,
    };
    let [title, progress, facts, charts, below, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(4),
        Constraint::Length(panels),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(title_line(app, title.width), title);
    frame.render_widget(progress_line(app, progress.width), progress);
    frame.render_widget(facts_line(app), facts);
    draw_charts(frame, app, charts);
    if panels > 0 {
        draw_panels(frame, app, below);
    }
    frame.render_widget(keys_line(app, keys.width), keys);
    match &app.overlay {
        Overlay::None => {}
        Overlay::Help => overlay::help(frame, app),
        Overlay::Runs(runs, selected) => overlay::runs(frame, app, runs, *selected),
    }
}

/// Styles of the dashboard; without colours, bold and dim.
#[derive(Clone, Copy, Debug)]
struct Look {
    colors: bool,
}

impl Look {
    fn of(app: &App) -> Look {
        Look { colors: app.colors }
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn soft(self) -> Style {
        if self.colors { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn colored(self, color: Color) -> Style {
        if self.colors { Style::new().fg(color) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colored(Color::Green)
    }

    fn warning(self) -> Style {
        if self.colors { Style::new().fg(Color::Yellow) } else { self.strong() }
    }

    fn bad(self) -> Style {
        if self.colors { Style::new().fg(Color::Red) } else { self.strong() }
    }

    /// The colour of a curve, by its number.
    fn curve(self, number: usize) -> Style {
        const COLORS: [Color; 6] = [
            Color::Cyan,
            Color::Yellow,
            Color::Green,
            Color::Magenta,
            Color::LightBlue,
            Color::LightRed,
        ];
        self.colored(COLORS[number % COLORS.len()])
    }
}

fn title_line(app: &App, width: u16) -> Line<'static> {
    let look = Look::of(app);
    let standing = app.standing().to_owned();
    let style = match standing.as_str() {
        "running" | "finished" => look.good().add_modifier(Modifier::BOLD),
        "failed" => look.bad().add_modifier(Modifier::BOLD),
        _ => look.warning().add_modifier(Modifier::BOLD),
    };
    let mut spans = vec![
        Span::styled(app.run.id.clone(), look.strong()),
        Span::raw("  "),
        Span::styled(standing, style),
    ];
    if let Some(state) = &app.run.state {
        let began = text::seconds(&state.started);
        let end = if app.live { Some(app.now) } else { text::seconds(&state.updated) };
        if let Some((began, end)) = began.zip(end) {
            let ago = text::duration((end - began).max(0.0));
            spans.push(Span::raw(format!("  {ago}")));
        }
        if state.resumed > 0 {
            let times =
                if state.resumed == 1 { "once" } else { &format!("{} times", state.resumed) };
            spans.push(Span::raw(format!("  resumed {times}")));
        }
        if !state.reason.is_empty() {
            let by = if state.by.is_empty() { String::new() } else { format!(" by {}", state.by) };
            let reason = text::line(&format!("{}{by}", state.reason));
            spans.push(Span::styled(format!("  {reason}"), look.warning()));
        }
    }
    if let Some(other) = &app.other {
        spans.push(Span::styled(format!("  beside {}", other.id), look.soft()));
    }
    let reading = app.run.share();
    if reading < 0.995 {
        spans.push(Span::styled(format!("  reading, {:.0} %", 100.0 * reading), look.warning()));
    }
    clipped(spans, width)
}

/// Spans cut at the width, with a mark.
fn clipped(spans: Vec<Span<'static>>, width: u16) -> Line<'static> {
    let line = Line::from(spans);
    let width = usize::from(width);
    if line.width() <= width {
        return line;
    }
    let mut left = width.saturating_sub(1);
    let mut kept = Vec::new();
    for span in line.spans {
        let of_span = span.width();
        if of_span <= left {
            left -= of_span;
            kept.push(span);
            continue;
        }
        let mut short = String::new();
        for ch in span.content.chars() {
            let with = format!("{short}{ch}");
            if Span::raw(with.as_str()).width() > left {
                break;
            }
            short = with;
        }
        short.push('…');
        kept.push(Span::styled(short, span.style));
        break;
    }
    Line::from(kept)
}

fn progress_line(app: &App, width: u16) -> Line<'static> {
    let (look, run) = (Look::of(app), &app.run);
    let timeline = &run.timeline;
    let epochs = run.settings.epochs;
    let now = if app.live { app.now } else { run.latest };
    let progress = timeline.progress(&run.pace, epochs, now);
    let mut said = match (&timeline.running, epochs) {
        (Some((phase, epoch, _)), epochs) => {
            let of = if epochs > 0 { format!("/{epochs}") } else { String::new() };
            let mut said = format!("epoch {epoch}{of} {}", text::line(phase));
            if let Some((_, _, step)) =
                run.pace.at.as_ref().filter(|at| at.0 == *phase && at.1 == *epoch)
            {
                said = match timeline.steps_of(phase, &run.pace).filter(|steps| steps >= step) {
                    Some(steps) => format!("{said} {}/{}", text::count(*step), text::count(steps)),
                    None => format!("{said} step {}", text::count(*step)),
                };
            }
            said
        }
        (None, 0) => "no epoch has begun".to_owned(),
        (None, epochs) => format!("{}/{epochs} epochs", timeline.epochs_done),
    };
    said.push_str("  ");
    let share = if app.standing() == "finished" { 1.0 } else { progress.share };
    let mut after = format!("  {:.0} %", 100.0 * share);
    if app.standing() == "running" {
        match progress.left {
            Some(left) => after.push_str(&format!("  {} left", text::duration(left))),
            None => after.push_str("  time left not known yet"),
        }
    }
    let space = usize::from(width).saturating_sub(Line::raw(said.as_str()).width() + after.len());
    let bar = space.min(60);
    let full = (share * bar as f64).round() as usize;
    clipped(
        vec![
            Span::raw(said),
            Span::styled("━".repeat(full), look.colored(Color::Cyan)),
            Span::styled("─".repeat(bar.saturating_sub(full)), look.soft()),
            Span::raw(after),
        ],
        width,
    )
}

fn facts_line(app: &App) -> Line<'static> {
    let (look, run) = (Look::of(app), &app.run);
    let mut facts = Vec::new();
    if let Some(rate) = run.pace.rate() {
        facts.push(text::rate(rate, "steps"));
        if run.settings.batch_size > 0 {
            facts.push(text::rate(rate * run.settings.batch_size as f64, "samples"));
        }
    }
    let is_rate = |name: &str| name.trim_start_matches("hparams/") == "learning-rate";
    let recorded = run.curves.all().iter().find(|curve| is_rate(&curve.name));
    if let Some(rate) = recorded.map(|curve| curve.last) {
        facts.push(format!("learning rate {}", text::short(rate)));
    } else if let Some(rate) = run.settings.learning_rate {
        facts.push(format!("initial learning rate {}", text::short(rate)));
    }
    match (app.memory, run.profile.peak_memory) {
        (Some(memory), _) => facts.push(format!("memory {}", text::bytes(memory))),
        (None, Some(peak)) => facts.push(format!("peak memory {}", text::bytes(peak))),
        _ => {}
    }
    let mut spans = vec![Span::styled(facts.join("   "), look.soft())];
    if let Some(problem) = &run.problem {
        spans.push(Span::styled(format!("   {}", text::line(problem)), look.bad()));
    } else if run.damaged > 0 {
        let damaged = format!("   {} damaged lines", text::count(run.damaged));
        spans.push(Span::styled(damaged, look.warning()));
    }
    Line::from(spans)
}

/// As many charts as there is space for, from the selected one on.
fn draw_charts(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let charts = app.charts();
    if charts.is_empty() {
        chart::empty(frame, app, area);
        return;
    }
    let selected = app.selected(&charts);
    let columns = (area.width / CHART.0).clamp(1, 3);
    let rows = (area.height / CHART.1).clamp(1, 3);
    let columns = columns.min(charts.len() as u16);
    let rows = rows.min((charts.len() as u16).div_ceil(columns));
    let places = Layout::vertical(vec![Constraint::Fill(1); usize::from(rows)]).split(area);
    for (row, place) in places.iter().enumerate() {
        let cells =
            Layout::horizontal(vec![Constraint::Fill(1); usize::from(columns)]).split(*place);
        for (column, cell) in cells.iter().enumerate() {
            let offset = row * usize::from(columns) + column;
            if offset < charts.len() {
                let index = (selected + offset) % charts.len();
                let place = (offset == 0).then_some((index, charts.len()));
                chart::draw(frame, app, &charts[index], place, *cell);
            }
        }
    }
}

fn draw_panels(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let figures = panels::width_of_figures(app, area.width).min(area.width * 2 / 3);
    if area.width >= 150 {
        let [first, second, third] = Layout::horizontal([
            Constraint::Length(figures),
            Constraint::Length(40),
            Constraint::Fill(1),
        ])
        .areas(area);
        panels::figures(frame, app, area.width, first);
        panels::times(frame, app, second);
        panels::messages(frame, app, third);
        return;
    }
    let [first, second] =
        Layout::horizontal([Constraint::Length(figures), Constraint::Fill(1)]).areas(area);
    panels::figures(frame, app, area.width, first);
    match app.panel {
        Panel::Messages => panels::messages(frame, app, second),
        Panel::Times => panels::times(frame, app, second),
    }
}

fn keys_line(app: &App, width: u16) -> Line<'static> {
    let look = Look::of(app);
    if !app.notice.is_empty() {
        return clipped(vec![Span::styled(app.notice.clone(), look.warning())], width);
    }
    let mut spans = Vec::new();
    for (key, what) in [
        ("q", "quit"),
        ("?", "help"),
        ("←→", "metric"),
        ("+-", "zoom"),
        ("l", "log"),
        ("s", "smooth"),
        ("c", "compare"),
        ("t", "times"),
    ] {
        spans.push(Span::styled(key, look.strong()));
        spans.push(Span::styled(format!(" {what}  "), look.soft()));
    }
    clipped(spans, width)
}

#[cfg(test)]
mod tests;
