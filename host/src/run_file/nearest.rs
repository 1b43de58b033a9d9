//! The nearest known name to an unknown one. Used wherever a name from a user is refused.

/// The candidate that `name` most likely misspells; `None` if none is close.
///
/// Ignores case and treats underscores as hyphens. The first of equally close ones wins.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = normal(name);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let have = normal(candidate);
        let distance = strsim::damerau_levenshtein(&wanted, &have);
        let longest = wanted.chars().count().max(have.chars().count());
        let close = distance <= (longest / 3).max(1) && distance < longest;
        let part = wanted.len() >= 3
            && have.len() >= 3
            && (have.contains(&wanted) || wanted.contains(&have));
        let score = if close { distance } else { distance + 1000 };
        if (close || part) && best.is_none_or(|(found, _)| score < found) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// "did you mean `x`?" or, without a close candidate, a list of all.
pub fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(found) = nearest(name, candidates.iter().copied()) {
        return Some(format!("did you mean `{found}`?"));
    }
    if candidates.is_empty() {
        return None;
    }
    const SHOWN: usize = 12;
    let mut text =
        candidates.iter().take(SHOWN).map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
    if candidates.len() > SHOWN {
        text.push_str(&format!(" and {} more", candidates.len() - SHOWN));
    }
    Some(format!("known here: {text}"))
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_misspellings_and_parts_but_no_other_names() {
        let known = ["learning-rate", "weight-decay", "momentum"];
        assert_eq!(nearest("leraning-rate", known), Some("learning-rate"));
        assert_eq!(nearest("Learning_Rate", known), Some("learning-rate"));
        assert_eq!(nearest("decay", known), Some("weight-decay"));
        assert_eq!(nearest("batch", known), None);
        assert_eq!(nearest("lr", ["x", "y"]), None);
    }

    #[test]
    fn without_a_close_one_all_are_listed() {
        assert_eq!(suggestion("zzz", ["cpu", "cuda"]).unwrap(), "known here: `cpu`, `cuda`");
        assert_eq!(suggestion("zzz", []), None);
    }
}
