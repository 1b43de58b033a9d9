//! What the dashboard shows, and what keys change.

use std::{path::PathBuf, time::Duration};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    Host,
    curve::Curve,
    record::{Record, Updated},
};

/// Shares of an exponential average that the smoothing key goes through.
const SMOOTHING: [f64; 4] = [0.0, 0.6, 0.9, 0.98];
/// Most that can be zoomed in.
const MOST_ZOOM: f64 = 1024.0;

/// The dashboard of a run.
#[derive(Debug)]
pub struct App {
    /// The run.
    pub run: Record,
    /// The run that it is compared with.
    pub other: Option<Record>,
    /// Whether a process works in the run's folder.
    pub live: bool,
    /// Resident memory of the run's processes, in bytes.
    pub memory: Option<u64>,
    /// Seconds since 1970.
    pub now: f64,
    /// Whether colours are used.
    pub colors: bool,
    /// Whether leaving the dashboard ends it, or Ctrl-C ends the run.
    pub ends_run: bool,
    /// The chart that is shown first; none for the first one there is.
    selected: Option<Chart>,
    /// Part of the horizontal axis that is shown, as shares from 0 to 1.
    pub window: [f64; 2],
    /// Whether the vertical axis is logarithmic.
    pub log_scale: bool,
    smoothing: usize,
    /// What stands beside the figures where there is space for one panel only.
    pub panel: Panel,
    /// Messages after the last one shown.
    pub scrolled: usize,
    /// What lies over the dashboard.
    pub overlay: Overlay,
    /// A message about the last key.
    pub notice: String,
}

/// A metric by step or by epoch, of all phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// `step` or `epoch`.
    pub scope: String,
    /// Name of the metric.
    pub name: String,
}

/// A panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panel {
    /// The last messages.
    Messages,
    /// Where the time went.
    Times,
}

/// What lies over the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    None,
    /// The list of keys.
    Help,
    /// The list of runs to compare with: (id, folder), and the selected one.
    Runs(Vec<(String, PathBuf)>, usize),
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The dashboard goes on.
    Stay,
    /// The user leaves.
    Leave,
    /// The user ends the run.
    Interrupt,
}

impl App {
    /// The dashboard of a run of which nothing was read yet.
    pub fn new(run: Record, colors: bool) -> App {
        App {
            run,
            other: None,
            live: false,
            memory: None,
            now: 0.0,
            colors,
            ends_run: false,
            selected: None,
            window: [0.0, 1.0],
            log_scale: false,
            smoothing: 0,
            panel: Panel::Messages,
            scrolled: 0,
            overlay: Overlay::None,
            notice: String::new(),
        }
    }

    /// Reads what the runs have written since the last call, for at most about `budget` each.
    pub fn update(&mut self, budget: Duration) -> Updated {
        let mut updated = self.run.update(budget);
        if let Some(other) = &mut self.other {
            let second = other.update(budget);
            updated.changed |= second.changed;
            updated.more |= second.more;
        }
        updated
    }

    /// The charts that there are: the loss first, by step before by epoch, settings last.
    pub fn charts(&self) -> Vec<Chart> {
        let mut charts: Vec<(usize, Chart)> = Vec::new();
        for curve in self.run.curves.all() {
            let chart = Chart { scope: curve.scope.clone(), name: curve.name.clone() };
            if charts.iter().all(|(_, known)| *known != chart) {
                let rank = match (curve.is_hyper_parameter(), curve.name == "loss") {
                    (true, _) => 4,
                    (false, true) => 0,
                    (false, false) => 2,
                } + usize::from(curve.scope != "step");
                charts.push((rank, chart));
            }
        }
        charts.sort_by_key(|(rank, _)| *rank);
        charts.into_iter().map(|(_, chart)| chart).collect()
    }

    /// Place of the selected chart among [`App::charts`].
    pub fn selected(&self, charts: &[Chart]) -> usize {
        let selected = self.selected.as_ref();
        selected.and_then(|one| charts.iter().position(|chart| chart == one)).unwrap_or(0)
    }

    /// The curves of a chart: (number of the run, curve).
    pub fn curves<'a>(&'a self, chart: &'a Chart) -> impl Iterator<Item = (usize, &'a Curve)> {
        let runs = std::iter::once(&self.run).chain(&self.other).enumerate();
        runs.flat_map(move |(number, run)| {
            let of_chart =
                move |curve: &&Curve| curve.scope == chart.scope && curve.name == chart.name;
            run.curves.all().iter().filter(of_chart).map(move |curve| (number, curve))
        })
    }

    /// Share of the former average in the smoothed curves; 0 for none.
    pub fn smoothing(&self) -> f64 {
        SMOOTHING[self.smoothing]
    }

    /// How the run stands, in one word.
    pub fn standing(&self) -> &str {
        match &self.run.state {
            None => "unknown",
            Some(state) if state.status == "running" && !self.live => "broken-off",
            Some(state) => &state.status,
        }
    }

    /// Handles a key.
    pub fn key(&mut self, key: KeyEvent, host: &dyn Host) -> After {
        self.notice.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') if self.ends_run => After::Interrupt,
                KeyCode::Char('c' | 'd') => After::Leave,
                _ => After::Stay,
            };
        }
        match std::mem::replace(&mut self.overlay, Overlay::None) {
            Overlay::Help => return After::Stay,
            Overlay::Runs(runs, selected) => {
                self.pick(key.code, runs, selected);
                return After::Stay;
            }
            Overlay::None => {}
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return After::Leave,
            KeyCode::Right | KeyCode::Tab | KeyCode::Char('n') => self.select(1),
            KeyCode::Left | KeyCode::BackTab | KeyCode::Char('p') => self.select(-1),
            KeyCode::Char('+' | '=') => self.zoom(0.5),
            KeyCode::Char('-') => self.zoom(2.0),
            KeyCode::Char('0') => self.window = [0.0, 1.0],
            KeyCode::Char('[' | '<' | ',') => self.pan(-0.25),
            KeyCode::Char(']' | '>' | '.') => self.pan(0.25),
            KeyCode::Char('l') => self.log_scale = !self.log_scale,
            KeyCode::Char('s') => self.smoothing = (self.smoothing + 1) % SMOOTHING.len(),
            KeyCode::Char('t') => {
                self.panel = match self.panel {
                    Panel::Messages => Panel::Times,
                    Panel::Times => Panel::Messages,
                };
            }
            KeyCode::Char('c') => self.compare(host),
            KeyCode::Up | KeyCode::PageUp => {
                let step = if key.code == KeyCode::Up { 1 } else { 10 };
                self.scrolled =
                    (self.scrolled + step).min(self.run.messages.len().saturating_sub(1));
            }
            KeyCode::Down | KeyCode::PageDown => {
                let step = if key.code == KeyCode::Down { 1 } else { 10 };
                self.scrolled = self.scrolled.saturating_sub(step);
            }
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.overlay = Overlay::Help,
            _ => {}
        }
        After::Stay
    }

    fn select(&mut self, by: isize) {
        let charts = self.charts();
        if !charts.is_empty() {
            let next = self.selected(&charts) as isize + by;
            self.selected = Some(charts[next.rem_euclid(charts.len() as isize) as usize].clone());
        }
    }

    /// Scales the window. One that reaches the end of the run stays there.
    fn zoom(&mut self, by: f64) {
        let [from, to] = self.window;
        let width = ((to - from) * by).clamp(1.0 / MOST_ZOOM, 1.0);
        let center = if to >= 1.0 { 1.0 - width / 2.0 } else { f64::midpoint(from, to) };
        let from = (center - width / 2.0).clamp(0.0, 1.0 - width);
        self.window = [from, from + width];
    }

    fn pan(&mut self, by: f64) {
        let [from, to] = self.window;
        let width = to - from;
        let from = (from + by * width).clamp(0.0, 1.0 - width);
        self.window = [from, from + width];
    }

    fn compare(&mut self, host: &dyn Host) {
        if self.other.take().is_some() {
            return;
        }
        let mut runs = host.runs();
        let own = std::fs::canonicalize(&self.run.folder).ok();
        runs.retain(|(_, folder)| std::fs::canonicalize(folder).ok() != own);
        runs.reverse();
        if runs.is_empty() {
            self.notice = "there is no other run beside this one".to_owned();
        } else {
            self.overlay = Overlay::Runs(runs, 0);
        }
    }

    fn pick(&mut self, code: KeyCode, runs: Vec<(String, PathBuf)>, selected: usize) {
        let last = runs.len() - 1;
        let selected = match code {
            KeyCode::Up | KeyCode::Char('k') => selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (selected + 1).min(last),
            KeyCode::PageUp => selected.saturating_sub(10),
            KeyCode::PageDown => (selected + 10).min(last),
            KeyCode::Home => 0,
            KeyCode::End => last,
            KeyCode::Enter => {
                let (id, folder) = &runs[selected];
                self.other = Some(Record::new(id, folder));
                return;
            }
            KeyCode::Esc | KeyCode::Char('q' | 'c') => return,
            _ => selected,
        };
        self.overlay = Overlay::Runs(runs, selected);
    }
}
