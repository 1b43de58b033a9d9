//! Patterns over the paths of parameters, and the parameters that they select.

/// Which parameters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Patterns over `PATH` or `MODEL.PATH`, in which `*` matches any text; empty for all.
    pub patterns: Vec<String>,
    /// Most dimensions of a parameter.
    pub max_dimensions: Option<usize>,
}

impl Selection {
    /// Whether a parameter of `model` at `path` with `dimensions` dimensions is meant.
    pub fn matches(&self, model: &str, path: &str, dimensions: usize) -> bool {
        self.max_dimensions.is_none_or(|most| dimensions <= most)
            && (self.patterns.is_empty()
                || self.patterns.iter().any(|pattern| names(pattern, model, path)))
    }
}

/// Whether a pattern matches the parameter of `model` at `path`.
pub fn names(pattern: &str, model: &str, path: &str) -> bool {
    matches(pattern, path) || matches(pattern, &format!("{model}.{path}"))
}

/// Whether `pattern`, in which `*` matches any text, matches `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(after) = text.strip_prefix(first) else { return false };
    (0..=after.len()).filter(|&at| after.is_char_boundary(at)).any(|at| matches(rest, &after[at..]))
}

/// The part of a model's path that a pattern names as a block: as many components of the path as the
/// pattern has, if each matches; `None` if they do not, or if the path has no more.
pub fn block<'a>(pattern: &str, model: &str, path: &'a str) -> Option<&'a str> {
    let named = |pattern: &str| {
        let mut end = 0;
        for part in pattern.split('.') {
            let rest = path.get(end..)?;
            let length = rest.find('.')?;
            if !matches(part, &rest[..length]) {
                return None;
            }
            end += length + 1;
        }
        path.get(..end - 1)
    };
    let of_model = pattern.split_once('.').filter(|(first, _)| matches(first, model));
    named(pattern).or_else(|| named(of_model?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_text() {
        assert!(
            matches("model.layers.*", "model.layers.0.weight")
                && matches("*.bias", "model.a.bias")
                && matches("*", "x")
        );
        assert!(matches("m*l.*.weight", "model.0.weight") && matches("a", "a"));
        assert!(
            !matches("*.bias", "model.bias.weight")
                && !matches("model", "model.x")
                && !matches("", "x")
        );
    }

    #[test]
    fn a_pattern_names_a_block_by_the_beginning_of_the_path() {
        let of = |pattern: &str, path: &'static str| block(pattern, "model", path);
        assert_eq!(of("block.*", "block.0.expand.weight"), Some("block.0"));
        assert_eq!(of("block.*.*", "block.0.expand.weight"), Some("block.0.expand"));
        assert_eq!(of("layer*.*", "layer1.0.conv1.weight"), Some("layer1.0"));
        assert_eq!(of("layer*", "layer1.0.conv1.weight"), Some("layer1"));
        assert_eq!(of("model.block.1", "block.1.weight"), Some("block.1"));
        assert_eq!(of("*", "0.weight"), Some("0"));
        assert_eq!(of("block.*", "block.weight"), None, "a parameter is no block");
        assert_eq!(of("blocks.*", "block.0.weight"), None);
        assert_eq!(of("critic.*", "block.0.weight"), None);
    }

    #[test]
    fn a_selection_needs_a_pattern_and_few_enough_dimensions() {
        let biases = Selection { patterns: vec!["*.bias".into()], max_dimensions: None };
        assert!(biases.matches("model", "0.bias", 1) && !biases.matches("model", "0.weight", 1));
        let vectors = Selection { patterns: Vec::new(), max_dimensions: Some(1) };
        assert!(vectors.matches("model", "0.scale", 1) && !vectors.matches("model", "0.weight", 2));
        let of_model = Selection { patterns: vec!["critic.*".into()], max_dimensions: Some(1) };
        assert!(
            of_model.matches("critic", "0.bias", 1) && !of_model.matches("generator", "0.bias", 1)
        );
        assert!(!of_model.matches("critic", "0.weight", 2));
    }
}
