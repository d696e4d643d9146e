//! "Did you mean ...?"

/// The candidate that `word` most likely is a slip of.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Two slips in a word of five letters still find it; words that share only some letters do not.
    const LIKELY: f64 = 0.6;
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKELY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let keys = ["ceiling", "burst", "prefixes"];
        assert_eq!(nearest("celing", keys), Some("ceiling"));
        assert_eq!(nearest("Ceiling", keys), Some("ceiling"));
        assert_eq!(nearest("burts", keys), Some("burst"));
        assert_eq!(nearest("prefix", keys), Some("prefixes"));
        assert_eq!(nearest("contact", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
