mod hashed;

use std::io::Cursor;

use fluxbay_table::{Encoding, Feature, Missing, OnBadRow, Task, Value};

use super::*;
use crate::source::{self, tests::gzip};

const BIRDS: &str = "species,island,mass,year\nAdelie,Dream,3700,2007\nGentoo,Biscoe,NA,2008\nAdelie,Dream,3900,2008\nChinstrap,NA,3800,2009\n";

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = <Config as fluxbay_plugin::Config>::from_json(
        r#"{"path": "birds.csv", "target": "species"}"#,
    )
    .unwrap();
    change(&mut config);
    config
}

/// Opens a data set whose files have the given contents.
fn open(csv: &mut Csv, files: &[(&str, &[u8])]) -> Result<()> {
    csv.config.check()?;
    csv.open_with(&|path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        let content = file.ok_or_else(|| Error::new("no such file"))?.1.to_vec();
        source::text(source::unpacked(Cursor::new(content))?)
    })
}

fn opened(content: impl AsRef<[u8]>, change: impl FnOnce(&mut Config)) -> Result<Csv> {
    let mut csv = Csv::with(config(change));
    open(&mut csv, &[("birds.csv", content.as_ref())])?;
    Ok(csv)
}

fn message(content: impl AsRef<[u8]>, change: impl FnOnce(&mut Config)) -> String {
    opened(content, change).err().expect("it is refused").message().to_owned()
}

/// A table with one feature `a` and the target `y`.
fn column(values: &[&str]) -> String {
    let rows: String =
        values.iter().enumerate().map(|(row, value)| format!("{value},{}.5\n", row % 3)).collect();
    format!("a,y\n{rows}")
}

fn target_y(config: &mut Config) {
    config.target = "y".into();
}

/// What `fill` writes for all rows of split `split`.
fn features(csv: &Csv, split: usize) -> Vec<f32> {
    let part = &csv.table.parts[split];
    let mut all = Vec::new();
    for row in 0..part.rows() {
        for (feature, slot) in csv.table.features().iter().zip(&part.slots) {
            match (&feature.encoding, slot.value(part.row(row))) {
                (Encoding::Number { shift, scale, .. }, Value::Number(value)) => {
                    all.push(((value - shift) / scale) as f32);
                }
                (Encoding::Category { .. }, Value::Category(at)) => all.push(at as f32),
                (_, _) => all.push(f32::NAN),
            }
        }
    }
    all
}

fn numbers(csv: &Csv) -> Vec<(f64, f64, f64)> {
    let number = |feature: &Feature| match feature.encoding {
        Encoding::Number { fill, shift, scale } => Some((fill, shift, scale)),
        _ => None,
    };
    csv.table.features().iter().filter_map(number).collect()
}

#[test]
fn a_missing_value_is_refused_with_its_place_unless_configured() {
    assert!(message(BIRDS, |_| {}).starts_with("birds.csv:3: column `mass` has no value"));
}

#[test]
fn rows_with_a_gap_can_be_dropped() {
    let csv = opened(BIRDS, |config| config.missing = Missing::Drop).unwrap();
    assert_eq!(csv.splits(), [Split::new("all", 2)]);
}

#[test]
fn gaps_can_be_filled_from_the_training_rows_alone() {
    let mut csv = opened(BIRDS, |config| config.missing = Missing::Fill).unwrap();
    csv.prepare(0, &[0, 1]).unwrap();
    assert_eq!(numbers(&csv)[0].0, 3700.0);
    csv.prepare(0, &[0, 2, 3]).unwrap();
    assert_eq!(numbers(&csv)[0].0, 3800.0);
    assert_eq!(
        csv.table.features()[0].encoding,
        Encoding::Category { categories: vec!["Biscoe".into(), "Dream".into()], fill: Some(1) }
    );
    // island one-hot, mass, year
    assert_eq!(csv.fields(), [Field::new("xs", DType::F32, &[4]), Field::labels("ys", 3)]);
}

#[test]
fn tasks_follow_from_the_target() {
    let classes = |content: &str, change: &dyn Fn(&mut Config)| {
        opened(content, |config| change(config)).unwrap().table.learned.unwrap().classes
    };
    let mass = classes(BIRDS, &|config| {
        config.target = "mass".into();
        config.missing = Missing::Drop;
        config.task = Task::Regression;
    });
    assert_eq!(mass, None);
    let b = |config: &mut Config| config.target = "b".into();
    assert_eq!(classes("a,b\n1,0.5\n2,0.7\n", &b), None);
    assert_eq!(classes("a,b\n1,10\n2,9\n3,9\n", &b), Some(vec!["9".into(), "10".into()]));
    let many: String = (0..30).map(|row| format!("{row},{}\n", 100 - row % 21)).collect();
    assert_eq!(classes(&format!("a,b\n{many}"), &b), None);
    let late = format!("a,b\n{}", "1,2\n3,4\n".repeat(50) + "5,6.5\n");
    assert_eq!(classes(&late, &b), None);
    let csv = opened(&late, b).unwrap();
    assert_eq!(f32::from_bits(csv.table.parts[0].targets[1]), 4.0);
    assert_eq!(f32::from_bits(csv.table.parts[0].targets[100]), 6.5);
}

#[test]
fn columns_that_do_not_exist_are_named_beside_those_that_do() {
    assert!(
        message(BIRDS, |config| config.target = "spices".into())
            .contains("species, island, mass, year")
    );
    assert!(message("a\n1\n", |config| config.target = "a".into()).contains("no column is left"));
    assert!(message("a,b\n", |config| config.target = "a".into()).contains("no rows"));
}

#[test]
fn constant_columns_become_zeros() {
    for constant in ["0.1", "-0.3", "1e9", "123.456"] {
        let values = vec![constant; 7];
        let mut csv = opened(column(&values), target_y).unwrap();
        csv.prepare(0, &[0, 1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(features(&csv, 0), [0.0; 7], "{constant}");
        assert_eq!(numbers(&csv)[0].2, 1.0);
    }
}

#[test]
fn another_value_in_a_column_that_was_constant_keeps_its_distance() {
    let mut csv = Csv::with(config(|config| {
        target_y(config);
        config.validation_path = Some("held.csv".into());
    }));
    let training = column(&["0.1"; 10]);
    open(&mut csv, &[("birds.csv", training.as_bytes()), ("held.csv", b"a,y\n0.2,1.5\n")]).unwrap();
    csv.prepare(0, &(0..10).collect::<Vec<_>>()).unwrap();
    assert_eq!(features(&csv, 1), [0.1]);
}

#[test]
fn quotes_that_are_not_closed_are_refused_with_their_line() {
    let rows: String = (0..100)
        .map(|row| if row == 5 { "\"a,1.5\n".to_owned() } else { format!("{row},{row}.5\n") })
        .collect();
    let content = format!("a,y\n{rows}");
    let refused = message(&content, target_y);
    assert!(
        refused.starts_with("birds.csv:7: the quote that opens in this line is never closed"),
        "{refused}"
    );
    let closed = content.replace("50,50.5", "50,\"50.5\"");
    let refused = message(&closed, target_y);
    assert!(
        refused.starts_with("birds.csv:7: the quote that opens in this line is closed in line 52"),
        "{refused}"
    );
    let refused = message("\"a,y\n1,2\n", target_y);
    assert!(refused.starts_with("birds.csv:1: the quote"), "{refused}");
    let skip = |config: &mut Config| {
        target_y(config);
        config.on_bad_row = OnBadRow::Skip;
    };
    assert!(message(&content, skip).starts_with("birds.csv:7: the quote"));
    let literal = opened("a,y\n\"x,1.5\n\"y,2.5\n", |config| {
        target_y(config);
        config.quotes = false;
    });
    assert_eq!(literal.unwrap().splits(), [Split::new("all", 2)]);
}

#[test]
fn a_word_among_numbers_is_refused_with_line_column_and_value() {
    for word in ["inf", "12.5.1", "1,234", "5%", "0,5", "none", "-Infinity", "1 000"] {
        for line in [2, 3, 40] {
            let mut values = vec![String::from("1.5"); 60];
            values[line - 2] = format!("\"{word}\"");
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let refused = message(column(&values), target_y);
            assert!(
                refused.starts_with(&format!("birds.csv:{line}: column `a` holds numbers, but {word:?} is none (1 such values)")),
                "{refused}"
            );
        }
    }
    // The target, too.
    let refused = message("a,y\n1,2.5\n2,x\n3,4.5\n", target_y);
    assert!(
        refused.starts_with("birds.csv:3: column `y` holds numbers, but \"x\" is none"),
        "{refused}"
    );
    let refused = message("a,y\n1,x\n2,7\n3,4\n", target_y);
    assert!(
        refused.starts_with("birds.csv:2: column `y`") && refused.contains("task = "),
        "{refused}"
    );
}

#[test]
fn the_usual_words_for_missing_values_are_missing_values() {
    for word in ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A", "?"] {
        let refused = message(column(&["1", word, "2"]), target_y);
        assert!(refused.starts_with("birds.csv:3: column `a` has no value"), "{word}: {refused}");
    }
}

#[test]
fn columns_of_words_stay_categories() {
    let csv = opened(column(&["x", "y", "7", "x", "z"]), target_y).unwrap();
    assert_eq!(csv.fields()[0].shape, [4]);
    // The first values are numbers, most are not.
    let csv = opened(column(&["7", "07", "y", "x", "z"]), target_y).unwrap();
    assert_eq!(csv.fields()[0].shape, [5]);
    let csv = opened(column(&["7", "07", "8"]), |config| {
        target_y(config);
        config.categorical = vec!["a".into()];
    });
    assert_eq!(csv.unwrap().fields()[0].shape, [3]);
}

#[test]
fn numbers_with_other_separators_can_be_read() {
    let mut csv = opened("a;b;y\n0,5;1.234;1\n1,5;-12.345.678,5;2\n", |config| {
        target_y(config);
        config.delimiter = ";".into();
        config.decimal = ",".into();
        config.thousands = Some(".".into());
        config.standardize = false;
    })
    .unwrap();
    csv.prepare(0, &[0, 1]).unwrap();
    assert_eq!(features(&csv, 0), [0.5, 1234.0, 1.5, -12_345_678.5]);
    for (decimal, thousands) in
        [(",", Some(",")), ("", None), ("e", None), (".", Some("ab")), (".", Some("1"))]
    {
        let refused = message("a,y\n1,2\n", |config| {
            config.decimal = decimal.into();
            config.thousands = thousands.map(str::to_owned);
        });
        assert!(refused.contains("decimal") || refused.contains("thousands"), "{refused}");
    }
}

#[test]
fn names_that_occur_twice_are_refused_with_both_columns() {
    let content = "y,a,y\n1,2,3\n4,5,6\n";
    let both = "columns 0 and 2 (counted from 0) are both called `y`";
    assert!(message(content, target_y).contains(both), "{}", message(content, target_y));
    let by_number = |ignore: &'static str| {
        move |config: &mut Config| {
            config.target = "1".into();
            config.ignore = vec![ignore.into()];
        }
    };
    assert!(message(content, by_number("y")).contains(both));
    assert!(message("a,b,a,y\n1,2,3,4\n", target_y).contains("columns 0 and 2"));
    // By number it is clear which one is meant.
    let csv = opened(content, by_number("2")).unwrap();
    assert_eq!(csv.table.features()[0].name, "y");
    let twice = message(content.replace("y,a,y", "x,a,y"), |config| {
        target_y(config);
        config.columns = Some(vec!["x".into(), "0".into()]);
    });
    assert!(twice.contains("columns lists column `x` twice"), "{twice}");
}

#[test]
fn rows_that_cannot_be_read_are_refused_or_skipped_and_counted() {
    let content: &[u8] = b"a,b,y\n1,x,1.5\n2,y\nthree,x,2.5\n4,\xff,3.5\n5,y,4.5,9\n6,y,5.5\n";
    let refused = message(content, target_y);
    assert!(refused.starts_with("birds.csv:3: 2 values instead of 3"), "{refused}");
    let csv = opened(content, |config| {
        target_y(config);
        config.on_bad_row = OnBadRow::Skip;
    });
    assert_eq!(csv.unwrap().splits(), [Split::new("all", 2)]);
    // Classes stay classes.
    let classes = opened("a,y\n1,x\n2,1\n3,0\n4,1\n", |config| {
        target_y(config);
        config.on_bad_row = OnBadRow::Skip;
    });
    assert_eq!(classes.unwrap().fields()[1], Field::labels("ys", 2));
    let dir = std::env::temp_dir().join(format!("fluxbay-csv-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut csv = Csv::with(config(|config| {
        target_y(config);
        config.on_bad_row = OnBadRow::Skip;
    }));
    csv.table.run_dir = Some(dir.clone());
    open(&mut csv, &[("birds.csv", content)]).unwrap();
    let text = std::fs::read_to_string(dir.join("skipped-rows.json")).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let file = &record["files"][0];
    assert_eq!((&file["read"], &file["skipped"]), (&2.into(), &4.into()), "{text}");
    assert_eq!(file["first"][1]["line"], 4);
    assert_eq!(file["first"][1]["reason"], "column `a`: \"three\" is not a number");
}

#[test]
fn a_byte_order_mark_and_gzip_members_are_read() {
    let plain = opened("y,a\n1,2\n3,4\n", target_y).unwrap();
    let packed = [gzip(b"\xef\xbb\xbfy,a\n1,2"), gzip(b"\n3,4\n")].concat();
    let csv = opened(packed, target_y).unwrap();
    assert_eq!(features(&csv, 0), features(&plain, 0));
    assert_eq!(csv.table.features()[0].name, "a");
}

#[test]
fn the_validation_file_is_encoded_like_the_training_file() {
    let training = "a,b,y\n1,u,p\n2,v,q\n3,u,p\n";
    let open = |held: &str| {
        let mut csv = Csv::with(config(|config| {
            target_y(config);
            config.validation_path = Some("held.csv".into());
        }));
        open(&mut csv, &[("birds.csv", training.as_bytes()), ("held.csv", held.as_bytes())])?;
        Ok::<Csv, Error>(csv)
    };
    let csv = open("a,b,y\n9,v,q\n").unwrap();
    assert_eq!(features(&csv, 1), [9.0, 1.0]);
    assert_eq!(csv.table.parts[1].targets, [1]);
    let refused = |held: &str| open(held).err().unwrap().message().to_owned();
    assert!(refused("a,b,y\n9,v,r\n").contains("held.csv:2: class \"r\" of column `y`"));
    assert!(
        refused("a,b,y\nx,v,q\n").starts_with("held.csv:2: column `a` holds numbers, but \"x\"")
    );
    assert!(refused("b,a,y\nu,1,q\n").contains("has columns"));
    // A category that the training data lack is encoded as zeros.
    let csv = open("a,b,y\n9,w,q\n").unwrap();
    assert_eq!(csv.table.parts[1].slots[1].value(csv.table.parts[1].row(0)), Value::Unknown);
}

/// Recorded from scikit-learn by `tests/reference/standard_scaler.py`.
#[test]
fn means_and_deviations_are_those_of_scikit_learn() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/standard-scaler.json")).unwrap();
    for (name, case) in cases["cases"].as_object().unwrap() {
        let list = |key: &str| -> Vec<f64> {
            case[key].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
        };
        let texts: Vec<String> = list("values").iter().map(|value| format!("{value:?}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut csv = opened(column(&texts), target_y).unwrap();
        csv.prepare(0, &(0..texts.len() as u64).collect::<Vec<_>>()).unwrap();
        // The mean is rounded.
        let (_, mean, scale) = numbers(&csv)[0];
        let tolerance = 1e-6 + 4.0 * f64::EPSILON * (mean / scale).abs();
        for (found, expected) in features(&csv, 0).iter().zip(list("scaled")) {
            let difference = (f64::from(*found) - expected).abs();
            assert!(
                difference <= tolerance * expected.abs().max(1.0),
                "{name}: {found} {expected}"
            );
        }
        let expected = case["scale"].as_f64().unwrap();
        assert!((scale - expected).abs() <= 1e-6 * expected, "{name}: scale {scale}, {expected}");
    }
}

#[test]
fn a_number_that_is_predicted_is_scaled_if_asked_for() {
    let content = "a,y\n1,10.5\n2,20.5\n3,99.5\n";
    let mut csv = opened(content, |config| {
        target_y(config);
        config.standardize_target = true;
    })
    .unwrap();
    csv.prepare(0, &[0, 1]).unwrap();
    assert_eq!(csv.table.learned.as_ref().unwrap().target_scaling, Some((15.5, 5.0)));
    // Kept with the run, and not learned anew.
    let mut other = Csv::with(csv.config.clone());
    other.restore(1, &csv.learnt().unwrap()).unwrap();
    open(&mut other, &[("birds.csv", content.as_bytes())]).unwrap();
    other.prepare(0, &[2]).unwrap();
    assert_eq!(other.table.learned, csv.table.learned);
    // Classes are not scaled, and without the setting nothing is kept.
    let mut plain = opened(content, target_y).unwrap();
    plain.prepare(0, &[0, 1]).unwrap();
    assert_eq!(plain.table.learned.unwrap().target_scaling, None);
}

/// Rows of many blocks. Some are irregular at the places where `odd` says so.
fn many(odd: &dyn Fn(usize) -> Option<String>) -> String {
    let mut content = String::from("n,w,f,y\n");
    for row in 0..4_000_usize {
        content += &odd(row).unwrap_or_else(|| {
            let fraction = (row * 7919 % 100_000) as f64 / 1e3;
            format!("{},word{},-{fraction},{}\n", row % 977, row % 13, ["p", "q"][row % 2])
        });
    }
    content
}

/// All that a data set holds: what it learned, and the cells of each row.
fn held(csv: &Csv) -> (Vec<u8>, Vec<Vec<Value>>, Vec<u32>) {
    let part = &csv.table.parts[0];
    let values = |row| part.slots.iter().map(|slot| slot.value(part.row(row))).collect();
    (csv.learnt().unwrap(), (0..part.rows()).map(values).collect(), part.targets.clone())
}

#[test]
fn blocks_of_rows_give_what_single_rows_give() {
    let fill = |config: &mut Config| {
        target_y(config);
        config.missing = Missing::Fill;
        config.on_bad_row = OnBadRow::Skip;
    };
    // Quotes are read row by row, from the first one on.
    let quoted = |content: &str| content.replacen("n,w,f,y\n0,", "n,w,f,y\n\"0\",", 1);
    type Case<'a> = (&'a str, &'a dyn Fn(usize) -> Option<String>);
    let cases: [Case<'_>; 8] = [
        ("regular", &|_| None),
        ("missing", &|row| (row % 500 == 7).then(|| String::from("1,NA,?,p\n"))),
        ("short", &|row| (row == 2_100).then(|| String::from("1,word1\n"))),
        ("no number", &|row| (row == 3_999).then(|| String::from("one,word1,2,q\n"))),
        ("new word", &|row| (row == 3_000).then(|| String::from("1,\u{e9}t\u{e9} ,2e-3,r\n"))),
        ("long", &|row| (row == 3_001).then(|| String::from("1,a,0.12345678901234567,q\n"))),
        ("line ends", &|row| (row % 3 == 0).then(|| format!(" {row},b, -0.0 ,q\r\n"))),
        ("blank", &|row| (row == 2_500).then(|| String::from("\n\n1,c,+5,p\n"))),
    ];
    for (name, odd) in cases {
        let content = many(odd);
        let (fast, slow) =
            (opened(&content, fill).unwrap(), opened(quoted(&content), fill).unwrap());
        assert!(held(&fast) == held(&slow), "{name}");
        assert!(fast.table.parts[0].rows() >= 3_998, "{name}");
    }
    // Many words are no classes, so that the target becomes a number within a later block.
    let late = |row: usize| (row > 2_000).then(|| format!("{row},a,1,{}\n", row % 100));
    let late = many(&late).replace(",p\n", ",1\n").replace(",q\n", ",2\n");
    let (fast, slow) = (opened(&late, fill).unwrap(), opened(quoted(&late), fill).unwrap());
    assert!(held(&fast) == held(&slow) && fast.fields()[1] == Field::new("ys", DType::F32, &[1]));
}

#[test]
fn problems_in_later_blocks_have_their_line() {
    for (odd, words) in [
        ("1,NA,2,p\n", "birds.csv:3502: column `w` has no value"),
        ("1,a,2\n", "birds.csv:3502: 3 values instead of 4"),
        ("x,a,2,p\n", "birds.csv:3502: column `n` holds numbers, but \"x\" is none (1 such"),
        ("1,\"a,2,p\n", "birds.csv:3502: the quote that opens in this line is never closed"),
    ] {
        let content = many(&|row| (row == 3_500).then(|| odd.to_owned()));
        let refused = message(&content, target_y);
        assert!(refused.starts_with(words), "{refused}");
    }
}

/// What `training` learns, and the data set `other` with it.
fn restored(training: &str, other: &str) -> Result<(Csv, Csv)> {
    let mut first = opened(training, target_y)?;
    let rows = (0..first.table.parts[0].rows() as u64).collect::<Vec<_>>();
    first.prepare(0, &rows)?;
    let mut second = Csv::with(config(target_y));
    second.restore(1, &first.learnt()?)?;
    open(&mut second, &[("birds.csv", other.as_bytes())])?;
    second.prepare(0, &[0])?;
    Ok((first, second))
}

#[test]
fn what_training_learned_encodes_other_data() {
    let training = "a,b,y\n1,u,p\n2,v,q\n3,u,p\n";
    let (first, second) = restored(training, "a,b,y\n3,v,q\n9,v,q\n").unwrap();
    assert_eq!(second.table.learned, first.table.learned);
    assert_eq!(second.fields(), first.fields());
    assert_eq!(features(&second, 0)[..2], [features(&first, 0)[4], 1.0]);
    assert_eq!(second.table.parts[0].targets, [1, 1]);
    let refused = |other: &str| restored(training, other).err().unwrap().message().to_owned();
    assert!(refused("a,b,y\n1,u,r\n").contains("class \"r\" of column `y` does not occur"));
    assert!(refused("a,b,y\nx,u,p\n").contains("column `a` holds numbers, but \"x\" is none"));
    assert!(refused("a,c,y\n1,u,p\n").contains("[\"a\", \"b\"]"));
    assert!(refused("a,y\n1,p\n").contains("[\"a\", \"b\"]"));
}

#[test]
fn damaged_encodings_are_refused() {
    let (mut csv, _) = restored("a,b,y\n1,u,p\n2,v,q\n", "a,b,y\n1,u,p\n").unwrap();
    let good = csv.learnt().unwrap();
    for at in 0..good.len() {
        assert!(csv.restore(1, &good[..at]).is_err());
    }
    if let Some(learned) = &mut csv.table.learned {
        learned.features[0].encoding = Encoding::Number { fill: 0.0, shift: 0.0, scale: 0.0 };
    }
    let wrong = csv.learnt().unwrap();
    assert!(csv.restore(1, &wrong).unwrap_err().message().contains("column `a` is damaged"));
}

/// What the data set writes for rows of a file to predict from, and the keys of the rows.
fn predicted(csv: &mut Csv, content: &str, most: usize) -> Result<(Vec<Vec<f32>>, Vec<String>)> {
    let folder = std::env::temp_dir().join(format!("fluxbay-csv-{}-{most}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("inputs.csv");
    std::fs::write(&path, content)?;
    let outcome = csv.open_inputs(&[path]).and_then(|()| {
        let (mut rows, mut keys) = (Vec::new(), Vec::new());
        loop {
            let count = csv.read_inputs(most)?;
            if count == 0 {
                return Ok((rows, keys));
            }
            assert!(count <= most);
            let inputs = csv.inputs.as_ref().unwrap();
            rows.extend((0..count).map(|row| inputs.rows.encoded.inputs(row).to_vec()));
            keys.extend((0..count).map(|row| csv.input_key(row)));
        }
    });
    std::fs::remove_dir_all(&folder)?;
    outcome
}

/// What `fill` writes for the rows of the first split.
fn encoded(csv: &Csv) -> Vec<Vec<f32>> {
    let part = &csv.table.parts[0];
    let rows = (0..part.rows()).map(|row| {
        let mut place = vec![0.0; csv.table.width()];
        let mut start = 0;
        for (feature, slot) in csv.table.features().iter().zip(&part.slots) {
            let end = start + feature.encoding.width();
            feature.encoding.write(slot.value(part.row(row)), &mut place[start..end]);
            start = end;
        }
        place
    });
    rows.collect()
}

#[test]
fn rows_to_predict_from_are_encoded_as_in_training_whatever_their_columns_and_pieces() {
    let training = "a,b,y\n1.5,u,p\n0.1,v,q\n-3e2,u,p\n12345.678,u,q\n";
    let (first, mut other) = restored(training, training).unwrap();
    let expected = encoded(&first);
    for most in [1, 3, 100] {
        let read =
            predicted(&mut other, "b,x,a\nu,?,1.5\nv,?,0.1\nu,?,-3e2\nu,?,12345.678\n", most);
        assert_eq!(
            read.unwrap(),
            (expected.clone(), ["2", "3", "4", "5"].map(str::to_owned).to_vec())
        );
    }
    assert_eq!(other.class_name(1, 1).as_deref(), Some("q"));
    assert_eq!((other.class_name(1, 2), other.class_name(0, 0)), (None, None));
    let refused = |other: &mut Csv, content: &str| {
        predicted(other, content, 7).unwrap_err().message().to_owned()
    };
    assert!(refused(&mut other, "b,c\nu,1\n").contains("column `a`, the file has: b, c"));
    assert!(refused(&mut other, "a,a,b\n1,1,u\n").contains("two columns are called `a`"));
    assert!(refused(&mut other, "a,b\n1\n").contains("inputs.csv:2: 1 values instead of 2"));
    assert!(refused(&mut other, "a,b\nNA,u\n").contains("column `a` has no value"));
    // An unknown category is all zeros.
    assert_eq!(predicted(&mut other, "a,b\n1.5,w\n", 9).unwrap().0[0][1..], [0.0, 0.0]);
    other.config.on_bad_row = OnBadRow::Skip;
    other.config.missing = Missing::Drop;
    let read = predicted(&mut other, "a,b\nx,u\nNA,u\n1.5\n1.5,u\n", 9).unwrap();
    assert_eq!(read, (vec![expected[0].clone()], vec!["5".to_owned()]));
}

#[test]
fn columns_without_names_move_down_where_the_target_is_missing() {
    let without_header = |config: &mut Config| {
        (config.header, config.target) = (false, "1".into());
    };
    let mut first = opened("1,7.5,3\n2,8.5,4\n4,9.25,9\n", without_header).unwrap();
    first.prepare(0, &[0, 1, 2]).unwrap();
    let expected = encoded(&first);
    let mut other = Csv::with(config(without_header));
    other.restore(1, &first.learnt().unwrap()).unwrap();
    assert_eq!(predicted(&mut other, "1,3\n2,4\n4,9\n", 2).unwrap().0, expected);
    assert_eq!(predicted(&mut other, "1,0,3\n2,0,4\n4,0,9\n", 11).unwrap().0, expected);
    let refused = predicted(&mut other, "1\n", 5).unwrap_err();
    assert!(refused.message().contains("up to number 2, the file has 1"), "{}", refused.message());
}
