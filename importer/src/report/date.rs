//! Times for people.

/// A day in milliseconds.
const DAY: u64 = 86_400_000;

/// `2026-11-30 04:49 UTC`: from milliseconds since 1970. Empty beyond the year 9999, which no clock says.
pub(super) fn utc(ms: u64) -> String {
    let minutes = (ms % DAY) / 60_000;
    let time = format!("{:02}:{:02} UTC", minutes / 60, minutes % 60);
    let mut days = ms / DAY;
    for year in 1970..10_000_u32 {
        let is_leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let february = if is_leap { 29 } else { 28 };
        for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31_u64])
        {
            match days.checked_sub(length) {
                Some(rest) => days = rest,
                None => return format!("{year}-{month:02}-{:02} {time}", days + 1),
            }
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_those_of_other_calendars() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13 UTC"),
            (4_102_444_799, "2099-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(utc(seconds * 1000), expected);
        }
        assert_eq!(utc(u64::MAX), "");
    }
}
