//! The course of a transfer, as the process sees it that runs Ganeti's commands: what has happened,
//! and what is to be done next. Pure.
//!
//! The rule that counts: the import command's input ends only after the channel said that the
//! transfer is whole, and the exporter hears a good word only after the export command succeeded.

use super::account::Ended;

/// The exit status of a command that was killed, as the shell has it.
pub const KILLED: i32 = 128 + 9;

/// The same of one whose output nobody reads (SIGPIPE).
const UNREAD: i32 = 128 + 13;

/// What has happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    /// It is an import.
    pub import: bool,
    /// Ganeti gave a command.
    pub has_command: bool,
    /// How the command ended: its exit status.
    pub command: Option<i32>,
    /// The channel said that everything has passed.
    pub whole: bool,
    /// How the channel ended, and what went wrong.
    pub channel: Option<Result<(), String>>,
    /// The import command's input was ended.
    pub input_ended: bool,
    /// The channel got its word.
    pub told: bool,
    /// Time was up before a peer came.
    pub nobody_came: bool,
    /// A verified peer had Ganeti's word: the transfer began.
    pub begun: bool,
    /// The channel failed while the command still ran.
    pub broke_first: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before something happens.
    Wait,
    /// The import command has everything: its input ends.
    EndInput,
    /// The channel is told that the command succeeded.
    TellGood,
    /// It is told that it failed, and why.
    TellBad(String),
    /// All is well.
    Succeed,
    /// It has failed with this exit status: what still runs is killed, and its input ends only then.
    Fail(i32),
}

impl Course {
    /// The channel has failed.
    pub fn breaks(&mut self, why: String) {
        self.broke_first = self.command.is_none();
        self.channel = Some(Err(why));
    }

    /// What is to be done next.
    pub fn next(&self) -> Step {
        let exit = match (self.has_command, self.command) {
            (true, exit) => exit,
            (false, _) => Some(0),
        };
        match &self.channel {
            Some(Ok(())) if self.whole && self.told && exit == Some(0) => return Step::Succeed,
            Some(_) => return Step::Fail(self.status()),
            None if self.told => return Step::Wait,
            None => {}
        }
        match (self.import, self.whole, exit) {
            (true, false, Some(_)) if self.has_command => Step::Fail(self.status()),
            (true, true, _) if !self.input_ended => Step::EndInput,
            (_, true, Some(0)) => Step::TellGood,
            (_, true, Some(_)) => Step::TellBad(self.complaint()),
            _ => Step::Wait,
        }
    }

    /// How a transfer ended with this exit status in Ganeti's form, where a negative one is the number
    /// of a signal that somebody sent.
    pub fn ended(&self, code: i32) -> Ended {
        match code {
            0 => Ended::Whole,
            ..0 if self.nobody_came => Ended::NotBegun,
            ..0 => Ended::Stopped,
            _ if !self.begun => Ended::NotBegun,
            _ if self.command_failed() => Ended::Command,
            _ => Ended::Channel,
        }
    }

    /// Whether the command was first. One that exports ends as soon as nobody reads, and one that
    /// imports is killed then.
    fn command_failed(&self) -> bool {
        match self.command {
            None => false,
            Some(0) => self.import && !self.whole && !self.broke_first,
            Some(KILLED) => !self.broke_first,
            Some(UNREAD) if !self.import => false,
            Some(_) => self.import || !self.broke_first,
        }
    }

    /// The exit status of a failure: the command's own, if it has one.
    fn status(&self) -> i32 {
        match self.command {
            Some(0) | None => 1,
            Some(status) => status,
        }
    }

    /// What is said about the command.
    pub fn complaint(&self) -> String {
        let which = if self.import { "import" } else { "export" };
        match self.command {
            Some(0) if self.import && !self.whole => {
                "the import command ended before the data did".into()
            }
            Some(status) => format!("the {which} command failed with exit status {status}"),
            None => format!("the {which} command was stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn import() -> Course {
        Course {
            import: true,
            has_command: true,
            ..Course::default()
        }
    }

    fn export() -> Course {
        Course {
            import: false,
            ..import()
        }
    }

    fn broken() -> Option<Result<(), String>> {
        Some(Err("reset".into()))
    }

    #[test]
    fn the_course_of_an_import_as_a_table() {
        let whole = Course {
            whole: true,
            ..import()
        };
        let fed = Course {
            input_ended: true,
            ..whole.clone()
        };
        let done = Course {
            command: Some(0),
            ..fed.clone()
        };
        let told = Course {
            told: true,
            ..done.clone()
        };
        let bad = "the import command failed with exit status 3".to_owned();
        let plain = Course {
            has_command: false,
            ..fed.clone()
        };
        for (course, step) in [
            (import(), Step::Wait),
            (whole.clone(), Step::EndInput),
            (fed.clone(), Step::Wait),
            (done.clone(), Step::TellGood),
            (plain, Step::TellGood),
            (
                Course {
                    command: Some(3),
                    ..fed.clone()
                },
                Step::TellBad(bad),
            ),
            (told.clone(), Step::Wait),
            (
                Course {
                    channel: Some(Ok(())),
                    ..told
                },
                Step::Succeed,
            ),
            (
                Course {
                    channel: broken(),
                    ..import()
                },
                Step::Fail(1),
            ),
            (
                Course {
                    channel: Some(Ok(())),
                    ..import()
                },
                Step::Fail(1),
            ),
            (
                Course {
                    channel: broken(),
                    ..fed
                },
                Step::Fail(1),
            ),
            (
                Course {
                    channel: broken(),
                    command: Some(3),
                    ..done
                },
                Step::Fail(3),
            ),
            (
                Course {
                    command: Some(0),
                    ..import()
                },
                Step::Fail(1),
            ),
            (
                Course {
                    command: Some(9),
                    ..import()
                },
                Step::Fail(9),
            ),
        ] {
            assert_eq!(course.next(), step, "{course:?}");
        }
    }

    #[test]
    fn how_it_ended_as_a_table() {
        let begun = |course: Course| Course {
            begun: true,
            ..course
        };
        let with = |course: Course, command, broke_first, whole| Course {
            command,
            broke_first,
            whole,
            ..begun(course)
        };
        let mut late = import();
        late.nobody_came = true;
        for (course, code, ended) in [
            (begun(import()), 0, Ended::Whole),
            (late, -15, Ended::NotBegun),
            (import(), -15, Ended::Stopped),
            (begun(export()), -2, Ended::Stopped),
            (import(), 1, Ended::NotBegun),
            (export(), 1, Ended::NotBegun),
            (begun(import()), 1, Ended::Channel),
            (begun(export()), 1, Ended::Channel),
            (with(import(), Some(3), false, false), 3, Ended::Command),
            (with(import(), Some(3), false, true), 3, Ended::Command),
            (with(import(), Some(0), false, false), 1, Ended::Command),
            (with(import(), Some(0), true, false), 1, Ended::Channel),
            (with(import(), Some(0), false, true), 1, Ended::Channel),
            (with(import(), Some(KILLED), true, false), 1, Ended::Channel),
            (
                with(import(), Some(KILLED), false, false),
                1,
                Ended::Command,
            ),
            // It closed its input, failed a moment later, and was not killed.
            (with(import(), Some(3), true, false), 3, Ended::Command),
            (with(export(), Some(3), false, true), 3, Ended::Command),
            (with(export(), Some(UNREAD), true, false), 1, Ended::Channel),
            (
                with(export(), Some(UNREAD), false, false),
                1,
                Ended::Channel,
            ),
            (with(export(), Some(1), true, false), 1, Ended::Channel),
            (with(export(), Some(0), false, true), 1, Ended::Channel),
        ] {
            assert_eq!(course.ended(code), ended, "{code} {course:?}");
        }
    }

    #[test]
    fn the_course_of_an_export_as_a_table() {
        let whole = Course {
            whole: true,
            ..export()
        };
        let done = Course {
            command: Some(0),
            ..whole.clone()
        };
        let told = Course {
            told: true,
            ..done.clone()
        };
        let bad = "the export command failed with exit status 2".to_owned();
        for (course, step) in [
            (export(), Step::Wait),
            (
                Course {
                    command: Some(0),
                    ..export()
                },
                Step::Wait,
            ),
            (
                Course {
                    command: Some(2),
                    ..export()
                },
                Step::Wait,
            ),
            (whole.clone(), Step::Wait),
            (done, Step::TellGood),
            (
                Course {
                    command: Some(2),
                    ..whole
                },
                Step::TellBad(bad),
            ),
            (
                Course {
                    channel: Some(Ok(())),
                    ..told.clone()
                },
                Step::Succeed,
            ),
            (
                Course {
                    channel: broken(),
                    ..told
                },
                Step::Fail(1),
            ),
            (
                Course {
                    channel: broken(),
                    ..export()
                },
                Step::Fail(1),
            ),
            (
                Course {
                    channel: Some(Ok(())),
                    ..export()
                },
                Step::Fail(1),
            ),
        ] {
            assert_eq!(course.next(), step, "{course:?}");
        }
    }

    fn any_course() -> impl Strategy<Value = Course> {
        let channel = prop_oneof![Just(None), Just(Some(Ok(()))), Just(broken())];
        let command = proptest::option::of(0..3_i32);
        (any::<[bool; 8]>(), command, channel).prop_map(|(is, command, channel)| Course {
            import: is[0],
            has_command: is[1],
            whole: is[2],
            input_ended: is[3],
            told: is[4],
            begun: is[5],
            broke_first: is[6],
            nobody_came: is[7],
            command,
            channel,
        })
    }

    proptest! {
        #[test]
        fn nothing_good_comes_of_what_is_not_whole(course in any_course()) {
            let good = matches!(course.next(), Step::EndInput | Step::TellGood | Step::Succeed);
            prop_assert!(!good || course.whole);
            let succeeded = !course.has_command || course.command == Some(0);
            let says = matches!(course.next(), Step::TellGood | Step::Succeed);
            prop_assert!(!says || succeeded);
            let failed = matches!(course.channel, Some(Err(_)));
            prop_assert!(!good || !failed);
        }
    }
}
