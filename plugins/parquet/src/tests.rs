use fluxbay_table::{Encoding, Value};

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn opened(path: &Path, more: &str) -> Result<Parquet> {
    let json = format!(r#"{{"path": {path:?}, "target": "y"{more}}}"#);
    let config = <Config as fluxbay_plugin::Config>::from_json(&json).unwrap();
    let mut parquet = Parquet::with(config);
    parquet.open()?;
    Ok(parquet)
}

fn column(name: &str) -> Vec<Value> {
    let more = format!(r#", "columns": ["{name}"], "missing": "fill""#);
    let parquet = opened(&folder().join("types.parquet"), &more)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let part = &parquet.table.parts[0];
    assert_eq!(part.rows(), 3, "{name}");
    (0..3).map(|row| part.slots[0].value(part.row(row))).collect()
}

#[test]
fn values_of_every_type_are_read_and_nulls_are_missing() {
    use Value::{Category, Missing, Number};
    let moment = Number(1_000_000_000.25);
    for (name, first, last) in [
        ("int8", Number(-1.0), Number(2.0)),
        ("uint32", Number(4_294_967_295.0), Number(2.0)),
        ("uint64", Number(18_446_744_073_709_551_615.0), Number(2.0)),
        ("float16", Number(0.5), Number(-2.0)),
        ("float", Number(0.5), Number(-2.0)),
        ("double", Number(0.1), Missing),
        ("decimal", Number(-12.34), Number(5.0)),
        ("wide", Number(-12_345_678_901_234_567_890.5), Number(0.5)),
        ("date", Number(10.0), Number(-1.0)),
        ("seconds", moment, moment),
        ("micros", moment, moment),
        ("nanos", moment, moment),
        ("time", Number(3600.5), Number(7200.0)),
        ("truth", Category(1), Category(0)),
        ("text", Category(1), Category(0)),
        ("dictionary", Category(1), Category(0)),
        ("structure.inner", Number(7.0), Number(8.0)),
    ] {
        assert_eq!(column(name), [first, Missing, last], "{name}");
    }
}

#[test]
fn every_codec_is_read() {
    let files = ["none", "snappy", "gzip", "zstd", "lz4"];
    for file in files {
        let path = folder().join(format!("{file}.parquet"));
        let parquet = opened(&path, r#", "missing": "drop""#).unwrap();
        assert_eq!(parquet.splits(), [Split::new("all", 1)], "{file}");
        // A number and two categories, of which one is in a row that is left out.
        assert_eq!(parquet.fields()[0].shape, [3], "{file}");
    }
}

#[test]
fn the_files_of_a_folder_follow_one_another() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [("zstd", "b"), ("none", "a")] {
        let to = dir.path().join(format!("{to}.parquet"));
        std::fs::copy(folder().join(format!("{from}.parquet")), to).unwrap();
    }
    let parquet = opened(dir.path(), r#", "missing": "fill""#).unwrap();
    assert_eq!(parquet.splits(), [Split::new("all", 6)]);
    std::fs::copy(folder().join("penguins.parquet"), dir.path().join("c.parquet")).unwrap();
    let refused = opened(dir.path(), "").err().unwrap();
    assert!(refused.message().contains("has columns species, island"), "{refused}");
    let empty = tempfile::tempdir().unwrap();
    let refused = opened(empty.path(), "").err().unwrap();
    assert!(refused.message().contains("no .parquet files"), "{refused}");
}

#[test]
fn problems_name_the_file_the_row_and_what_to_do() {
    let path = folder().join("types.parquet");
    for (more, words) in [
        (r#", "columns": ["int8"]"#, "types.parquet:2: column `int8` has no value (null)"),
        (r#", "columns": ["none"]"#, "columns names column `none`, the file has: int8"),
    ] {
        let found = opened(&path, more).err().expect(more).message().to_owned();
        assert!(found.contains(words), "{more}: {found}");
    }
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let damaged = dir.path().join("damaged.parquet");
    for share in 0..20 {
        std::fs::write(&damaged, &whole[..whole.len() * share / 20]).unwrap();
        let refused = opened(&damaged, "").err().unwrap();
        assert!(refused.message().contains("damaged.parquet: "), "{refused}");
    }
}

#[test]
fn whole_numbers_are_classes_and_categories_where_asked_for() {
    let penguins = |more: &str| {
        let json = format!(
            r#"{{"path": {:?}, "target": "species", "missing": "fill"{more}}}"#,
            folder().join("penguins.parquet")
        );
        let mut parquet =
            Parquet::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
        parquet.open().unwrap();
        parquet
    };
    let all = penguins("");
    assert_eq!(all.splits(), [Split::new("all", 344)]);
    // Three islands, four measurements, two sexes, the year.
    assert_eq!(all.fields(), [Field::new("xs", DType::F32, &[10]), Field::labels("ys", 3)]);
    let years = penguins(r#", "categorical": ["year"]"#);
    assert_eq!(years.fields()[0].shape, [12]);
    let json = penguins("").learnt().unwrap();
    let mut again = penguins("");
    again.restore(1, &json).unwrap();
    again.open().unwrap();
    assert_eq!(again.fields(), all.fields());
}

/// The file with lists, of which the given columns are read.
fn lists(columns: &str, more: &str) -> Result<Parquet> {
    let path = folder().join("lists.parquet");
    let json = format!(r#"{{"path": {path:?}, "target": "label", "columns": [{columns}]{more}}}"#);
    let mut parquet = Parquet::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
    parquet.open()?;
    Ok(parquet)
}

#[test]
fn lists_are_read_with_nulls_and_empty_ones() {
    let ids = r#", "missing": "fill", "ids": ["tokens"]"#;
    let all = lists(r#""number", "embedding", "tokens", "series", "flags""#, ids).unwrap();
    assert_eq!(
        all.fields(),
        [
            // A number, four of the embedding, two flags.
            Field::new("xs", DType::F32, &[7]),
            Field::labels("ys", 3),
            Field { classes: Some(23), ..Field::new("tokens", DType::U32, &[4]) },
            Field::new("series", DType::F32, &[4]),
        ]
    );
    let ragged: Vec<_> = (0..4).map(|field| all.ragged(field)).collect();
    assert_eq!(ragged, [None, None, Some(Ragged::first(0.0)), Some(Ragged::first(0.0))]);
    let [embedding, tokens, series, flags] = &all.table.parts[0].lists[..] else { panic!() };
    for row in 0..60_usize {
        let count = row * 7 % 5;
        assert_eq!(embedding.is_missing(row), row % 11 == 0, "{row}");
        if row % 11 > 0 {
            let expected = (0..4).map(|at| ((row * 3 + at * 5) % 16) as f32 / 8.0 - 1.0);
            assert!(embedding.numbers(row).eq(expected), "{row}");
        }
        let expected = (0..count).map(|at| ((row + at * at) % 23) as u32);
        assert!(tokens.ids(row).eq(expected) && !tokens.is_missing(row), "{row}");
        assert_eq!(series.is_missing(row), row % 13 == 0, "{row}");
        let found: Vec<Option<f32>> =
            series.numbers(row).map(|value| Some(value).filter(|value| !value.is_nan())).collect();
        let count = if row % 13 == 0 { 0 } else { count };
        let expected: Vec<_> =
            (0..count).map(|at| ((row + at) % 6 > 0).then_some(at as f32 / 2.0)).collect();
        assert_eq!(found, expected, "{row}");
        let expected = [row % 2 == 0, row % 3 == 0].map(|flag| f32::from(u8::from(flag)));
        assert!(flags.numbers(row).eq(expected), "{row}");
    }
}

#[test]
fn bytes_are_a_field_if_they_are_asked_for() {
    let more = r#", "missing": "fill", "bytes": ["blob", "digest"]"#;
    let all = lists(r#""blob", "digest""#, more).unwrap();
    assert_eq!(
        all.fields(),
        [
            Field::new("xs", DType::U8, &[3]),
            Field::labels("ys", 3),
            Field::new("digest", DType::U8, &[4]),
        ]
    );
    let [blob, digest] = &all.table.parts[0].lists[..] else { panic!() };
    let found: Vec<_> = (0..6).map(|row| (blob.bytes(row), blob.is_missing(row))).collect();
    let bytes = [250, 251, 252];
    let expected = [0, 1, 2, 3, 0, 0].map(|count| &bytes[..count]);
    let missing = [true, false, false, false, false, true];
    assert_eq!(found, expected.into_iter().zip(missing).collect::<Vec<_>>());
    assert_eq!(digest.bytes(59), b" \x00\xff ");
}

#[test]
fn what_no_field_can_hold_is_refused() {
    for (columns, more, part) in [
        (r#""deep.list.element.list.element""#, "", "holds lists of lists, which cannot be read"),
        (r#""texts""#, "", "holds lists of texts, which cannot be read"),
        (r#""map.key_value.value""#, "", "holds lists of structures, which cannot be read"),
        (r#""digest""#, "", "column `digest` holds bytes, which cannot be read"),
        (r#""embedding""#, "", "lists.parquet:1: column `embedding` has no value (null)"),
        (r#""embedding""#, r#", "categorical": ["embedding"]"#, "column `embedding` holds lists"),
    ] {
        let found = lists(columns, more).err().expect(part).message().to_owned();
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn columns_without_nulls_have_the_values_of_their_types() {
    use parquet::{
        column::writer::ColumnWriter, file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("types.parquet");
    let schema = "message rows {
        required int32 u32 (INTEGER(32, false));
        required int64 u64 (INTEGER(64, false));
        required int64 moment (TIMESTAMP(MILLIS, true));
        required float single;
        required double double;
        required int32 y;
    }";
    let rows = 300;
    let schema = parse_message_type(schema).unwrap().into();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in 0.. {
        let Some(mut writer) = group.next_column().unwrap() else { break };
        let wide: Vec<i64> =
            (0..rows).map(|row| if column == 1 { -1 - row } else { 1250 * row }).collect();
        let short: Vec<i32> =
            (0..rows as i32).map(|row| if column == 0 { -1 - row } else { row % 2 }).collect();
        let double: Vec<f64> = (0..rows).map(|row| row as f64 / 4.0).collect();
        let single: Vec<f32> = double.iter().map(|value| *value as f32).collect();
        match writer.untyped() {
            ColumnWriter::Int32ColumnWriter(to) => to.write_batch(&short, None, None),
            ColumnWriter::Int64ColumnWriter(to) => to.write_batch(&wide, None, None),
            ColumnWriter::FloatColumnWriter(to) => to.write_batch(&single, None, None),
            ColumnWriter::DoubleColumnWriter(to) => to.write_batch(&double, None, None),
            _ => panic!("column {column} is of another type"),
        }
        .unwrap();
        writer.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let mut parquet = opened(&path, "").unwrap();
    let part = &parquet.table.parts[0];
    assert_eq!(part.rows(), rows as usize);
    for row in 0..rows {
        let values = part.slots.iter().map(|slot| slot.value(part.row(row as usize)));
        let quarters = row as f64 / 4.0;
        let expected = [
            f64::from(u32::MAX) - row as f64,
            (u64::MAX - row as u64) as f64,
            1.25 * row as f64,
            quarters,
            quarters,
        ];
        assert!(values.eq(expected.map(Value::Number)), "row {row}");
        assert_eq!(i64::from(part.targets[row as usize]), row % 2);
    }
    let all: Vec<u64> = (0..rows as u64).collect();
    parquet.table.prepare(0, &all);
    let Encoding::Number { shift, scale, .. } = parquet.table.features()[4].encoding else {
        panic!("a column of numbers");
    };
    // Those of the numbers from 0 on, by four.
    assert_eq!(shift, (rows - 1) as f64 / 8.0);
    let deviation = ((rows * rows - 1) as f64 / 12.0).sqrt() / 4.0;
    assert!((scale - deviation).abs() < 1e-12, "{scale} {deviation}");
}
