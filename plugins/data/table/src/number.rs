//! Numbers as they are written in files: with a decimal separator and, if configured, a thousands
//! separator.

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberFormat {
    /// Decimal separator.
    pub decimal: u8,
    /// Separator between groups of three digits before the decimal separator.
    pub thousands: Option<u8>,
}

/// A parsed number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The nearest `f64`.
    pub value: f64,
    /// The number as `digits / 10^decimals`, but for the sign of -0; `None` if it has too many digits.
    pub exact: Option<(i64, u32)>,
}

/// Powers of ten that are exact in `f64`.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// `digits / 10^decimals`, correctly rounded: both operands are exact.
pub fn quotient(digits: i64, decimals: u32) -> f64 {
    digits as f64 / POWERS[decimals as usize]
}

/// Most decimals of [`short_decimal`].
const SHORT: u32 = 9;

/// A number of few digits as `digits / 10^decimals`, to the last bit, with `first` decimals if that is
/// possible. None for -0.
pub fn short_decimal(value: f64, first: u32) -> Option<(i64, u32)> {
    let with = |decimals: u32| {
        let digits = (value * POWERS[decimals as usize]).round();
        let fits = digits.abs() <= f64::from(i32::MAX);
        let same = fits && quotient(digits as i64, decimals).to_bits() == value.to_bits();
        same.then_some((digits as i64, decimals))
    };
    with(first.min(SHORT)).or_else(|| (0..=SHORT).find_map(with))
}

/// Floats as `digits / 10^decimals`, to the last bit, if all have these decimals and few digits. None if
/// -0 is among them.
pub fn short_decimals(values: &[f64], decimals: u32) -> Option<Vec<i32>> {
    /// 1.5 * 2^52: added to a float of less than 31 bits it leaves the nearest whole number in the low bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let power = POWERS[decimals as usize];
    let mut same = true;
    let digits = values.iter().map(|value| {
        let shifted = value * power + SHIFT;
        let whole = shifted - SHIFT;
        same &=
            (whole.abs() < f64::from(i32::MAX)) & ((whole / power).to_bits() == value.to_bits());
        (shifted.to_bits() as u32).cast_signed()
    });
    let digits = digits.collect();
    same.then_some(digits)
}

impl NumberFormat {
    /// Numbers as programs write them: a point before the decimals, nothing between groups.
    pub const PLAIN: NumberFormat = NumberFormat { decimal: b'.', thousands: None };

    /// Parses a finite number: an optional sign, digits, and optionally decimals and an exponent.
    /// Returns `None` for anything else.
    pub fn parse(&self, text: &[u8]) -> Option<Number> {
        let (negative, digits) = match text.first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if let Some((value, decimals)) = self.short(digits) {
            let exact = if negative { -value } else { value };
            let value = quotient(exact, decimals);
            let value = if negative && value == 0.0 { -0.0 } else { value };
            return Some(Number { value, exact: Some((exact, decimals)) });
        }
        let end =
            digits.iter().position(|byte| *byte == b'e' || *byte == b'E').unwrap_or(digits.len());
        let exponent: i32 = match digits.get(end + 1..) {
            Some(exponent) => std::str::from_utf8(exponent).ok()?.parse().ok()?,
            None => 0,
        };
        let point = digits[..end].iter().position(|byte| *byte == self.decimal).unwrap_or(end);
        let decimals = digits[..end].get(point + 1..).unwrap_or(&[]);
        let mut mantissa = Mantissa::default();
        self.whole(&digits[..point], &mut mantissa)?;
        for byte in decimals {
            mantissa.push(*byte)?;
        }
        if mantissa.count == 0 {
            return None;
        }
        let power = exponent.checked_sub(decimals.len() as i32)?;
        let exact =
            mantissa.scaled(power).map(|(m, decimals)| (if negative { -m } else { m }, decimals));
        let value = match exact {
            Some((digits, decimals)) if digits.unsigned_abs() < 1 << 53 => {
                quotient(digits, decimals)
            }
            _ => self.slow(text)?,
        };
        let value = if negative && value == 0.0 { -0.0 } else { value };
        value.is_finite().then_some(Number { value, exact })
    }

    /// Digits with an optional decimal separator, at most 15 digits: `value / 10^decimals`. The
    /// usual case, in one loop.
    fn short(&self, digits: &[u8]) -> Option<(i64, u32)> {
        let (mut value, mut point) = (0, None);
        if digits.len() > 16 {
            return None;
        }
        for (index, byte) in digits.iter().enumerate() {
            match byte.wrapping_sub(b'0') {
                digit @ 0..=9 => value = value * 10 + i64::from(digit),
                _ if *byte == self.decimal && point.is_none() => point = Some(index),
                _ => return None,
            }
        }
        let count = digits.len() - usize::from(point.is_some());
        let decimals = point.map_or(0, |point| digits.len() - point - 1);
        (1..=15).contains(&count).then_some((value, decimals as u32))
    }

    /// The digits before the decimal separator. With a thousands separator all groups but the first
    /// have three digits.
    fn whole(&self, digits: &[u8], mantissa: &mut Mantissa) -> Option<()> {
        let Some(separator) = self.thousands else {
            return digits.iter().try_for_each(|byte| mantissa.push(*byte));
        };
        for (index, group) in digits.split(|byte| *byte == separator).enumerate() {
            let grouped = group.len() != digits.len();
            if grouped && (group.is_empty() || group.len() > 3 || (index > 0 && group.len() < 3)) {
                return None;
            }
            group.iter().try_for_each(|byte| mantissa.push(*byte))?;
        }
        Some(())
    }

    /// The value of a number that was found well-formed, of any length.
    fn slow(&self, text: &[u8]) -> Option<f64> {
        if self.decimal == b'.' && self.thousands.is_none() {
            return std::str::from_utf8(text).ok()?.parse().ok();
        }
        let plain: String = text
            .iter()
            .filter(|byte| Some(**byte) != self.thousands)
            .map(|byte| if *byte == self.decimal { '.' } else { char::from(*byte) })
            .collect();
        plain.parse().ok()
    }
}

impl Number {
    /// `digits / 10^decimals`; `None` if it has too many decimals.
    pub fn decimal(digits: i64, decimals: u32) -> Option<Number> {
        if decimals as usize >= POWERS.len() {
            return None;
        }
        let value = match digits.unsigned_abs() < 1 << 53 {
            true => quotient(digits, decimals),
            false => format!("{digits}e-{decimals}").parse().ok()?,
        };
        Some(Number { value, exact: Some((digits, decimals)) })
    }

    /// A finite number.
    pub fn float(value: f64) -> Number {
        Number { value, exact: None }
    }

    /// How programs write it: whole numbers of a float have the decimal 0.
    pub fn text(&self) -> String {
        match self.exact {
            Some((digits, 0)) => digits.to_string(),
            _ => format!("{:?}", self.value),
        }
    }
}

/// Decimal digits as an integer.
#[derive(Default)]
struct Mantissa {
    value: u64,
    count: usize,
    overflowed: bool,
}

impl Mantissa {
    /// Appends a digit; `None` for other characters.
    fn push(&mut self, byte: u8) -> Option<()> {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        self.count += 1;
        match self.value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit))) {
            Some(value) => self.value = value,
            None => self.overflowed = true,
        }
        Some(())
    }

    /// This mantissa times `10^power` as `digits / 10^decimals`.
    fn scaled(&self, power: i32) -> Option<(i64, u32)> {
        if self.overflowed {
            return None;
        }
        let digits = i64::try_from(self.value).ok()?;
        if power <= 0 {
            let decimals = power.unsigned_abs();
            return (decimals < POWERS.len() as u32).then_some((digits, decimals));
        }
        Some((digits.checked_mul(10_i64.checked_pow(power.unsigned_abs())?)?, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: NumberFormat = NumberFormat { decimal: b'.', thousands: None };

    fn value(format: NumberFormat, text: &str) -> Option<f64> {
        format.parse(text.as_bytes()).map(|number| number.value)
    }

    #[test]
    fn numbers_have_the_bits_that_the_standard_library_gives_them() {
        let mut seed = 1_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..20_000 {
            let whole: String = (0..next(12)).map(|_| char::from(b'0' + next(10) as u8)).collect();
            let decimals: String =
                (0..next(14)).map(|_| char::from(b'0' + next(10) as u8)).collect();
            let sign = ["", "-", "+"][next(3) as usize];
            let exponent = ["", "", "e-7", "E3", "e+12", "e-30"][next(6) as usize];
            let text = format!("{sign}{whole}.{decimals}{exponent}");
            let expected = text.parse::<f64>().ok().map(f64::to_bits);
            assert_eq!(value(PLAIN, &text).map(f64::to_bits), expected, "{text}");
        }
    }

    #[test]
    fn exact_digits_give_the_same_value() {
        for text in ["1.5", "-0.25", "3", "2e3", "1e-3", "12.50", "123456789.123456789"] {
            let Number { value, exact } = PLAIN.parse(text.as_bytes()).unwrap();
            let (digits, decimals) = exact.unwrap();
            assert!(digits.abs() >= 1 << 53 || quotient(digits, decimals) == value, "{text}");
        }
        assert_eq!(Number::decimal(i64::MIN, 2).unwrap().value, -9.223_372_036_854_776e16);
        assert!(PLAIN.parse(b"-0.0").unwrap().value.is_sign_negative());
        assert_eq!(PLAIN.parse(b"1e-30").unwrap().exact, None);
    }

    #[test]
    fn floats_of_few_digits_are_found_to_the_last_bit() {
        for (value, first, expected) in [
            (0.12345, 0, Some((12345, 5))),
            (0.5, 5, Some((50_000, 5))),
            (-1.1, 0, Some((-11, 1))),
            (1e9, 3, Some((1_000_000_000, 0))),
            (0.1 + 0.2, 1, None),
            (f64::from(0.1_f32), 0, None),
            (-0.0, 0, None),
            (f64::NAN, 0, None),
        ] {
            assert_eq!(short_decimal(value, first), expected, "{value}");
        }
    }

    #[test]
    fn floats_are_found_together_as_they_are_one_by_one() {
        let digits = [0, 1, -1, 99_999, -100_000, 12_345, 2_147_483_646, -2_147_483_646];
        for decimals in 0..=SHORT {
            let values = digits.map(|digits| quotient(digits, decimals));
            let alone = values.map(|value| short_decimal(value, decimals));
            assert_eq!(alone, digits.map(|digits| Some((digits, decimals))));
            let together = short_decimals(&values, decimals).unwrap();
            assert!(together.iter().map(|digits| i64::from(*digits)).eq(digits), "{decimals}");
            let larger = 10_f64.powi(10 - decimals as i32);
            let finer = 0.5 / 10_f64.powi(decimals as i32);
            for odd in [-0.0, f64::NAN, f64::INFINITY, 0.1 + 0.2, larger, -1e300, finer, -finer] {
                assert_eq!(short_decimals(&[1.0, odd], decimals), None, "{odd} {decimals}");
            }
        }
        // What the storage has a meaning of its own for.
        assert_eq!(short_decimals(&[-2_147_483_647.0], 0), None);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", ".", "e5", "inf", "-inf", "NaN", "12.5.1", "1,234", "5%", "0,5", "1e",
            "1e999", "0x10", "1 2", "1_000", "--1",
        ] {
            assert_eq!(value(PLAIN, text), None, "{text}");
        }
    }

    #[test]
    fn separators_can_be_configured() {
        let german = NumberFormat { decimal: b',', thousands: Some(b'.') };
        for (text, expected) in [
            ("0,5", Some(0.5)),
            ("1.234", Some(1234.0)),
            ("-1.234.567,25", Some(-1_234_567.25)),
            ("1234,5", Some(1234.5)),
            ("12.34", None),
            ("1.2345", None),
            (".123", None),
            ("1..234", None),
            ("1,5,2", None),
            ("123456789012345678901,5", Some(123_456_789_012_345_678_901.5)),
        ] {
            assert_eq!(value(german, text), expected, "{text}");
        }
        let english = NumberFormat { decimal: b'.', thousands: Some(b',') };
        assert_eq!(value(english, "1,234.5"), Some(1234.5));
        assert_eq!(value(english, "0,5"), None);
    }
}
