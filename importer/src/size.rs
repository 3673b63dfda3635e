//! Numbers of bytes for people.

/// Units from the largest on, and what each is worth.
const UNITS: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Bytes in a unit that fits, rounded to tenths of it.
pub(crate) fn size(bytes: u64) -> String {
    let Some((name, unit)) = UNITS.into_iter().find(|(_, unit)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let whole = bytes.checked_div(unit).unwrap_or(0);
    let rest = bytes.checked_rem(unit).unwrap_or(0);
    let tenths = rest.saturating_mul(10).saturating_add(unit / 2).checked_div(unit).unwrap_or(0);
    match tenths {
        10 => format!("{}.0 {name}", whole.saturating_add(1)),
        _ => format!("{whole}.{tenths} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_rounded_to_the_nearest_tenth() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_090_000, "1.0 MiB"),
            (1_572_864, "1.5 MiB"),
            (2_090_000, "2.0 MiB"),
            ((1 << 30) - 1, "1024.0 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
