//! Numbers with the word that goes with them. It never prints.

/// `1 connection`, `2 connections`.
pub fn count(number: usize, one: &str) -> String {
    match (number, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_is_no_plural() {
        let table = [
            (0, "warning", "0 warnings"),
            (1, "warning", "1 warning"),
            (2, "warning", "2 warnings"),
            (1, "entry", "1 entry"),
            (2, "entry", "2 entries"),
        ];
        for (number, word, expected) in table {
            assert_eq!(count(number, word), expected);
        }
    }
}
