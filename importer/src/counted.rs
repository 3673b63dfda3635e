//! Numbers with what they count.

use std::fmt;

/// `1 row`, `2 rows`, `12,345 rows`.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8> + Copy>(
    number: N,
    [one, many]: [&str; 2],
) -> String {
    let noun = if number == N::from(1) { one } else { many };
    format!("{} {noun}", grouped(number))
}

/// `1 row`, `2 rows`: of nouns whose plural ends with `s`.
pub(crate) fn count<N: fmt::Display + PartialEq + From<u8> + Copy>(number: N, one: &str) -> String {
    counted(number, [one, &format!("{one}s")])
}

/// A whole number with commas between groups of three digits: `12,345`.
pub(crate) fn grouped(number: impl fmt::Display) -> String {
    let text = number.to_string();
    let digits = text.trim_start_matches('-').len();
    let mut grouped = String::with_capacity(text.len() * 2);
    for (place, letter) in (0..text.len()).rev().zip(text.chars()) {
        grouped.push(letter);
        if place > 0 && place < digits && place.is_multiple_of(3) {
            grouped.push(',');
        }
    }
    grouped
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
        assert_eq!(count(12_345_u64, "row"), "12,345 rows");
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (-999, "-999"),
            (-1000, "-1,000"),
            (1_234_567, "1,234,567"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }
}
