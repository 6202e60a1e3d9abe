//! Which instance and which disk a transfer is of, from what Ganeti leaves in sight. Pure.
//!
//! No argument of Ganeti's program names the instance. The log file that noded opens for the
//! program does, behind the name of the operating system: `KIND-OS-INSTANCE-DISK-TIME.log`. Where an
//! OS's script runs, the environment has it, too. Nothing is decided by these names: they are shown.

/// The digits of Ganeti's times in names of files: `2026-11-28_01_27_38`.
const TIME: &str = "dddd-dd-dd_dd_dd_dd";

/// What a transfer is of, as far as it can be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The instance.
    pub instance: Option<String>,
    /// `disk0`, in Ganeti's words.
    pub disk: Option<String>,
}

impl Subject {
    /// From the name of the log file, that of the status directory, the environment's instance, and
    /// the cluster's instances, which say where the name of the OS ends.
    pub fn of(log: &str, status: &str, told: Option<&str>, known: &[&str]) -> Self {
        let part = log.strip_suffix(".log").and_then(untimed);
        let part = part
            .and_then(|part| part.split_once('-'))
            .map(|(_, part)| part);
        let (middle, of_log) = match part.and_then(|part| part.rsplit_once('-')) {
            Some((middle, disk)) if is_disk(disk) => (Some(middle), Some(disk)),
            _ => (None, None),
        };
        let of_status = status.split('-').nth(1).filter(|disk| is_disk(disk));
        let is_behind = |name: &&&str| {
            let os = middle.and_then(|middle| middle.strip_suffix(**name));
            os.is_some_and(|os| os.ends_with('-'))
        };
        let named = known.iter().filter(is_behind).max_by_key(|name| name.len());
        // If it is not to be told apart, OS and instance stand there together.
        let instance = told.or_else(|| named.copied()).or(middle);
        let kept = |text: &str| is_plain(text).then(|| text.to_owned());
        Self {
            instance: instance.and_then(kept),
            disk: of_log.or(of_status).and_then(kept),
        }
    }
}

/// Without `-TIME` at the end.
fn untimed(text: &str) -> Option<&str> {
    let (before, time) = text.split_at_checked(text.len().checked_sub(TIME.len())?)?;
    let fits = |(c, form): (char, char)| match form {
        'd' => c.is_ascii_digit(),
        form => c == form,
    };
    let is_time = time.chars().zip(TIME.chars()).all(fits);
    before.strip_suffix('-').filter(|_| is_time)
}

fn is_disk(text: &str) -> bool {
    let number = text.strip_prefix("disk");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// What can stand behind `=` in a line.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    (1..=255).contains(&text.len()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn instance_and_disk_as_a_table() {
        let status = "import-disk3-2026-11-28_01_27_38-k2j3";
        let time = "2026-11-28_01_27_38.log";
        let all = ["b.example.com", "a-b.example.com", "vm1.example.com"];
        for (log, told, known, instance, disk) in [
            (
                "import-noop-vm1.example.com-disk0",
                None,
                &all[..],
                Some("vm1.example.com"),
                Some("disk0"),
            ),
            (
                "export-debian-image-a-b.example.com-disk12",
                None,
                &all,
                Some("a-b.example.com"),
                Some("disk12"),
            ),
            (
                "export-noop-b.example.com-disk1",
                None,
                &all,
                Some("b.example.com"),
                Some("disk1"),
            ),
            (
                "export-noop-new.example.com-disk1",
                None,
                &all,
                Some("noop-new.example.com"),
                Some("disk1"),
            ),
            (
                "export-noop-x-disk1",
                Some("new.example.com"),
                &all,
                Some("new.example.com"),
                Some("disk1"),
            ),
            (
                "export-b.example.com-disk1",
                None,
                &[],
                Some("b.example.com"),
                Some("disk1"),
            ),
            ("something", None, &all, None, Some("disk3")),
            ("something", Some("a b"), &all, None, Some("disk3")),
            (
                "import-noop-vm1.example.com-diskette",
                None,
                &all,
                None,
                Some("disk3"),
            ),
        ] {
            let found = Subject::of(&format!("{log}-{time}"), status, told, known);
            assert_eq!(found.instance.as_deref(), instance, "{log}");
            assert_eq!(found.disk.as_deref(), disk, "{log}");
        }
        let nothing = Subject::of("x.log", "status", None, &all);
        assert_eq!(nothing, Subject::default());
        let no_time = Subject::of("import-noop-vm1.example.com-disk0.log", "", None, &all);
        assert_eq!(no_time, Subject::default());
    }

    proptest! {
        #[test]
        fn no_name_panics_or_breaks_a_line(log in ".{0,60}", status in ".{0,40}", told in ".{0,20}") {
            for log in [log.clone(), format!("{log}-disk1-2026-11-28_01_27_38.log")] {
                let found = Subject::of(&log, &status, Some(&told), &["vm1"]);
                for name in [found.instance, found.disk].into_iter().flatten() {
                    prop_assert!(!name.contains(|c: char| c.is_whitespace() || c.is_control()));
                }
            }
        }
    }
}
