//! The display of the learner: progress bars and lines of plugins.

use std::{cell::RefCell, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Colors, Look, Screen};
use crate::{learner::ports::Display, library::escape};

/// Implements the learner's display. Used on the training thread.
#[derive(Debug)]
pub struct Bars {
    screen: Screen,
    /// Bars by the id of their instance, in the order of creation.
    open: RefCell<Vec<(String, ProgressBar)>>,
}

impl Bars {
    /// Bars on a screen.
    pub fn new(screen: Screen) -> Bars {
        Bars { screen, open: RefCell::default() }
    }

    fn take(&self, by: &str) -> Option<ProgressBar> {
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|(id, _)| id == by)?;
        Some(open.remove(at).1)
    }
}

impl Display for Bars {
    fn print(&self, _: &str, text: &str) {
        self.screen.print(&escape::paragraph(text));
    }

    fn progress_begin(&self, by: &str, label: &str, total: u64) {
        if let Some(left) = self.take(by) {
            left.finish_and_clear();
        }
        if self.screen.look() != Look::Bars {
            return;
        }
        let bar = if total == 0 { ProgressBar::no_length() } else { ProgressBar::new(total) };
        let bar = self.screen.bars().add(bar);
        bar.set_style(style(total, self.screen.colors(), self.screen.columns()));
        bar.set_prefix(escape::text(label));
        if total == 0 {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        self.open.borrow_mut().push((by.to_owned(), bar));
    }

    fn progress_set(&self, by: &str, position: u64, message: &str) {
        if let Some((_, bar)) = self.open.borrow().iter().find(|(id, _)| id == by) {
            bar.set_position(position);
            bar.set_message(escape::text(message));
        }
    }

    fn progress_end(&self, by: &str, message: &str) {
        if let Some(bar) = self.take(by) {
            bar.finish_and_clear();
        }
        if !message.is_empty() {
            self.screen.print(&escape::paragraph(message));
        }
    }

    fn interactive(&self) -> bool {
        self.screen.look() == Look::Bars
    }

    fn close(&self) {
        for (_, bar) in self.open.borrow_mut().drain(..) {
            bar.finish_and_clear();
        }
    }
}

/// The bar gets shorter on a narrow terminal, to leave space for the message beside it.
fn style(total: u64, colors: Colors, columns: usize) -> ProgressStyle {
    let width = columns.saturating_sub(88).clamp(8, 24);
    let template = match (total, colors) {
        (0, Colors::On) => "{spinner:.cyan} {prefix}  {pos}  {elapsed:.dim}  {wide_msg}",
        (0, Colors::Off) => "{spinner} {prefix}  {pos}  {elapsed}  {wide_msg}",
        (_, Colors::On) => "{prefix}  {bar:WIDTH.cyan/dim} {pos:>4}/{len}  {eta:.dim}  {wide_msg}",
        (_, Colors::Off) => "{prefix}  {bar:WIDTH} {pos:>4}/{len}  {eta}  {wide_msg}",
    };
    let style = ProgressStyle::with_template(&template.replace("WIDTH", &width.to_string()))
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_need_a_terminal_and_templates_are_valid() {
        let bars = Bars::new(Screen::new(Look::Quiet, Colors::Off));
        bars.progress_begin("progress", "epoch 1", 10);
        assert!(bars.open.borrow().is_empty());
        assert!(!bars.interactive());
        for (total, colors) in
            [(0, Colors::On), (0, Colors::Off), (9, Colors::On), (9, Colors::Off)]
        {
            let bar = ProgressBar::hidden();
            bar.set_style(style(total, colors, 80));
        }
    }

    #[test]
    fn each_instance_has_one_bar_and_close_clears_all() {
        let bars = Bars::new(Screen::new(Look::Bars, Colors::Off));
        bars.screen.bars().set_draw_target(indicatif::ProgressDrawTarget::hidden());
        for (by, total) in [("a", 3), ("b", 0), ("a", 5)] {
            bars.progress_begin(by, "label", total);
        }
        bars.progress_set("a", 4, "loss \x1b[31m");
        let shown: Vec<_> = bars
            .open
            .borrow()
            .iter()
            .map(|(by, bar)| (by.clone(), bar.length(), bar.message()))
            .collect();
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[1], ("a".to_owned(), Some(5), "loss \\x1b[31m".to_owned()));
        bars.close();
        assert!(bars.open.borrow().is_empty());
    }
}
