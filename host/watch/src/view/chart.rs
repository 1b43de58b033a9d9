//! One chart: the curves of a metric in all phases, and those of a second run.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Block, Chart as Plot, Dataset, GraphType, Paragraph, Wrap},
};

use super::Look;
use crate::{
    app::{App, Chart},
    text,
};

/// Marks of the curves where there are no colours.
const MARKS: [char; 5] = ['+', 'x', 'o', '*', '#'];

/// A curve that is drawn.
struct Drawn {
    label: String,
    style: Style,
    marker: Marker,
    points: Vec<(f64, f64)>,
}

/// Says why there is no curve.
pub(super) fn empty(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let said = match app.standing() {
        _ if app.run.share() < 1.0 => "reading the record",
        "running" => "nothing was recorded yet",
        "unknown" => "state.json cannot be read: the folder holds no run, or a damaged one",
        _ => "the run recorded no metrics",
    };
    let block = Block::bordered().border_style(Look::of(app).soft());
    frame.render_widget(Paragraph::new(said).wrap(Wrap { trim: true }).block(block), area);
}

/// Draws a chart. `place` is its number among the charts, for the selected one.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    app: &App,
    chart: &Chart,
    place: Option<(usize, usize)>,
    area: Rect,
) {
    let look = Look::of(app);
    let most = 4 * usize::from(area.width.max(10));
    let whole = app
        .curves(chart)
        .filter_map(|(_, curve)| curve.range())
        .reduce(|one, other| [one[0].min(other[0]), one[1].max(other[1])])
        .unwrap_or([0.0, 1.0]);
    let width = whole[1] - whole[0];
    let range = app.window.map(|share| whole[0] + share * width);
    let drawn = curves(app, chart, range, most);
    let ys = || drawn.iter().flat_map(|one| &one.points).map(|point| point.1);
    let low = ys().fold(f64::INFINITY, f64::min);
    let high = ys().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low <= high { padded(low, high) } else { (0.0, 1.0) };
    let back = |y: f64| if app.log_scale { 10_f64.powf(y) } else { y };
    let y_labels = [low, f64::midpoint(low, high), high]
        .map(|y| Span::styled(label(back(y), back(high) - back(low)), look.soft()));
    let x_labels = [range[0], f64::midpoint(range[0], range[1]), range[1]]
        .map(|x| Span::styled(text::count(x.round().max(0.0) as u64), look.soft()));
    let x_bounds = if range[0] < range[1] { range } else { [range[0] - 0.5, range[0] + 0.5] };
    let datasets = drawn
        .iter()
        .map(|one| {
            // A curve of a single point has no line.
            let graph = if one.points.len() > 1 { GraphType::Line } else { GraphType::Scatter };
            Dataset::default()
                .marker(one.marker)
                .graph_type(graph)
                .style(one.style)
                .data(&one.points)
        })
        .collect();
    let plot = Plot::new(datasets)
        .block(block(app, chart, &drawn, place))
        .legend_position(None)
        .x_axis(Axis::default().bounds(x_bounds).labels(x_labels).style(look.soft()))
        .y_axis(Axis::default().bounds([low, high]).labels(y_labels).style(look.soft()));
    frame.render_widget(plot, area);
}

/// The frame of a chart, with the names of its curves and how they are drawn.
fn block(
    app: &App,
    chart: &Chart,
    drawn: &[Drawn],
    place: Option<(usize, usize)>,
) -> Block<'static> {
    let look = Look::of(app);
    let mut title = vec![Span::styled(format!(" {} ", text::line(&chart.name)), look.strong())];
    title.push(Span::styled(format!("by {} ", chart.scope), look.soft()));
    for one in drawn {
        let mark = match one.marker {
            Marker::Custom(mark) => mark,
            _ => '•',
        };
        title.push(Span::styled(format!(" {mark} {} ", one.label), one.style));
    }
    let mut notes = Vec::new();
    if let Some((index, count)) = place {
        notes.push(format!("{} of {count}", index + 1));
    }
    let shown = app.window[1] - app.window[0];
    if shown < 1.0 {
        notes.push(format!("zoom {:.0}x", 1.0 / shown));
    }
    if app.log_scale {
        notes.push("log".to_owned());
    }
    if app.smoothing() > 0.0 {
        notes.push(format!("smoothed {}", app.smoothing()));
    }
    let bad = app.curves(chart).filter_map(|(_, curve)| {
        let first = curve.first_not_finite?;
        Some(format!(
            "{} {} NaN or infinite, first at {} {}",
            text::count(curve.not_finite),
            text::line(&curve.phase),
            chart.scope,
            text::count(first.ceil() as u64)
        ))
    });
    notes.extend(bad);
    let block = Block::bordered().border_style(look.soft()).title_top(Line::from(title));
    if notes.is_empty() {
        return block;
    }
    let notes = Line::styled(format!(" {} ", notes.join(", ")), look.soft());
    block.title_bottom(notes.right_aligned())
}

/// The points of all curves within a range of x.
fn curves(app: &App, chart: &Chart, range: [f64; 2], most: usize) -> Vec<Drawn> {
    let mut phases: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    for (run, curve) in app.curves(chart) {
        let phase = phases.iter().position(|known| *known == curve.phase).unwrap_or_else(|| {
            phases.push(&curve.phase);
            phases.len() - 1
        });
        // Curves of the second run stand apart from all of the first.
        let number = 2 * phase + run;
        let mut points = curve.points_within(range, most);
        points.retain(|point| point.1.is_finite());
        smooth(&mut points, app.smoothing());
        if app.log_scale {
            points.retain(|point| point.1 > 0.0);
            points.iter_mut().for_each(|point| point.1 = point.1.log10());
        }
        let mut label = text::line(if curve.phase.is_empty() { "run" } else { &curve.phase });
        if run > 0 {
            label.push_str(", other run");
        }
        let marker = match (app.colors || number == 0, number) {
            (true, _) => Marker::Braille,
            (false, number) => Marker::Custom(MARKS[(number - 1) % MARKS.len()]),
        };
        all.push(Drawn { label, style: Look::of(app).curve(number), marker, points });
    }
    all
}

/// Exponential average, corrected for its start.
fn smooth(points: &mut [(f64, f64)], share: f64) {
    if share == 0.0 {
        return;
    }
    let (mut mean, mut weight) = (0.0, 0.0);
    for point in points {
        mean = share * mean + (1.0 - share) * point.1;
        weight = share * weight + (1.0 - share);
        point.1 = mean / weight;
    }
}

/// Bounds that leave the extremes within the chart.
fn padded(low: f64, high: f64) -> (f64, f64) {
    let space = if high > low { 0.02 * (high - low) } else { 0.5 * low.abs().max(1e-9) };
    // Curves that are never negative end at 0.
    let bottom = if low >= 0.0 { (low - space).max(0.0) } else { low - space };
    (bottom, high + space)
}

fn label(value: f64, range: f64) -> String {
    format!("{:>7}", text::tick(value, range))
}
