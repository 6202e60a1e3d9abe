//! Times as people read them: the one place that turns seconds into words.
//!
//! Pure: the caller says what time it is. Nothing here is read back by a program.

use std::time::{Duration, UNIX_EPOCH};

/// Units of a span, largest first. A span has the first unit of which it holds two.
const UNITS: [(u64, &str); 4] = [
    (31_556_952, "years"), // the mean year of the calendar
    (86_400, "days"),
    (3_600, "hours"),
    (60, "min"),
];

/// The last second of the year 9999, beyond which a date has no usual form.
const LAST: u64 = 253_402_300_799;

/// How long: `2 days`, `3 min`, `40 s`.
pub fn span(seconds: u64) -> String {
    let unit = UNITS.into_iter().find(|(unit, _)| seconds >= 2 * unit);
    match unit {
        Some((unit, name)) => format!("{} {name}", (seconds + unit / 2) / unit),
        None => format!("{seconds} s"),
    }
}

/// How long ago: `3 min ago`; `never` without a time.
pub fn ago(seconds: Option<u64>) -> String {
    match seconds {
        None => "never".into(),
        Some(0) => "just now".into(),
        Some(seconds) => format!("{} ago", span(seconds)),
    }
}

/// A moment seen from now, both in seconds since 1970: `3 min ago`, `in 5 years`.
pub fn relative(at: i64, now: i64) -> String {
    match u64::try_from(at.saturating_sub(now)) {
        Ok(0) => "just now".into(),
        Ok(ahead) => format!("in {}", span(ahead)),
        Err(_) => ago(Some(at.abs_diff(now))),
    }
}

/// The day of a moment: `2031-11-25`.
pub fn day(at: i64) -> String {
    let text = instant(at);
    text.split('T').next().unwrap_or_default().to_owned()
}

/// A moment to the second, in UTC: `2031-11-25T10:30:00Z`.
pub fn instant(at: i64) -> String {
    let Ok(since) = u64::try_from(at) else {
        return "before 1970".into();
    };
    let at = UNIX_EPOCH + Duration::from_secs(since.min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A moment to the second and how far it is: `2031-11-25T10:30:00Z (3 min ago)`.
pub fn moment(at: i64, now: i64) -> String {
    format!("{} ({})", instant(at), relative(at, now))
}

/// The end of a certificate: `expires 2031-11-25 (in 5 years)`, `expired 2019-03-01 (7 years ago)`.
pub fn expiry(not_after: i64, now: i64) -> String {
    let verb = if not_after < now {
        "expired"
    } else {
        "expires"
    };
    format!("{verb} {} ({})", day(not_after), relative(not_after, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_one_unit() {
        let table = [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (200, "3 min"),
            (7_199, "120 min"),
            (7_200, "2 hours"),
            (172_799, "48 hours"),
            (172_800, "2 days"),
            (400 * 86_400, "400 days"),
            (157_679_879, "5 years"),
            (u64::MAX / 2, "292277024627 years"),
        ];
        for (seconds, text) in table {
            assert_eq!(span(seconds), text, "{seconds}");
        }
        assert_eq!(ago(None), "never");
        assert_eq!(
            (&*ago(Some(0)), &*ago(Some(200))),
            ("just now", "3 min ago")
        );
    }

    #[test]
    fn moments_are_seen_from_now() {
        let now = 1_795_689_000; // 2026-11-26T10:30:00Z
        let table = [
            (now, "expires 2026-11-26 (just now)"),
            (now + 157_679_879, "expires 2031-11-25 (in 5 years)"),
            (now + 6 * 86_400, "expires 2026-12-02 (in 6 days)"),
            (now - 200, "expired 2026-11-26 (3 min ago)"),
            (now - 3 * 86_400, "expired 2026-11-23 (3 days ago)"),
            (-1, "expired before 1970 (57 years ago)"),
        ];
        for (at, text) in table {
            assert_eq!(expiry(at, now), text, "{at}");
        }
        assert_eq!(moment(now - 200, now), "2026-11-26T10:26:40Z (3 min ago)");
        assert_eq!(instant(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(day(0), "1970-01-01");
    }
}
