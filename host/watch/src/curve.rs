//! The curves of a run, thinned while they are read: memory does not grow with the length of a run.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value as Json;

/// Buckets of a curve before neighbours are merged. A curve has at most two points per bucket.
const BUCKETS: usize = 8192;

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    /// Seconds since 1970.
    pub time: f64,
    /// Phase that reported it.
    pub phase: Cow<'a, str>,
    /// `step` or `epoch`.
    pub scope: Cow<'a, str>,
    /// Epoch, from 1.
    pub epoch: u64,
    /// Step of the epoch, from 1.
    pub step: u64,
    /// Name of the metric.
    pub name: Cow<'a, str>,
    /// The value; may be NaN or infinite.
    pub value: f64,
}

impl<'a> Point<'a> {
    /// The value that a line holds; none for a line that is no record.
    pub fn parse(line: &'a [u8]) -> Option<Point<'a>> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(default)]
            time: f64,
            #[serde(borrow)]
            phase: Cow<'a, str>,
            #[serde(borrow)]
            scope: Cow<'a, str>,
            #[serde(default)]
            epoch: u64,
            #[serde(default)]
            step: u64,
            #[serde(borrow)]
            name: Cow<'a, str>,
            value: Json,
        }
        if let Some(point) = Point::as_written(line) {
            return Some(point);
        }
        let line: Line<'a> = serde_json::from_slice(line).ok()?;
        let value = match &line.value {
            Json::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            Json::String(text) => text.parse().unwrap_or(f64::NAN),
            _ => f64::NAN,
        };
        let Line { time, phase, scope, epoch, step, name, .. } = line;
        Some(Point { time, phase, scope, epoch, step, name, value })
    }

    /// A line just as the host writes it: members in their order, no space, no escaped character. That
    /// takes a third of the time of any JSON, which counts in files of gigabytes.
    fn as_written(line: &'a [u8]) -> Option<Point<'a>> {
        let rest = std::str::from_utf8(line).ok()?.strip_prefix("{\"time\":")?;
        let (time, rest) = rest.split_once(",\"phase\":\"")?;
        let (phase, rest) = rest.split_once('"')?;
        let (scope, rest) = rest.strip_prefix(",\"scope\":\"")?.split_once('"')?;
        let (epoch, rest) = rest.strip_prefix(",\"epoch\":")?.split_once(',')?;
        let (step, rest) = rest.strip_prefix("\"step\":")?.split_once(',')?;
        let (name, rest) = rest.strip_prefix("\"name\":\"")?.split_once('"')?;
        let value = rest.strip_prefix(",\"value\":")?.strip_suffix('}')?;
        let is_plain = |text: &str| !text.bytes().any(|byte| byte == b'\\' || byte < b' ');
        if ![phase, scope, name].into_iter().all(is_plain) {
            return None;
        }
        let text = |text| Cow::Borrowed(text);
        Some(Point {
            time: number(time)?,
            phase: text(phase),
            scope: text(scope),
            epoch: epoch.parse().ok()?,
            step: step.parse().ok()?,
            name: text(name),
            value: match value.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')) {
                Some("NaN") => f64::NAN,
                Some("inf") => f64::INFINITY,
                Some("-inf") => f64::NEG_INFINITY,
                Some(_) => return None,
                None => number(value)?,
            },
        })
    }
}

/// Whether a line of `metrics.jsonl` is a value of a step, as far as its first members tell. Lines that
/// are none of an epoch are left out by this at the speed of reading.
pub fn is_of_step(line: &[u8]) -> bool {
    let scope = || {
        let rest = line.strip_prefix(b"{\"time\":")?;
        let rest = &rest[rest.iter().position(|byte| *byte == b',')?..];
        let rest = rest.strip_prefix(b",\"phase\":\"")?;
        let rest = &rest[rest.iter().position(|byte| *byte == b'"')?..];
        Some(rest.starts_with(b"\",\"scope\":\"step\""))
    };
    scope().unwrap_or(false)
}

/// A number of JSON; words such as `inf` are none.
fn number(text: &str) -> Option<f64> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    text.bytes().all(is_digit).then(|| text.parse().ok()).flatten()
}

/// All curves of a run, in the order in which they first appear.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    curves: Vec<Curve>,
    /// Index of the curve of the last point: the next point is most often of the curve after it.
    last: usize,
    /// Steps of a training epoch, if known.
    steps: Option<u64>,
    /// Greatest step so far, which stands for them.
    longest: u64,
    /// Changes so far from one phase to another, or from steps to an epoch.
    passes: u64,
}

/// The values of a metric in a phase, by step or by epoch.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The phase.
    pub phase: String,
    /// `step` or `epoch`.
    pub scope: String,
    /// Name of the metric.
    pub name: String,
    /// Number of values.
    pub count: u64,
    /// The last value.
    pub last: f64,
    /// Number of values that are NaN or infinite.
    pub not_finite: u64,
    /// Place of the first of them on the horizontal axis.
    pub first_not_finite: Option<f64>,
    /// Epoch and step of the last value.
    position: (u64, u64),
    /// Steps of the passes over the data before the present one.
    steps_before: u64,
    /// Number of changes of phase or scope at the last value.
    pass: u64,
    thinned: Thinned,
}

impl Curves {
    /// Sets the steps of a training epoch, by which validations within an epoch are placed. Called before
    /// the first value.
    pub fn set_steps(&mut self, steps: Option<u64>) {
        self.steps = steps;
    }

    /// Adds a value to its curve.
    pub fn take(&mut self, point: &Point<'_>) {
        let index = self.index(point);
        let before = &self.curves[self.last];
        if before.phase != point.phase || before.scope != point.scope {
            self.passes += 1;
        }
        self.last = index;
        self.longest = self.longest.max(point.step);
        let steps = self.steps.unwrap_or(self.longest);
        self.curves[index].take(point, steps, self.passes);
    }

    fn index(&mut self, point: &Point<'_>) -> usize {
        let is_it = |curve: &Curve| {
            curve.name == point.name && curve.phase == point.phase && curve.scope == point.scope
        };
        for guess in [self.last + 1, self.last] {
            if self.curves.get(guess).is_some_and(is_it) {
                return guess;
            }
        }
        if let Some(found) = self.curves.iter().position(is_it) {
            return found;
        }
        self.curves.push(Curve {
            phase: point.phase.clone().into_owned(),
            scope: point.scope.clone().into_owned(),
            name: point.name.clone().into_owned(),
            count: 0,
            last: f64::NAN,
            not_finite: 0,
            first_not_finite: None,
            position: (0, 0),
            steps_before: 0,
            pass: 0,
            thinned: Thinned::default(),
        });
        self.curves.len() - 1
    }

    /// The curves.
    pub fn all(&self) -> &[Curve] {
        &self.curves
    }
}

impl Curve {
    /// Adds a value. `steps` is the number of steps of a training epoch, `passes` that of changes of phase
    /// or scope among all curves.
    fn take(&mut self, point: &Point<'_>, steps: u64, passes: u64) {
        let (epoch, step) = self.position;
        // A validation within an epoch counts its steps from 1 again.
        let again = point.step < step || point.step == step && passes > self.pass;
        if point.epoch > epoch || again {
            self.steps_before += step;
        }
        (self.position, self.pass) = ((point.epoch, point.step), passes);
        // Steps are counted within an epoch in the record; a curve runs over the whole fit. A value of a whole
        // epoch has no step, one of a validation within it that of the training.
        let x = match (self.scope == "epoch", point.step) {
            (false, step) => (self.steps_before + step) as f64,
            (true, 0) => point.epoch as f64,
            (true, step) => {
                point.epoch.saturating_sub(1) as f64 + step as f64 / steps.max(step) as f64
            }
        };
        self.count += 1;
        self.last = point.value;
        if !point.value.is_finite() {
            self.not_finite += 1;
            self.first_not_finite.get_or_insert(x);
        }
        self.thinned.push(x, point.value);
    }

    /// Whether the values are a setting that changes during training, such as a learning rate.
    pub fn is_hyper_parameter(&self) -> bool {
        self.name.starts_with("hparams/")
    }

    /// At most `most` points in the order of x; of merged ranges the least and the greatest value.
    pub fn points(&self, most: usize) -> Vec<(f64, f64)> {
        thin(self.thinned.buckets.clone(), most)
    }

    /// As [`Curve::points`], of a range of x.
    pub fn points_within(&self, range: [f64; 2], most: usize) -> Vec<(f64, f64)> {
        let overlaps = |bucket: &&Bucket| {
            let (first, last) = bucket.ends();
            last >= range[0] && first <= range[1]
        };
        let mut points =
            thin(self.thinned.buckets.iter().filter(overlaps).copied().collect(), most);
        points.retain(|point| point.0 >= range[0] && point.0 <= range[1]);
        points
    }

    /// Least and greatest x; none without values.
    pub fn range(&self) -> Option<[f64; 2]> {
        let buckets = &self.thinned.buckets;
        Some([buckets.first()?.ends().0, buckets.last()?.ends().1])
    }
}

/// Least and greatest point of a range.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    low: (f64, f64),
    high: (f64, f64),
}

impl Bucket {
    fn of(x: f64, y: f64) -> Bucket {
        Bucket { low: (x, y), high: (x, y) }
    }

    /// The bucket of both ranges. A value that is no number counts as the greatest, so that it is
    /// never lost.
    fn merged(self, other: Bucket) -> Bucket {
        let low =
            if other.low.1 < self.low.1 || self.low.1.is_nan() { other.low } else { self.low };
        let high = if other.high.1 > self.high.1 || other.high.1.is_nan() {
            other.high
        } else {
            self.high
        };
        Bucket { low, high }
    }

    /// First and last x.
    fn ends(&self) -> (f64, f64) {
        (self.low.0.min(self.high.0), self.low.0.max(self.high.0))
    }

    fn points(self) -> impl Iterator<Item = (f64, f64)> {
        let (first, second) =
            if self.low.0 <= self.high.0 { (self.low, self.high) } else { (self.high, self.low) };
        let second = (first.0 != second.0).then_some(second);
        std::iter::once(first).chain(second)
    }
}

/// A curve as buckets of equally many points, which keep the least and the greatest value.
#[derive(Clone, Debug)]
struct Thinned {
    buckets: Vec<Bucket>,
    /// Points of a full bucket.
    per_bucket: u64,
    /// Points of the last bucket.
    filled: u64,
}

impl Default for Thinned {
    fn default() -> Thinned {
        Thinned { buckets: Vec::new(), per_bucket: 1, filled: 0 }
    }
}

impl Thinned {
    fn push(&mut self, x: f64, y: f64) {
        match self.buckets.last_mut() {
            Some(last) if self.filled < self.per_bucket => {
                *last = last.merged(Bucket::of(x, y));
                self.filled += 1;
            }
            _ => {
                self.buckets.push(Bucket::of(x, y));
                self.filled = 1;
            }
        }
        if self.buckets.len() == BUCKETS && self.filled == self.per_bucket {
            self.buckets = halved(&self.buckets);
            self.per_bucket *= 2;
            self.filled = self.per_bucket;
        }
    }
}

fn thin(mut buckets: Vec<Bucket>, most: usize) -> Vec<(f64, f64)> {
    loop {
        let points: Vec<_> = buckets.iter().flat_map(|bucket| bucket.points()).collect();
        if points.len() <= most || buckets.len() < 2 {
            return points;
        }
        buckets = halved(&buckets);
    }
}

fn halved(buckets: &[Bucket]) -> Vec<Bucket> {
    buckets
        .chunks(2)
        .map(|pair| pair.iter().copied().reduce(Bucket::merged).unwrap_or(pair[0]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl Iterator<Item = f64>) -> Curve {
        let mut curves = Curves::default();
        for (index, value) in values.enumerate() {
            let line = format!(
                "{{\"time\":1,\"phase\":\"training\",\"scope\":\"step\",\"epoch\":1,\"step\":{index},\"name\":\"loss\",\"value\":\"{value}\"}}"
            );
            curves.take(&Point::parse(line.as_bytes()).unwrap());
        }
        curves.curves.remove(0)
    }

    #[test]
    fn a_short_curve_keeps_every_point() {
        let curve = curve((0..100).map(|x| f64::from(x * x)));
        let expected: Vec<_> = (0..100).map(|x| (f64::from(x), f64::from(x * x))).collect();
        assert_eq!(curve.points(4000), expected);
        assert_eq!(curve.points_within([9.5, 12.0], 4000), expected[10..=12]);
        assert_eq!(curve.range(), Some([0.0, 99.0]));
    }

    #[test]
    fn a_long_curve_keeps_extremes_and_order() {
        let mut curve = Thinned::default();
        for x in 0..1_000_000_u32 {
            let y = match x {
                123_456 => 50.0,
                765_432 => -50.0,
                x => f64::from(x % 7),
            };
            curve.push(f64::from(x), y);
        }
        assert!(curve.buckets.len() <= BUCKETS);
        let points = thin(curve.buckets, 1000);
        assert!(points.len() <= 1000 && points.len() > 200, "{}", points.len());
        assert!(points.contains(&(123_456.0, 50.0)) && points.contains(&(765_432.0, -50.0)));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_value_that_is_no_number_stays_visible_and_is_counted() {
        let curve = curve((0..20_000).map(|x| if x == 9_999 { f64::NAN } else { 1.0 }));
        assert!(curve.points(200).iter().any(|point| point.1.is_nan()));
        assert_eq!((curve.not_finite, curve.first_not_finite), (1, Some(9_999.0)));
    }

    #[test]
    fn steps_run_over_the_whole_fit_and_lines_that_are_no_records_are_none() {
        let mut curves = Curves::default();
        for (epoch, step) in [(1, 10), (1, 20), (2, 10), (2, 20), (3, 20)] {
            let by_step = [("step", "loss"), ("step", "accuracy")].into_iter();
            for (scope, name) in by_step.chain((step == 20).then_some(("epoch", "loss"))) {
                let line = format!(
                    "{{\"phase\":\"training\",\"scope\":{scope:?},\"epoch\":{epoch},\"step\":{step},\"name\":{name:?},\"value\":1}}"
                );
                curves.take(&Point::parse(line.as_bytes()).unwrap());
            }
        }
        let xs = |index: usize| {
            curves.all()[index].points(99).iter().map(|point| point.0).collect::<Vec<_>>()
        };
        assert_eq!(xs(0), [10.0, 20.0, 30.0, 40.0, 60.0]);
        assert_eq!(xs(1), xs(0));
        assert_eq!(xs(2), [1.0, 2.0, 3.0]);
        assert!(Point::parse(b"{\"phase\":\"training\"").is_none());
        assert!(Point::parse(b"").is_none());
    }

    #[test]
    fn validations_within_an_epoch_have_places_of_their_own() {
        for (given, expected) in
            [(Some(8), [0.5, 1.0, 1.25, 1.75, 2.0]), (None, [1.0, 1.0, 4.0 / 3.0, 2.0, 2.0])]
        {
            let mut curves = Curves::default();
            curves.set_steps(given);
            let mut take = |phase: &str, scope: &str, epoch, step| {
                let name = "loss".into();
                let (phase, scope) = (phase.into(), scope.into());
                curves.take(&Point { time: 0.0, phase, scope, epoch, step, name, value: 1.0 });
            };
            for (epoch, from, to, place) in
                [(1, 1, 4, 4), (1, 5, 6, 0), (2, 1, 2, 2), (2, 3, 6, 6), (2, 7, 6, 0)]
            {
                // Training steps may be recorded rarely, or not at all.
                (from..=to).for_each(|step| take("training", "step", epoch, step));
                take("validation", "step", epoch, 1);
                take("validation", "epoch", epoch, place);
            }
            let xs = |index: usize| {
                let points = curves.all()[index].points(99);
                points.iter().map(|point| point.0).collect::<Vec<_>>()
            };
            assert_eq!(xs(0), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map(f64::from));
            assert_eq!(xs(1), [1, 2, 3, 4, 5].map(f64::from), "passes of one step");
            for (x, expected) in xs(2).into_iter().zip(expected) {
                assert!((x - expected).abs() < 1e-12, "{x} is not {expected}");
            }
            assert_eq!(xs(2).len(), 5);
        }
    }

    #[test]
    fn lines_as_the_host_writes_them_are_read_like_any_json() {
        let plain = r#"{"time":1796060527.129732,"phase":"training","scope":"step","epoch":12,"step":7,"name":"hparams/lr","value":2.5e-3}"#;
        let read = |line: &str| Point::parse(line.as_bytes()).map(|point| format!("{point:?}"));
        let expected = "Point { time: 1796060527.129732, phase: \"training\", scope: \"step\", epoch: 12, step: 7, name: \"hparams/lr\", value: 0.0025 }";
        assert_eq!(read(plain).as_deref(), Some(expected));
        assert!(Point::as_written(plain.as_bytes()).is_some());
        assert_eq!(read(&plain.replace("\"epoch\"", " \"epoch\"")).as_deref(), Some(expected));
        for (value, expected) in
            [("\"NaN\"", "NaN"), ("\"-inf\"", "-inf"), ("-0.0", "-0.0"), ("17", "17.0")]
        {
            let line = plain.replace("2.5e-3", value);
            assert!(Point::as_written(line.as_bytes()).is_some(), "{line}");
            assert!(read(&line).unwrap().ends_with(&format!("value: {expected} }}")), "{line}");
        }
        // An escaped name is left to the reader of any JSON; what is no JSON is refused.
        let escaped = plain.replace("hparams/lr", "a \\\"b\\\" \\u00e9");
        assert!(Point::as_written(escaped.as_bytes()).is_none());
        assert_eq!(Point::parse(escaped.as_bytes()).unwrap().name, "a \"b\" \u{e9}");
        for broken in [
            &plain[..plain.len() - 1],
            &plain.replace("2.5e-3", "inf"),
            &plain.replace(":12", ":-1"),
        ] {
            assert!(Point::parse(broken.as_bytes()).is_none(), "{broken}");
        }
        assert!(is_of_step(plain.as_bytes()));
        assert!(!is_of_step(plain.replace("\"step\",\"epoch", "\"epoch\",\"epoch").as_bytes()));
        assert!(!is_of_step(b"{\"time\":1") && !is_of_step(b""));
    }
}
