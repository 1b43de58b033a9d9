use fluxbay_table::Value;

use super::*;

fn opened(dir: &Path, rows: &str, more: &str) -> Result<JsonTable> {
    let path = dir.join("rows.jsonl");
    std::fs::write(&path, rows).unwrap();
    let json = format!(r#"{{"path": {path:?}, "target": "y"{more}}}"#);
    let mut table = JsonTable::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
    table.open()?;
    Ok(table)
}

fn values(table: &JsonTable, column: usize) -> Vec<Value> {
    let part = &table.table.parts[0];
    (0..part.rows()).map(|row| part.slots[column].value(part.row(row))).collect()
}

#[test]
fn keys_are_columns_and_objects_in_rows_have_columns_of_their_own() {
    use Value::{Category, Missing, Number};
    let dir = tempfile::tempdir().unwrap();
    let rows = "{\"a\": 1.5, \"code\": \"07\", \"y\": 0}\n\n\
                {\"y\": 1, \"in\": {\"b\": 2, \"c.d\": 3}, \"ok\": true}\n\
                {\"y\": 1, \"a\": null, \"in\": {\"b\": 4}, \"code\": \" 7 \"}\n";
    let table = opened(dir.path(), rows, r#", "missing": "fill""#).unwrap();
    let names: Vec<&str> = table.table.features().iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["a", "code", "in.b", "in.c.d", "ok"]);
    assert_eq!(values(&table, 0), [Number(1.5), Missing, Missing]);
    // Texts are categories, even if they look like numbers.
    assert_eq!(values(&table, 1), [Category(0), Missing, Category(1)]);
    assert_eq!(values(&table, 2), [Missing, Number(2.0), Number(4.0)]);
    assert_eq!(values(&table, 3), [Missing, Number(3.0), Missing]);
    assert_eq!(values(&table, 4), [Missing, Category(0), Missing]);
    assert_eq!(table.fields()[1], Field::labels("ys", 2));
}

#[test]
fn files_for_validation_may_have_keys_in_another_order() {
    let dir = tempfile::tempdir().unwrap();
    let held = dir.path().join("held.jsonl");
    std::fs::write(&held, "{\"y\": 2.5, \"new\": 1, \"b\": [5, 6], \"a\": 4}\n").unwrap();
    let more =
        format!(r#", "validation_path": {held:?}"#).replace("validation_path", "validation-path");
    let rows = "{\"a\": 1, \"b\": [2, 3], \"y\": 0.5}\n{\"a\": 2, \"b\": [1, 1], \"y\": 1.5}\n";
    let table = opened(dir.path(), rows, &more).unwrap();
    assert_eq!(table.splits(), [Split::new("training", 2), Split::new("validation", 1)]);
    let part = &table.table.parts[1];
    assert_eq!(part.slots[0].value(part.row(0)), Value::Number(4.0));
    assert_eq!(part.lists[0].numbers(0).collect::<Vec<_>>(), [5.0, 6.0]);
}

#[test]
fn lists_of_one_length_are_inputs_and_other_lists_are_fields() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "{\"n\": 1, \"same\": [1, null], \"differ\": [0.5], \"t\": [3, 1], \"s\": \"\\u00e9 \", \"y\": 0}\n\
                {\"n\": 2, \"same\": null, \"differ\": [], \"t\": [2], \"s\": \"abcdef\", \"y\": 1}\n\
                {\"n\": 3, \"same\": [3, 5], \"differ\": [2.5, 1, true], \"t\": [7, 8, 9, 9], \"s\": \"\", \"y\": 1}\n";
    let more = r#", "missing": "fill", "ids": ["t"], "bytes": ["s"], "length": 3"#;
    let mut table = opened(dir.path(), rows, more).unwrap();
    let ids = Field { classes: Some(10), ..Field::new("t", DType::U32, &[3]) };
    assert_eq!(
        table.fields(),
        [
            Field::new("xs", DType::F32, &[3]),
            Field::labels("ys", 2),
            Field::new("differ", DType::F32, &[3]),
            ids,
            Field::new("s", DType::U8, &[3]),
        ]
    );
    let ragged: Vec<bool> = (0..5).map(|field| table.ragged(field).is_some()).collect();
    assert_eq!(ragged, [false, false, true, true, true]);
    let lists = &table.table.parts[0].lists;
    assert_eq!(lists[1].numbers(2).collect::<Vec<_>>(), [2.5, 1.0, 1.0]);
    assert_eq!(lists[2].ids(2).collect::<Vec<_>>(), [7, 8, 9], "cut");
    assert_eq!((lists[3].bytes(0), lists[3].bytes(1)), ("\u{e9} ".as_bytes(), &b"abc"[..]));
    // Mean and deviation of all numbers of a column: 1, 3, 5.
    table.prepare(0, &[0, 1, 2]).unwrap();
    let fluxbay_table::Encoding::List(same) = &table.table.features()[1].encoding else {
        panic!("{:?}", table.table.features());
    };
    assert_eq!((same.fill, same.shift), (3.0, 3.0));
    assert!((same.scale - (8.0_f64 / 3.0).sqrt()).abs() < 1e-15);
    assert_eq!(table.steps(&[]).unwrap(), None, "a graph takes no lists of different lengths");
    // Without other inputs the first list is `xs`.
    let more = r#", "columns": ["t"], "ids": ["t"], "vocabulary": 50, "padding": 49"#;
    let alone = opened(dir.path(), rows, more).unwrap();
    let ids = Field { classes: Some(50), ..Field::new("xs", DType::U32, &[4]) };
    assert_eq!(alone.fields(), [ids, Field::labels("ys", 2)]);
    assert_eq!(alone.ragged(0), Some(Ragged::first(49.0)));
    // What was learnt stays: longer lists are cut, other ids are refused.
    let learnt = alone.learnt().unwrap();
    let again = |rows: &str| {
        let path = dir.path().join("other.jsonl");
        std::fs::write(&path, rows).unwrap();
        let json = format!(r#"{{"path": {path:?}, "target": "y", "columns": ["t"]}}"#);
        let mut table =
            JsonTable::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
        table.restore(1, &learnt).unwrap();
        table.open().map(|()| table)
    };
    let other = again("{\"t\": [1, 2, 3, 4, 5], \"y\": 1}\n").unwrap();
    assert_eq!(other.table.parts[0].lists[0].ids(0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(other.fields()[0].classes, Some(50));
    let refused = again("{\"t\": [50], \"y\": 1}\n").err().unwrap();
    assert!(refused.message().contains("other.jsonl:1: column `t`: 50 is no id"), "{refused}");
}

#[test]
fn columns_with_many_words_are_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "{\"a\": \"Biscoe\", \"y\": 0}\n{\"a\": \"Dream\", \"y\": 1}\n{\"a\": \"Torgersen\", \"y\": 1}\n";
    let table = opened(dir.path(), rows, r#", "hashed": ["a"], "buckets": 8"#).unwrap();
    assert_eq!(table.fields()[0], Field::new("xs", DType::F32, &[8]));
    // FNV-1a of 64 bits of the words, modulo 8.
    assert_eq!(values(&table, 0), [6, 4, 2].map(Value::Category));
}

#[test]
fn problems_name_the_line_and_rows_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let good = "{\"a\": [1, 2], \"y\": 0}\n{\"a\": [1, 2], \"y\": 1}\n";
    for (row, more, part) in [
        ("[1]", "", "rows.jsonl:3: the line is no JSON object"),
        ("{\"a\": [1, 2}", "", "rows.jsonl:3: the line is no JSON object"),
        ("{\"a\": [\"b\"], \"y\": 1}", "", "rows.jsonl:3: column `a` has a list of something else"),
        ("{\"a\": 3, \"y\": 1}", "", "rows.jsonl:3: column `a`: 3 is no list"),
        (
            "{\"a\": [1, null], \"y\": 1}",
            "",
            "rows.jsonl:3: column `a` has no value (a list with null)",
        ),
        ("{\"y\": 1}", "", "rows.jsonl:3: column `a` has no value (null)"),
        ("{\"a\": [1, 2], \"y\": [1]}", "", "rows.jsonl:3: column `y`"),
        ("", r#", "categorical": ["a"]"#, "column `a` holds lists"),
        ("", r#", "ids": ["y"]"#, "ids names the target"),
        ("", r#", "ids": ["a"], "padding": 7"#, "rows.jsonl"),
    ] {
        let rows = format!("{good}{row}\n");
        let refused = opened(dir.path(), &rows, more).err();
        if part == "rows.jsonl" {
            assert!(refused.is_none(), "the padding is an id of its own: {refused:?}");
            continue;
        }
        let refused = refused.expect(part);
        assert!(refused.message().contains(part), "{refused}");
        if part.starts_with("rows.jsonl:3") && !part.contains("no value") {
            let table = opened(dir.path(), &rows, r#", "on-bad-row": "skip""#).unwrap();
            assert_eq!(table.splits(), [Split::new("all", 2)], "{part}");
        }
    }
    let empty = "{\"a\": [], \"y\": 0}\n{\"a\": [], \"y\": 1}\n";
    let refused = opened(dir.path(), empty, "").err().unwrap();
    assert!(refused.message().contains("column `a`: all its lists are empty"), "{refused}");
}
