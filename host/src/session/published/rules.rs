//! The rules between published names of tensors and paths of parameters, applied in their order.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Deserialize;

use crate::library::escape;

/// A rule of the model, see `Rule` in the author's crate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Rule {
    Rename { from: String, to: String },
    Ignore { names: String },
    Transpose { names: String },
    Merge { from: Vec<String>, to: String, dim: usize },
    Split { from: String, to: Vec<String>, dim: usize },
    Fresh { names: String },
}

/// A tensor of a file under a path of the model.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name in the file; several joined with `+`.
    pub name: String,
    pub tensor: Tensor,
}

/// What `*` and `#` of a pattern match in a text: any text, and digits; `None` if it does not match.
fn captured<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let Some(at) = pattern.find(['*', '#']) else {
        return (pattern == text).then(Vec::new);
    };
    let (before, rest) = (&pattern[..at], &pattern[at + 1..]);
    let text = text.strip_prefix(before)?;
    let digits = pattern.as_bytes()[at] == b'#';
    let most = match digits {
        true => text.bytes().take_while(u8::is_ascii_digit).count(),
        false => text.len(),
    };
    let least = usize::from(digits);
    let mut ends = (least..=most).filter(|&end| text.is_char_boundary(end));
    ends.find_map(|end| {
        let mut found = captured(rest, &text[end..])?;
        found.insert(0, &text[..end]);
        Some(found)
    })
}

/// A result with each `*` and `#` replaced by what was matched.
fn filled(to: &str, matched: &[&str]) -> Result<String, String> {
    let mut matched = matched.iter();
    let mut text = String::with_capacity(to.len());
    for character in to.chars() {
        match character {
            '*' | '#' => text.push_str(matched.next().ok_or_else(|| {
                format!(
                    "the rule that gives `{}` has more places than its pattern",
                    escape::text(to)
                )
            })?),
            other => text.push(other),
        }
    }
    Ok(text)
}

/// Whether a parameter may be missing in a file, or have another shape there.
pub(super) fn is_fresh(rules: &[Rule], path: &str) -> bool {
    rules
        .iter()
        .any(|rule| matches!(rule, Rule::Fresh { names } if captured(names, path).is_some()))
}

/// The tensors of a file under the paths of the model.
///
/// # Errors
/// Two tensors that get one name, or tensors that cannot be joined, divided or transposed.
pub(super) fn to_model(
    rules: &[Rule],
    file: Vec<(String, Tensor)>,
) -> Result<BTreeMap<String, Found>, String> {
    let mut all = BTreeMap::new();
    for (name, tensor) in file {
        all.insert(name.clone(), Found { name, tensor });
    }
    rules.iter().try_fold(all, |all, rule| rule.apply(all))
}

/// Parameters as published files have them.
///
/// # Errors
/// A matrix that cannot be transposed.
pub(super) fn to_file(
    rules: &[Rule],
    parameters: Vec<(String, Tensor)>,
) -> Result<Vec<(String, Tensor)>, String> {
    let transposed = |path: &str| {
        rules.iter().any(
            |rule| matches!(rule, Rule::Transpose { names } if captured(names, path).is_some()),
        )
    };
    let mut all = Vec::with_capacity(parameters.len());
    for (path, tensor) in parameters {
        let tensor = if transposed(&path) { turned(&path, &tensor)? } else { tensor };
        all.push((path, tensor));
    }
    Ok(all)
}

fn turned(name: &str, tensor: &Tensor) -> Result<Tensor, String> {
    tensor
        .t()
        .and_then(|tensor| tensor.contiguous())
        .map_err(|error| format!("`{}` cannot be transposed: {error}", escape::text(name)))
}

impl Rule {
    fn apply(&self, all: BTreeMap<String, Found>) -> Result<BTreeMap<String, Found>, String> {
        match self {
            Rule::Fresh { .. } => Ok(all),
            Rule::Ignore { names } => {
                Ok(all.into_iter().filter(|(name, _)| captured(names, name).is_none()).collect())
            }
            Rule::Rename { from, to } => {
                let mut renamed = BTreeMap::new();
                for (name, found) in all {
                    let new = match captured(from, &name) {
                        Some(matched) => filled(to, &matched)?,
                        None => name,
                    };
                    put(&mut renamed, new, found)?;
                }
                Ok(renamed)
            }
            Rule::Transpose { names } => all
                .into_iter()
                .map(|(name, mut found)| {
                    if captured(names, &name).is_some() {
                        found.tensor = turned(&found.name, &found.tensor)?;
                    }
                    Ok((name, found))
                })
                .collect(),
            Rule::Merge { from, to, dim } => merged(all, from, to, *dim),
            Rule::Split { from, to, dim } => {
                let mut split = BTreeMap::new();
                for (name, found) in all {
                    let Some(matched) = captured(from, &name) else {
                        put(&mut split, name, found)?;
                        continue;
                    };
                    let size = found.tensor.dims().get(*dim).copied().unwrap_or(0);
                    let part = size / to.len().max(1);
                    if part == 0 || part * to.len() != size {
                        return Err(format!(
                            "`{}` of shape {:?} cannot be divided into {} parts",
                            escape::text(&found.name),
                            found.tensor.dims(),
                            to.len()
                        ));
                    }
                    for (index, to) in to.iter().enumerate() {
                        let tensor = found.tensor.narrow(*dim, index * part, part);
                        let tensor = tensor.map_err(|error| error.to_string())?;
                        let name = found.name.clone();
                        put(&mut split, filled(to, &matched)?, Found { name, tensor })?;
                    }
                }
                Ok(split)
            }
        }
    }
}

/// Tensors that match all patterns of a merge with the same captures, joined.
fn merged(
    mut all: BTreeMap<String, Found>,
    from: &[String],
    to: &str,
    dim: usize,
) -> Result<BTreeMap<String, Found>, String> {
    let Some(first) = from.first() else { return Ok(all) };
    let names: Vec<String> = all.keys().cloned().collect();
    for name in names {
        let Some(matched) = captured(first, &name) else { continue };
        let parts: Vec<String> =
            from.iter().map(|pattern| filled(pattern, &matched)).collect::<Result<_, _>>()?;
        // A part that is missing is reported later, under the name of the whole.
        let Some(found) =
            parts.iter().map(|part| all.get(part).cloned()).collect::<Option<Vec<Found>>>()
        else {
            continue;
        };
        let tensors: Vec<&Tensor> = found.iter().map(|found| &found.tensor).collect();
        let tensor = Tensor::cat(&tensors, dim)
            .map_err(|error| format!("`{}` cannot be joined: {error}", parts.join("`, `")))?;
        for part in &parts {
            all.remove(part);
        }
        let name = found.iter().map(|found| &found.name[..]).collect::<Vec<_>>().join("+");
        put(&mut all, filled(to, &matched)?, Found { name, tensor })?;
    }
    Ok(all)
}

fn put(all: &mut BTreeMap<String, Found>, name: String, found: Found) -> Result<(), String> {
    let ours = found.name.clone();
    match all.insert(name.clone(), found) {
        None => Ok(()),
        Some(other) => Err(format!(
            "`{}` and `{}` of the file are both `{}`",
            escape::text(&other.name),
            escape::text(&ours),
            escape::text(&name)
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::session::published::tests::tensor;

    fn rules(rules: Value) -> Vec<Rule> {
        serde_json::from_value(rules).unwrap()
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        tensor.to_vec2().unwrap()
    }

    #[test]
    fn stars_match_text_and_hashes_digits() {
        assert_eq!(captured("a.#.*", "a.12.b.c"), Some(vec!["12", "b.c"]));
        assert_eq!(captured("*.gamma", "x.y.gamma"), Some(vec!["x.y"]));
        assert_eq!(captured("h.#.w", "h.x.w"), None);
        assert_eq!(captured("a*", "a"), Some(vec![""]));
        assert_eq!(filled("b.#.*", &["1", "w"]).unwrap(), "b.1.w");
        assert!(filled("b.#.*", &["1"]).unwrap_err().contains("more places"));
    }

    #[test]
    fn rules_apply_in_their_order() {
        let names = rules(json!([
            { "rename": { "from": "net.*", "to": "*" } },
            { "ignore": { "names": "*.ids" } },
            { "transpose": { "names": "#.w" } },
            { "merge": { "from": ["#.q", "#.k"], "to": "#.qk", "dim": 0 } },
            { "split": { "from": "pair", "to": ["one", "two"], "dim": 1 } },
            { "fresh": { "names": "head.*" } },
        ]));
        let file = [
            ("net.0.w", (2, 3)),
            ("net.x.ids", (1, 4)),
            ("net.0.q", (1, 2)),
            ("net.0.k", (2, 2)),
            ("net.1.q", (1, 2)),
            ("pair", (1, 4)),
        ];
        let file = file.map(|(name, shape)| (name.to_owned(), tensor(shape)));
        let found = to_model(&names, file.to_vec()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["0.qk", "0.w", "1.q", "one", "two"]);
        assert_eq!(rows(&found["0.w"].tensor), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]);
        assert_eq!(rows(&found["0.qk"].tensor), [[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]]);
        assert_eq!(found["0.qk"].name, "net.0.q+net.0.k");
        assert_eq!(rows(&found["two"].tensor), [[2.0, 3.0]]);
        assert!(is_fresh(&names, "head.weight") && !is_fresh(&names, "0.w"));
        let back = to_file(&names, vec![("0.w".to_owned(), found["0.w"].tensor.clone())]).unwrap();
        assert_eq!(rows(&back[0].1), rows(&tensor((2, 3))), "transposed back");
    }

    #[test]
    fn what_cannot_be_applied_names_the_tensors() {
        let twice = rules(json!([{ "rename": { "from": "a.*", "to": "*" } }]));
        let file = |names: [&str; 2]| names.map(|name| (name.to_owned(), tensor((1, 3)))).to_vec();
        let text = to_model(&twice, file(["a.w", "w"])).unwrap_err();
        assert!(text.contains("`a.w`") && text.contains("`w`"), "{text}");
        let split = rules(json!([{ "split": { "from": "w", "to": ["x", "y"], "dim": 1 } }]));
        let text = to_model(&split, file(["w", "v"])).unwrap_err();
        assert!(text.contains("`w` of shape [1, 3]"), "{text}");
    }
}
