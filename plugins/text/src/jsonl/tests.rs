use super::*;

const REVIEWS: &str = "{\"text\": \"a good film\", \"label\": \"good\"}\n{\"text\": \"a bad film\", \"label\": \"bad\"}\n\n{\"text\": \"\", \"label\": \"bad\"}\n";

fn jsonl(content: &str, more: &str) -> Result<Jsonl> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, content).unwrap();
    let json = format!(r#"{{"path": {path:?}, "vocabulary": 300{more}}}"#);
    let mut jsonl = Jsonl::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
    jsonl.open()?;
    Ok(jsonl)
}

fn message(content: &str, more: &str) -> String {
    jsonl(content, more).err().expect("it is refused").message().to_owned()
}

fn labels(jsonl: &Jsonl) -> &[u32] {
    match &jsonl.parts[0].1 {
        Samples::Texts(_, labels) => labels,
        Samples::Windows(..) => panic!("windows have no labels"),
    }
}

#[test]
fn classes_are_sorted_and_kept() {
    let reviews = jsonl(REVIEWS, "").unwrap();
    assert_eq!(labels(&reviews), [1, 0, 0]);
    assert_eq!(reviews.fields()[1], Field::labels("ys", 2));
    let numbers: String = ["10", "9", "\"9\""]
        .map(|label| format!("{{\"text\": \"a\", \"label\": {label}}}\n"))
        .concat();
    let numbers = jsonl(&numbers, "").unwrap();
    assert_eq!(labels(&numbers), [1, 0, 0]);
    let mut other = Jsonl::with(numbers.config.clone());
    other.restore(1, &reviews.learnt().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    other.config.path = dir.path().join("other.jsonl");
    std::fs::write(&other.config.path, "{\"text\": \"x\", \"label\": \"good\"}").unwrap();
    other.open().unwrap();
    assert_eq!((labels(&other), other.fields()), (&[1][..], reviews.fields()));
    std::fs::write(&other.config.path, "\n{\"text\": \"x\", \"label\": \"fine\"}").unwrap();
    let error = other.open().unwrap_err();
    assert!(error.message().contains("other.jsonl:2: class \"fine\" of field `label`"), "{error}");
}

#[test]
fn given_classes_keep_their_order() {
    let reviews = jsonl(REVIEWS, r#", "classes": ["good", "bad"]"#).unwrap();
    assert_eq!(labels(&reviews), [0, 1, 1]);
    assert!(message(REVIEWS, r#", "classes": ["good"]"#).contains("rows.jsonl:2: class \"bad\""));
}

#[test]
fn a_number_can_be_the_target() {
    let rows = "{\"text\": \"a\", \"label\": 0.5}\n{\"text\": \"b\", \"label\": 2}\n";
    let numbers = jsonl(rows, r#", "task": "regression""#).unwrap();
    assert_eq!(labels(&numbers), [0.5_f32.to_bits(), 2_f32.to_bits()]);
    assert_eq!(numbers.fields()[1], Field::new("ys", DType::F32, &[1]));
    assert!(message(rows, "").contains("rows.jsonl:1: field `label` holds 0.5, which is no class"));
}

#[test]
fn bad_rows_are_refused_with_their_line_or_skipped() {
    let rows = format!("{REVIEWS}{{\"text\": 3, \"label\": 1}}\nnothing\n");
    assert!(message(&rows, "").contains("rows.jsonl:5: field `text` holds 3, not a text"));
    let dir = tempfile::tempdir().unwrap();
    let mut skipping = jsonl(REVIEWS, r#", "on-bad-row": "skip""#).unwrap();
    skipping.config.path = dir.path().join("rows.jsonl");
    skipping.source.run_dir = Some(dir.path().to_owned());
    std::fs::write(&skipping.config.path, &rows).unwrap();
    skipping.open().unwrap();
    assert_eq!(skipping.splits(), [Split::new("all", 3)]);
    let report = std::fs::read(dir.path().join("skipped-rows.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["files"][0]["skipped"], 2);
    assert_eq!(report["files"][0]["first"][1]["line"], 6);
    assert!(message("\n", "").contains("there are no rows"));
}

#[test]
fn texts_without_labels_are_predicted_from() {
    let mut reviews = jsonl(REVIEWS, "").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = ["one", "two"].map(|name| dir.path().join(name));
    std::fs::write(&files[0], "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n")
        .unwrap();
    std::fs::write(&files[1], "{\"text\": \"d\"}\n").unwrap();
    reviews.open_inputs(&files).unwrap();
    let mut keys = Vec::new();
    loop {
        let count = reviews.read_inputs(2).unwrap();
        if count == 0 {
            break;
        }
        keys.extend((0..count).map(|index| reviews.input_key(index)));
    }
    let places = [(0, 1), (0, 3), (0, 4), (1, 1)];
    assert_eq!(keys, places.map(|(file, line)| format!("{}:{line}", files[file].display())));
    assert_eq!(reviews.class_name(1, 1).as_deref(), Some("good"));
    std::fs::write(&files[1], "{\"body\": \"d\"}\n").unwrap();
    let error = reviews.open_inputs(&files[1..]).unwrap_err();
    assert!(error.message().contains("two:1: there is no field `text`"), "{error}");
}

/// The fields of all samples.
fn filled(data: &Jsonl) -> Vec<Vec<u32>> {
    let Samples::Texts(lines, _) = &data.parts[0].1 else { panic!("these are windows") };
    let fields = data.two_texts(lines, &[0, 1]).unwrap();
    assert_eq!(fields.len(), data.fields().len());
    fields.into_iter().map(|field| field.elements).collect()
}

// No two letters follow each other twice, so that each byte is a token.
const ANSWERS: &str = "{\"q\": \"ab\", \"a\": \"cd\"}\n{\"q\": \"efgh\", \"a\": \"ijkl\"}\n";

#[test]
fn two_texts_are_input_and_target() {
    let more = r#", "task": "pairs", "text": "q", "pair": "a", "length": 3"#;
    let pairs = jsonl(ANSWERS, more).unwrap();
    let [xs, ys] = &filled(&pairs)[..] else { panic!("two fields") };
    let ids = |text: &str| pairs.tokenizer.as_ref().unwrap().ids(text).unwrap();
    assert_eq!((&xs[..2], xs[2], &ys[..2]), (&ids("ab")[..], 0, &ids("cd")[..]));
    assert_eq!((&xs[3..], &ys[3..]), (&ids("efg")[..], &ids("ijk")[..]));
    let more = more.replace(r#", "pair": "a""#, "");
    assert!(message(ANSWERS, &more).contains("set `pair`"));
}

#[test]
fn targets_of_responses_are_marked() {
    let more = r#", "task": "response", "text": "q", "pair": "a", "length": 6"#;
    let answers = jsonl(ANSWERS, more).unwrap();
    let [xs, ys, response] = &filled(&answers)[..] else { panic!("three fields") };
    let ids = |text: &str| answers.tokenizer.as_ref().unwrap().ids(text).unwrap();
    // Padding is 0, the end 1.
    assert_eq!(xs[..6], [&ids("abcd")[..], &[1, 0]].concat());
    assert_eq!(ys[..6], [&ids("bcd")[..], &[1, 0, 0]].concat());
    assert_eq!(response[..6], [0, 1, 1, 1, 0, 0]);
    // A long response is cut.
    assert_eq!(xs[6..], ids("efghij"));
    assert_eq!(response[6..], [0, 0, 0, 1, 1, 1]);
}

#[test]
fn all_texts_become_windows_for_a_language_model() {
    let rows = "{\"text\": \"abcdefgh\"}\n{\"text\": \"ijkl\"}\n";
    let model = jsonl(rows, r#", "task": "language-model", "length": 4"#).unwrap();
    let Samples::Windows(ids, part) = &model.parts[0].1 else { panic!("these are texts") };
    // Each text ends with a token of its own.
    assert_eq!((ids.len(), part.count), (14, 3));
    let mut all = [0; 14];
    ids.copy(0, &mut all);
    assert_eq!((all[8], all[13]), (1, 1));
    assert_eq!(model.fields()[1].shape, [4]);
}

#[test]
fn samples_as_long_as_their_texts_say_where_they_differ() {
    let rows = "{\"text\": \"a b\", \"other\": \"c\", \"label\": 1}\n";
    let first = |padding| Some(Ragged::first(padding));
    let ragged = |jsonl: &Jsonl| (0..4).map(|field| jsonl.ragged(field)).collect::<Vec<_>>();
    let longest = r#", "padding": "longest", "pair": "other", "padding-token": "<|endoftext|>""#;
    let pairs = jsonl(rows, longest).unwrap();
    assert_eq!(ragged(&pairs), [first(1.0), None, None, first(0.0)]);
    assert_eq!(ragged(&jsonl(rows, "").unwrap()), [None, None, None, None]);
    let model = r#", "task": "language-model", "padding": "longest", "length": 4"#;
    let model = jsonl(rows, model).unwrap();
    assert_eq!(ragged(&model), [first(0.0), first(0.0), None, None]);
    // A text is a sample, also where it is shorter than a window.
    assert_eq!(model.splits(), [Split::new("all", 1)]);
    assert_eq!(model.fields()[1].shape, [4]);
}

#[test]
fn two_texts_may_have_lengths_of_their_own() {
    let more = r#", "text": "q", "pair": "a", "length": 6, "padding": "longest""#;
    let lengths = |task: &str| -> Vec<Vec<usize>> {
        let data = jsonl(ANSWERS, &format!(r#", "task": "{task}"{more}"#)).unwrap();
        assert!((0..data.fields().len()).all(|field| data.ragged(field).is_some()));
        let Samples::Texts(lines, _) = &data.parts[0].1 else { panic!("these are windows") };
        data.two_texts(lines, &[0, 1]).unwrap().into_iter().map(|field| field.lengths).collect()
    };
    assert_eq!(lengths("pairs"), [[2, 4], [2, 4]]);
    assert_eq!(lengths("response"), [[5, 6], [5, 6], [5, 6]]);
}
