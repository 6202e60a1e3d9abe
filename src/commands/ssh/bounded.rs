//! Runs a program within bounds: so many bytes of output, and so much time. It ends by then, whatever
//! the program does. It decides nothing about what the program says.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::interrupt;
use super::program::Program;

/// Most bytes of standard error.
const MOST_ERRORS: usize = 64 << 10;

/// Room that is made for a reading.
const CHUNK: usize = 8 << 10;

/// How long output is waited for when the program itself has ended: whatever it left behind may
/// hold it open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a program may do.
pub(super) struct Bounds {
    /// Bytes of standard output.
    pub(super) most: usize,
    pub(super) deadline: Duration,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself; without a status a signal ended it.
    Status(Option<i32>),
    Deadline,
    TooMuch,
    /// This program was told to end.
    Interrupted,
}

/// What it said until then.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
}

/// Runs it in a process group of its own, which is killed when it goes beyond its bounds. `show` gets
/// each line of standard output as it comes.
pub(super) fn run(
    command: std::process::Command,
    input: &[u8],
    bounds: &Bounds,
    show: &mut dyn FnMut(&[u8]),
) -> io::Result<(Ended, Output)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut interrupted = interrupt::told()?;
    runtime.block_on(async {
        let mut program = Program::start(command)?;
        let mut output = Output::default();
        let attended = tokio::select! {
            attended = attend(&mut program, input, bounds.most, &mut output, show) => attended,
            () = tokio::time::sleep(bounds.deadline) => Ok(Some(Ended::Deadline)),
            _ = interrupted.wait_for(|told| *told) => Ok(Some(Ended::Interrupted)),
        };
        let ended = match attended {
            Ok(None) => Ended::Status(program.status()?.code()),
            Ok(Some(beyond)) => program.kill().map(|()| beyond)?,
            Err(error) => return program.kill().and(Err(error)),
        };
        Ok((ended, output))
    })
}

/// Writes and reads until it has ended. Or how it went beyond its bounds.
async fn attend(
    program: &mut Program,
    input: &[u8],
    most: usize,
    output: &mut Output,
    show: &mut dyn FnMut(&[u8]),
) -> io::Result<Option<Ended>> {
    let (stdin, stdout, stderr) = program.pipes()?;
    let write = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input).await; // the command may not want it all
        }
        Ok(())
    };
    let out = take(stdout, most, &mut output.out, show);
    let mut unseen = |_: &[u8]| {};
    let err = take(stderr, MOST_ERRORS, &mut output.err, &mut unseen);
    let all = async { tokio::try_join!(write, out, err).map(|_| ()) };
    tokio::pin!(all);
    let is_too_much = tokio::select! {
        said = &mut all => {
            let is_too_much = said.is_err();
            if !is_too_much {
                program.ended().await;
            }
            is_too_much
        }
        () = program.ended() => matches!(timeout(LAST_WORDS, all).await, Ok(Err(TooMuch))),
    };
    Ok(is_too_much.then_some(Ended::TooMuch))
}

/// It says more than is taken.
struct TooMuch;

/// Reads to the end; each line is shown at once.
async fn take(
    from: Option<impl AsyncRead + Unpin>,
    most: usize,
    into: &mut Vec<u8>,
    show: &mut dyn FnMut(&[u8]),
) -> Result<(), TooMuch> {
    let Some(from) = from else { return Ok(()) };
    let mut from = from.take(most as u64 + 1);
    let (mut shown, mut looked) = (0, 0);
    into.reserve(CHUNK);
    while from.read_buf(into).await.is_ok_and(|read| read > 0) {
        if into.len() > most {
            into.truncate(most);
            return Err(TooMuch);
        }
        while let Some(at) = into[looked..].iter().position(|byte| *byte == b'\n') {
            show(&into[shown..looked + at]);
            looked += at + 1;
            shown = looked;
        }
        looked = into.len();
        into.reserve(CHUNK);
    }
    if shown < into.len() {
        show(&into[shown..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;

    use super::*;

    /// What a shell's command comes to: how it ended, the output, and each line that was shown.
    fn shell(text: &str, input: &[u8], most: usize, seconds: u64) -> (Ended, Output, Vec<String>) {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", text]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        let deadline = Duration::from_secs(seconds);
        let bounds = Bounds { most, deadline };
        let mut lines = Vec::new();
        let mut show = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        let (ended, output) = run(command, input, &bounds, &mut show).unwrap();
        (ended, output, lines)
    }

    #[test]
    fn how_a_program_ends_as_a_table() {
        let by_itself = |status| Ended::Status(Some(status));
        for (text, seconds, expected) in [
            ("exit 3", 600, by_itself(3)),
            ("kill -9 $$", 600, Ended::Status(None)),
            ("printf %01000d 1", 600, by_itself(0)),
            ("printf %01001d 1", 600, Ended::TooMuch),
            ("yes", 600, Ended::TooMuch),
            ("yes >&2", 600, Ended::TooMuch),
            ("(trap '' TERM HUP; yes) | cat", 600, Ended::TooMuch),
            ("sleep 900", 1, Ended::Deadline),
            ("exec >&- 2>&-; sleep 900", 1, Ended::Deadline),
            ("sleep 900 | sleep 900", 1, Ended::Deadline),
            // What it leaves behind holds its output open.
            ("setsid sleep 30 & exit 4", 600, by_itself(4)),
        ] {
            let (ended, output, _) = shell(text, b"", 1000, seconds);
            assert_eq!(ended, expected, "{text}");
            assert!(output.out.len() <= 1000 && output.err.len() <= MOST_ERRORS);
        }
    }

    #[test]
    fn one_that_speaks_before_it_listens_holds_up_nothing() {
        let input = vec![b'x'; 1 << 20];
        let text = "head -c 1048576 /dev/zero; wc -c >&2";
        let (ended, output, _) = shell(text, &input, 1 << 20, 600);
        assert_eq!(ended, Ended::Status(Some(0)));
        assert_eq!(output.out.len(), 1 << 20);
        assert_eq!(String::from_utf8_lossy(&output.err).trim(), "1048576");
    }

    #[test]
    fn each_line_is_shown_and_the_last_one_without_its_end_too() {
        let (_, output, lines) = shell("printf 'a\\n\\nb'; printf 'c\\nd'", b"", 100, 600);
        assert_eq!(output.out, b"a\n\nbc\nd");
        assert_eq!(lines, ["a", "", "bc", "d"]);
    }

    #[test]
    fn what_it_has_started_is_killed_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let text = format!("sleep 900 & echo $! > {}; yes", file.display());
        assert_eq!(shell(&text, b"", 1000, 600).0, Ended::TooMuch);
        let id = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", id.trim());
        // Nobody may have waited for it yet, or it is gone.
        let ends = |stat: &str| stat.contains(") Z ") || stat.contains(") X ");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !ends(&stat)) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
