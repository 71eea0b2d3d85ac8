//! "Did you mean …?"

/// How alike two names must be to be taken for one another.
const ALIKE_MIN: f64 = 0.7;

/// The name that was probably meant.
pub(super) fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    names
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&written, name), *name))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["listen", "redirect_from", "public_port"];
        assert_eq!(nearest("lisen", &names), Some("listen"));
        assert_eq!(nearest("Listne", &names), Some("listen"));
        assert_eq!(nearest("public-port", &names), Some("public_port"));
        assert_eq!(nearest("shop", &names), None);
        assert_eq!(nearest("", &names), None);
    }
}
