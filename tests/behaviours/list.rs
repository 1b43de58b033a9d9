//! Checks that every behaviour has a test.

use std::collections::BTreeMap;
use std::process::Command;

#[test]
fn every_behaviour_from_1_to_45_has_a_test_here() {
    let tests = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let mut by_number: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(tests.stdout).unwrap().lines() {
        let Some(name) = line.strip_suffix(": test").and_then(|path| path.rsplit("::").next())
        else {
            continue;
        };
        if let Some((number, what)) =
            name.strip_prefix("behaviour_").and_then(|rest| rest.split_once('_'))
        {
            by_number.entry(number.parse().unwrap()).or_default().push(what.replace('_', " "));
        }
    }
    for (number, tests) in &by_number {
        println!("{number:2}  {}", tests.join("\n    "));
    }
    let missing: Vec<u32> = (1..=45).filter(|number| !by_number.contains_key(number)).collect();
    assert!(missing.is_empty(), "no test is named after behaviours {missing:?}");
    assert_eq!(by_number.len(), 45, "a test is named after a behaviour that there is not");
}
