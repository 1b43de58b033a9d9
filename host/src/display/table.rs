//! Aligned columns, and readable numbers, times and sizes.

use std::time::Duration;

/// Rows as aligned columns, without trailing spaces. Columns in `align_right` are right-aligned.
pub(crate) fn columns(rows: &[Vec<String>], indent: &str, align_right: &[usize]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let mut line = indent.to_owned();
        for (column, content) in row.iter().enumerate() {
            let fill = width(column) - content.chars().count();
            let spaces = " ".repeat(fill);
            if align_right.contains(&column) {
                line.push_str(&spaces);
                line.push_str(content);
            } else {
                line.push_str(content);
                line.push_str(&spaces);
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with about five significant digits.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match () {
        () if !value.is_finite() => value.to_string(),
        () if value == 0.0 || (1e-3..1e5).contains(&size) => format!("{value:.4}"),
        () => format!("{value:.3e}"),
    }
}

/// `3.4 ms`, `0.34 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_millis() < 10 => format!("{:.1} ms", 1e3 * time.as_secs_f64()),
        0 if time.as_millis() < 100 => format!("{:.0} ms", 1e3 * time.as_secs_f64()),
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `17 B`, `1.2 kB`, `3.4 MB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// `[1, 28, 28]`; `scalar` for no dimensions.
pub(crate) fn shape(shape: &[usize]) -> String {
    if shape.is_empty() { "scalar".to_owned() } else { format!("{shape:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let times = [0.0034, 0.034, 0.344, 12.34, 125.0, 3725.0]
            .map(|seconds| duration(Duration::from_secs_f64(seconds)));
        assert_eq!(times, ["3.4 ms", "34 ms", "0.34 s", "12.3 s", "2 min 05 s", "1 h 02 min"]);
        assert_eq!([17, 999, 1234, 56_789_012].map(bytes), ["17 B", "999 B", "1.2 kB", "56.8 MB"]);
        assert_eq!(
            [0.98765, 12345.6, 1e-5, f64::NAN].map(number),
            ["0.9877", "12345.6000", "1.000e-5", "NaN"]
        );
    }
}
