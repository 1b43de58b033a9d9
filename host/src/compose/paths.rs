//! State paths: dotted names; a path includes everything below it.

/// First parts of the paths that the host and the phases write; a read of them needs no other
/// writer.
pub const PROVIDED: [&str; 10] =
    ["step", "model", "params", "optimizer", "hyper", "phase", "epoch", "data", "run", "record"];

/// Whether `outer` equals `inner` or is a prefix of it at a dot.
pub fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The longer of two paths if one covers the other.
pub fn overlap<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    if covers(one, other) {
        Some(other)
    } else if covers(other, one) {
        Some(one)
    } else {
        None
    }
}

/// A path and its prefixes, longest first: `a.b.c`, `a.b`, `a`.
pub fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('.')?.0))
}

/// The first part of a path.
pub fn root(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_counts_only_at_a_dot() {
        assert!(covers("a.b", "a.b") && covers("a", "a.b"));
        assert!(!covers("a.b", "a") && !covers("a.b", "a.bc"));
        assert_eq!(overlap("a", "a.b"), Some("a.b"));
        assert_eq!(overlap("a.b", "a.c"), None);
        assert_eq!(root("cbstate.history.loss"), "cbstate");
        assert_eq!(prefixes("a.b.c").collect::<Vec<_>>(), ["a.b.c", "a.b", "a"]);
    }
}
