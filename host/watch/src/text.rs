//! Numbers, times and foreign texts as short texts.

/// A text on one line: control characters and marks of text direction are replaced.
pub fn line(text: &str) -> String {
    let shown = |ch: char| match ch {
        '\t' => ' ',
        ch if ch.is_control() => '\u{fffd}',
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        ch => ch,
    };
    text.chars().map(shown).collect()
}

/// A number with about five significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match () {
        () if !value.is_finite() => value.to_string(),
        () if value == 0.0 || (1e-3..1e5).contains(&size) => format!("{value:.4}"),
        () => format!("{value:.3e}"),
    }
}

/// A number with as few digits as it needs, at most four significant ones.
pub fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// A number of an axis whose range is `range`: as many digits as tell its ends apart.
pub fn tick(value: f64, range: f64) -> String {
    let size = value.abs().max(range);
    if !(1e-4..1e6).contains(&size) && size != 0.0 {
        return format!("{value:.1e}");
    }
    let digits = (2.0 - range.max(1e-12).log10().ceil()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// `12,345`.
pub fn count(number: u64) -> String {
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

/// `3.4 ms`, `0.34 s`, `12 s`, `2 min 05 s`, `1 h 02 min`, `3 d 04 h`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match () {
        () if !seconds.is_finite() => "-".to_owned(),
        () if seconds < 0.1 => format!("{:.1} ms", seconds * 1e3),
        () if seconds < 10.0 => format!("{seconds:.1} s"),
        () if whole < 60 => format!("{whole} s"),
        () if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        () if whole < 86_400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        () => format!("{} d {:02} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// `214 MB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && size < 9.95);
    format!("{size:.digits$} {}", units[unit])
}

/// A rate with its unit: `312 steps/s`, `0.25 steps/s`, `9.9k samples/s`.
pub fn rate(rate: f64, what: &str) -> String {
    match rate {
        rate if rate < 10.0 => format!("{rate:.2} {what}/s"),
        rate if rate < 10_000.0 => format!("{rate:.0} {what}/s"),
        rate => format!("{:.1}k {what}/s", rate / 1000.0),
    }
}

/// Hour, minute and second, UTC.
pub fn clock(seconds: f64) -> String {
    let second = (seconds.max(0.0) as u64) % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Seconds since 1970 of a time as RFC 3339 writes it, UTC: `2026-03-01T12:34:56.789Z`.
pub fn seconds(time: &str) -> Option<f64> {
    let (date, time) = time.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let second = time.next()?.parse::<f64>().ok()?;
    // Days since 1970-01-01; years start in March (Hinnant, "chrono-compatible low-level date algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some((days * 86_400 + hour * 3600 + minute * 60) as f64 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(seconds("1970-01-01T00:00:00.000Z"), Some(0.0));
        assert_eq!(seconds("2000-02-28T23:59:59.250Z"), Some(951_782_399.25));
        assert_eq!(seconds("2024-03-01T00:00:00.000Z"), Some(1_709_251_200.0));
        assert_eq!(seconds("yesterday"), None);
        assert_eq!(clock(951_782_399.25), "23:59:59");
        let shown = [0.0004, 3.21, 12.3, 125.0, 3725.0, 90_000.0].map(duration);
        assert_eq!(shown, ["0.4 ms", "3.2 s", "12 s", "2 min 05 s", "1 h 02 min", "1 d 01 h"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([12.0, 0.00012, 1e9].map(number), ["12.0000", "1.200e-4", "1.000e9"]);
        assert_eq!([0.001, 3e-5, 0.000_123_46].map(short), ["0.001", "3e-5", "0.0001235"]);
        assert_eq!([0.5, 2.0].map(|value| tick(value, 1.5)), ["0.5", "2.0"]);
        assert_eq!([0.501, 0.502].map(|value| tick(value, 0.001)), ["0.50100", "0.50200"]);
        assert_eq!(tick(45_000.0, 60_000.0), "45000");
        assert_eq!([999, 2_140_000, 214_000_000].map(bytes), ["999 B", "2.1 MB", "214 MB"]);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(12_345.0, "samples"), "12.3k samples/s");
        assert_eq!(line("a\tb\x1b[0m\u{202e}"), "a b\u{fffd}[0m\u{fffd}");
    }
}
