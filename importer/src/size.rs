//! Numbers of bytes for people.

/// Units from the largest on, and what each is worth.
const UNITS: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];

/// Bytes in a unit that fits, rounded to tenths of it. A unit is a thousand of the one before.
pub(crate) fn size(bytes: u64) -> String {
    let Some((name, unit)) = UNITS.into_iter().find(|(_, unit)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let whole = bytes.checked_div(unit).unwrap_or(0);
    let rest = bytes.checked_rem(unit).unwrap_or(0);
    let tenths = rest.saturating_mul(10).saturating_add(unit / 2).checked_div(unit).unwrap_or(0);
    match tenths {
        10 => format!("{}.0 {name}", crate::counted::grouped(whole.saturating_add(1))),
        _ => format!("{}.{tenths} {name}", crate::counted::grouped(whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_rounded_to_the_nearest_tenth() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_049_000, "1.0 MB"),
            (1_550_000, "1.6 MB"),
            (1_990_000, "2.0 MB"),
            (999_999_999, "1,000.0 MB"),
            (3_000_000_000, "3.0 GB"),
            (u64::MAX, "18,446,744.1 TB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
