//! A failure in the guise of a success: a reply of 2xx whose text says that nothing was done.

/// Whether the body of a 2xx reply is exactly one of the route's failure texts. Blanks around it do not count:
/// templates end in a line break.
pub fn is_disguised_failure(body: &[u8], failure_texts: &[String]) -> bool {
    if failure_texts.is_empty() {
        return false;
    }
    let text = body.trim_ascii();
    failure_texts.iter().any(|failure| failure.as_bytes().trim_ascii() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_text_is_a_failure() {
        let texts = ["failure".to_owned(), "missing parameters".to_owned()];
        for failure in ["failure", "failure\r\n", " missing parameters "] {
            assert!(is_disguised_failure(failure.as_bytes(), &texts), "{failure:?}");
        }
        for success in ["", "-1", "success", "no failure", "failure 2", "Failure", "missing  parameters"] {
            assert!(!is_disguised_failure(success.as_bytes(), &texts), "{success:?}");
        }
        assert!(!is_disguised_failure(b"failure", &[]));
    }
}
