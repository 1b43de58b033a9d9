//! Timestamps of files: seconds since 1970, and UTC as of RFC 3339.

use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time, UTC.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Timestamp(f64);

impl Timestamp {
    /// Now.
    pub fn now() -> Timestamp {
        Timestamp(
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        )
    }

    /// The given number of seconds after 1970, UTC.
    pub fn at(seconds: f64) -> Timestamp {
        Timestamp(seconds)
    }

    /// Seconds since 1970, UTC.
    pub fn seconds(self) -> f64 {
        self.0
    }

    /// `2026-03-01T12:34:56.789Z`.
    pub fn rfc3339(self) -> String {
        let (whole, millis) = self.parts();
        let [year, month, day] = date(whole.div_euclid(86_400));
        let [hour, minute, second] = time(whole);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }

    /// `20260301-123456`, for names of folders.
    pub fn compact(self) -> String {
        let (whole, _) = self.parts();
        let [year, month, day] = date(whole.div_euclid(86_400));
        let [hour, minute, second] = time(whole);
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }

    fn parts(self) -> (i64, i64) {
        let millis = (self.0 * 1e3).floor() as i64;
        (millis.div_euclid(1000), millis.rem_euclid(1000))
    }
}

fn time(seconds: i64) -> [i64; 3] {
    let day = seconds.rem_euclid(86_400);
    [day / 3600, day / 60 % 60, day % 60]
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years
/// start in March, so that the leap day is the last one (Hinnant, "chrono-compatible low-level date
/// algorithms").
fn date(days: i64) -> [i64; 3] {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    [year_of_era + era * 400 + i64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_timestamps() {
        assert_eq!(Timestamp(0.0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(951_782_399.25).rfc3339(), "2000-02-28T23:59:59.250Z");
        assert_eq!(Timestamp(951_782_400.0).rfc3339(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Timestamp(1_709_251_200.0).rfc3339(), "2024-03-01T00:00:00.000Z");
        assert_eq!(Timestamp(4_107_542_399.0).compact(), "21000228-235959");
    }
}
