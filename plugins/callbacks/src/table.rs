//! A table printed line by line: one line per epoch, and a heading whenever the columns change.

use std::time::Duration;

/// Remembers the columns of the last printed heading.
#[derive(Debug, Default)]
pub struct Table {
    columns: Vec<String>,
}

impl Table {
    /// The line of an epoch, preceded by a heading if the columns changed.
    pub fn line(&mut self, epoch: u64, row: &[(String, f64)], elapsed: Duration) -> String {
        let mut text = String::new();
        if self.columns.len() != row.len()
            || self.columns.iter().zip(row).any(|(known, (name, _))| known != name)
        {
            self.columns = row.iter().map(|(name, _)| name.clone()).collect();
            text.push_str(&format!("{:>5}", "epoch"));
            self.columns.iter().for_each(|name| text.push_str(&format!("  {name:>WIDTH$}")));
            text.push_str(&format!("  {:>8}\n", "time"));
        }
        text.push_str(&format!("{epoch:>5}"));
        for (name, value) in row {
            let width = name.chars().count().max(WIDTH);
            text.push_str(&format!("  {:>width$}", number(*value)));
        }
        text.push_str(&format!("  {:>8}", duration(elapsed)));
        text
    }
}

/// Least width of a column.
const WIDTH: usize = 10;

/// A number with about five significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        value.to_string()
    } else if value == 0.0 || (1e-3..10.0).contains(&size) {
        format!("{value:.4}")
    } else if (10.0..1e5).contains(&size) {
        format!(
            "{value:.*}",
            if size < 100.0 {
                3
            } else if size < 1000.0 {
                2
            } else {
                1
            }
        )
    } else {
        format!("{value:.3e}")
    }
}

/// `34ms`, `1.2s`, `2m03s`, `1h02m`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_comes_once_and_columns_line_up() {
        let mut table = Table::default();
        let row =
            [("training loss".to_owned(), 0.51234567), ("validation accuracy".to_owned(), 0.9)];
        let first = table.line(1, &row, Duration::from_millis(1234));
        assert_eq!(
            first,
            "epoch  training loss  validation accuracy      time\n    1         0.5123               0.9000      1.2s"
        );
        let second = table.line(2, &row, Duration::from_secs(70));
        assert_eq!(second, "    2         0.5123               0.9000     1m10s");
        assert!(
            table
                .line(3, &row[..1], Duration::ZERO)
                .starts_with("epoch  training loss      time\n")
        );
    }

    #[test]
    fn numbers_stay_readable_at_every_size() {
        let shown: Vec<String> =
            [0.0, 1.0, 0.123456, 12.3456, 123.456, 1234.56, 1e-6, 1e9, f64::NAN]
                .into_iter()
                .map(number)
                .collect();
        assert_eq!(
            shown,
            [
                "0.0000", "1.0000", "0.1235", "12.346", "123.46", "1234.6", "1.000e-6", "1.000e9",
                "NaN"
            ]
        );
        let shown =
            [34, 1200, 70_000, 3_725_000].map(|millis| duration(Duration::from_millis(millis)));
        assert_eq!(shown, ["34ms", "1.2s", "1m10s", "1h02m"]);
    }
}
