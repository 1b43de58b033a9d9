//! A curve as text.

use std::fmt::Write as _;

/// Columns of the curve.
const WIDTH: usize = 64;
/// Rows of the curve.
const HEIGHT: usize = 12;

/// Draws values at the times 1, 2, 3, ... Values that are not finite are left out.
pub fn plot(values: &[f64]) -> String {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if !low.is_finite() {
        return "nothing to draw: no finite value\n".to_owned();
    }
    let width = WIDTH.min(values.len());
    let mut rows = vec![vec![' '; width]; HEIGHT];
    for column in 0..width {
        let value = values[index_of(column, width, values.len())];
        if value.is_finite() {
            rows[row_of(value, low, high)][column] = '*';
        }
    }
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        let label = match number {
            0 => format!("{high:.3e}"),
            _ if number + 1 == HEIGHT => format!("{low:.3e}"),
            _ => String::new(),
        };
        let line: String = row.iter().collect();
        let _ = writeln!(out, "{label:>10} |{}", line.trim_end());
    }
    let last = values.len().to_string();
    let _ = writeln!(out, "{:>10} +{}", "", "-".repeat(width));
    let _ = writeln!(out, "{:>10}  1{last:>1$}", "", width.saturating_sub(1));
    out
}

/// Index of the value in a column: the first and last columns show the first and last values.
fn index_of(column: usize, width: usize, count: usize) -> usize {
    if width < 2 { 0 } else { column * (count - 1) / (width - 1) }
}

fn row_of(value: f64, low: f64, high: f64) -> usize {
    if high <= low {
        return HEIGHT - 1;
    }
    let share = (value - low) / (high - low);
    HEIGHT - 1 - (share * (HEIGHT - 1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let drawn = plot(&(0..64).map(f64::from).collect::<Vec<_>>());
        let rows: Vec<&str> = drawn.lines().collect();
        assert_eq!(rows.len(), HEIGHT + 2);
        assert!(rows[0].starts_with("   6.300e1 |") && rows[0].ends_with("***"), "{drawn}");
        assert!(rows[HEIGHT - 1].starts_with("   0.000e0 |***"), "{drawn}");
        assert!(
            rows[HEIGHT + 1].trim_start().starts_with('1') && rows[HEIGHT + 1].ends_with("64"),
            "{drawn}"
        );
        assert_eq!(rows[HEIGHT].len(), rows[HEIGHT + 1].len(), "{drawn}");
    }

    #[test]
    fn single_constant_and_non_finite_values_are_drawn() {
        assert!(plot(&[2.0]).contains("|*"));
        assert!(plot(&[2.0; 5]).lines().nth(HEIGHT - 1).unwrap().ends_with("|*****"));
        assert!(plot(&[1.0, f64::NAN, 2.0]).contains("|  *"));
        assert!(plot(&[f64::NAN]).contains("nothing to draw"));
    }
}
