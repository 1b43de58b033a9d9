//! State paths: names joined by dots, such as `step.loss`.

/// Why a text is not a state path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing, or nothing between two dots.
    #[error(
        "`{0}` is not a state path: every part between the dots needs at least one character, as in `step.loss`"
    )]
    EmptyPart(String),
    /// A character that no name has.
    #[error(
        "`{path}` is not a state path: {character:?} cannot be part of a name; letters, digits, `-`, `_` and `:` can"
    )]
    Character {
        /// The path.
        path: String,
        /// The first wrong character.
        character: char,
    },
}

/// Checks that `path` is well formed.
pub fn check(path: &str) -> Result<(), PathError> {
    if path.split('.').any(str::is_empty) {
        return Err(PathError::EmptyPart(path.to_owned()));
    }
    let wrong =
        path.chars().find(|&c| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':')));
    match wrong {
        Some(character) => Err(PathError::Character { path: path.to_owned(), character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_refused() {
        for path in ["", ".", "a.", ".a", "a..b"] {
            assert!(matches!(check(path), Err(PathError::EmptyPart(_))), "{path}");
        }
        assert!(matches!(check("a.b c"), Err(PathError::Character { character: ' ', .. })));
        assert!(check("cbstate.recorder_1.loss-ema").is_ok());
    }
}
