//! Numbers with what they count.

use std::fmt;

/// `1 row`, `2 rows`.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8> + Copy>(
    number: N,
    [one, many]: [&str; 2],
) -> String {
    let noun = if number == N::from(1) { one } else { many };
    format!("{number} {noun}")
}

/// `1 row`, `2 rows`: of nouns whose plural ends with `s`.
pub(crate) fn count<N: fmt::Display + PartialEq + From<u8> + Copy>(number: N, one: &str) -> String {
    counted(number, [one, &format!("{one}s")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1_u64, "row"), "1 row");
        assert_eq!(count(0_usize, "row"), "0 rows");
        assert_eq!(count(21_i64, "row"), "21 rows");
        assert_eq!(counted(1_u64, ["alias", "aliases"]), "1 alias");
        assert_eq!(counted(2_u64, ["alias", "aliases"]), "2 aliases");
    }
}
