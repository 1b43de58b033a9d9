//! Columns of words by their hash, and of bytes.

use super::*;

/// FNV-1a of 64 bits, as its authors state it.
fn bucket(word: &str, buckets: u64) -> usize {
    let mut hash = 14_695_981_039_346_656_037_u64;
    for byte in word.bytes() {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(1_099_511_628_211);
    }
    (hash % buckets) as usize
}

fn hashed(config: &mut Config) {
    target_y(config);
    (config.hashed, config.buckets) = (vec!["a".into()], 512);
    config.missing = Missing::Fill;
}

fn values(csv: &Csv, split: usize) -> Vec<Value> {
    let part = &csv.table.parts[split];
    (0..part.rows()).map(|row| part.slots[0].value(part.row(row))).collect()
}

#[test]
fn words_are_in_the_buckets_of_their_hash_however_they_are_read() {
    // Enough rows for several blocks; quotes are read row by row.
    let words: Vec<String> = (0..9000).map(|row| format!("user-é{}", row * 7 % 5000)).collect();
    for quote in ["", "\""] {
        let rows: Vec<String> =
            words.iter().map(|word| format!("{quote}{word}{quote},0.5")).collect();
        let csv = opened(format!("a,y\n{}\n,1.5\n", rows.join("\n")), hashed).unwrap();
        let expected = words.iter().map(|word| Value::Category(bucket(word, 512)));
        let expected: Vec<Value> = expected.chain([Value::Missing]).collect();
        assert!(values(&csv, 0) == expected, "{quote}");
        assert_eq!(csv.fields()[0], Field::new("xs", DType::F32, &[512]));
        assert_eq!(csv.steps(&[]).unwrap(), None, "no exported graph has the hash");
    }
}

#[test]
fn buckets_know_every_word_and_a_gap_is_in_the_most_frequent_one() {
    let mut csv = Csv::with(config(|config| {
        hashed(config);
        config.validation_path = Some("other.csv".into());
    }));
    let rows = b"a,y\nx,0.5\nz,0.5\nz,1.5\n,2.5\n";
    open(&mut csv, &[("birds.csv", rows), ("other.csv", b"a,y\nnew,0.5\n")]).unwrap();
    assert_eq!(values(&csv, 1), [Value::Category(bucket("new", 512))]);
    csv.prepare(0, &[0, 1, 2, 3]).unwrap();
    let fill = Some(bucket("z", 512));
    assert_eq!(csv.table.features()[0].encoding, Encoding::Hashed { buckets: 512, fill });
    let mut place = vec![0.0; 512];
    csv.table.features()[0].encoding.write(Value::Missing, &mut place);
    let ones: Vec<usize> = (0..512).filter(|at| place[*at] == 1.0).collect();
    assert_eq!(ones, [bucket("z", 512)]);
    // What was learnt is kept with the run.
    let mut again = Csv::with(config(hashed));
    again.restore(1, &csv.learnt().unwrap()).unwrap();
    open(&mut again, &[("birds.csv", b"a,y\nother,0.5\n")]).unwrap();
    assert_eq!(values(&again, 0), [Value::Category(bucket("other", 512))]);
    assert_eq!(again.table.features(), csv.table.features());
}

#[test]
fn rows_to_predict_from_have_the_same_buckets() {
    let mut csv = opened("a,y\nx,0.5\nz,1.5\n", hashed).unwrap();
    csv.prepare(0, &[0, 1]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.csv");
    std::fs::write(&path, "a\nz\nunseen\n").unwrap();
    csv.open_inputs(&[path]).unwrap();
    assert_eq!(csv.read_inputs(10).unwrap(), 2);
    let rows = &csv.inputs.as_ref().unwrap().rows.encoded;
    for (row, word) in ["z", "unseen"].into_iter().enumerate() {
        let ones: Vec<usize> = (0..512).filter(|at| rows.inputs(row)[*at] == 1.0).collect();
        assert_eq!(ones, [bucket(word, 512)], "{word}");
    }
}

#[test]
fn bytes_of_a_column_are_a_field() {
    let csv = opened("a,b,y\n1,caf\u{e9},0.5\n2,,0.5\n3,abcdefgh,1.5\n", |config| {
        target_y(config);
        (config.bytes, config.length) = (vec!["b".into()], Some(6));
        config.missing = Missing::Fill;
    });
    let csv = csv.unwrap();
    assert_eq!(csv.fields()[2], Field::new("b", DType::U8, &[6]));
    assert_eq!(csv.ragged(2), Some(Ragged::first(0.0)));
    let lists = &csv.table.parts[0].lists[0];
    let found: Vec<&[u8]> = (0..3).map(|row| lists.bytes(row)).collect();
    assert_eq!(found, ["caf\u{e9}".as_bytes(), b"", b"abcdef"]);
    assert!(lists.is_missing(1));
}
