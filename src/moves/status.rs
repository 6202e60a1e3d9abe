//! The status that Ganeti reads of a transfer, in its form. Pure: times come from outside, and
//! nothing is written here.

use serde::Serialize;

use super::progress::Shown;

/// So many lines are kept.
const LINES: usize = 20;

/// Longest line that is kept, in characters.
const WIDTH: usize = 1000;

/// Ganeti's `ImportExportStatus`. What is not known is left out.
#[derive(Debug, Default, Serialize)]
pub struct Status {
    ctime: f64,
    mtime: Option<f64>,
    recent_output: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_mbytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_throughput: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_eta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

impl Status {
    /// Of a transfer that begins at this time, in seconds since 1970.
    pub fn new(now: f64) -> Self {
        Self {
            ctime: now,
            ..Self::default()
        }
    }

    /// One more line of output. Ganeti's log and the administrator's terminal get it, so what could
    /// steer a terminal is made harmless.
    pub fn say(&mut self, line: &str) {
        let line = rules::shown::inert_line(line);
        self.recent_output.push(line.chars().take(WIDTH).collect());
        if self.recent_output.len() > LINES {
            self.recent_output.remove(0);
        }
    }

    /// The port that the importer listens on.
    pub fn listens(&mut self, port: u16) {
        self.listen_port = Some(port);
    }

    /// A verified peer is there.
    pub fn connects(&mut self) {
        self.connected = Some(true);
    }

    /// Whether one was.
    pub fn is_connected(&self) -> bool {
        self.connected == Some(true)
    }

    /// How far it is.
    pub fn shows(&mut self, progress: Shown) {
        self.progress_mbytes = Some(progress.mebibytes);
        self.progress_throughput = progress.throughput;
        self.progress_percent = progress.percent;
        self.progress_eta = progress.eta;
    }

    /// How it ended, in Ganeti's words: an exit status, or the negative number of a signal.
    pub fn ends(&mut self, code: i32) {
        self.exit_status = Some(code);
        self.error_message = match code {
            0 => None,
            signal @ ..0 => Some(format!("Exited due to signal {}", -signal)),
            code => Some(format!("Exited with status {code}")),
        };
    }

    /// How it ended when it could not even begin.
    pub fn cannot_begin(&mut self, why: &str) {
        self.exit_status = Some(1);
        self.error_message = Some(format!("Unhandled error occurred: {why}"));
    }

    /// Whether it ended well.
    pub fn is_success(&self) -> bool {
        self.exit_status == Some(0)
    }

    /// The content of the file at this time.
    pub fn text(&mut self, now: f64) -> String {
        self.mtime = Some(now);
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn value(status: &mut Status) -> Value {
        serde_json::from_str(&status.text(2.5)).unwrap()
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut status = Status::new(1.5);
        assert_eq!(
            value(&mut status),
            json!({"ctime": 1.5, "mtime": 2.5, "recent_output": []})
        );
        status.listens(4711);
        status.connects();
        let now = value(&mut status);
        assert_eq!(
            (&now["listen_port"], &now["connected"]),
            (&json!(4711), &json!(true))
        );
    }

    #[test]
    fn the_end_in_the_words_of_ganeti() {
        for (code, message) in [
            (0, json!(null)),
            (1, json!("Exited with status 1")),
            (-15, json!("Exited due to signal 15")),
        ] {
            let mut status = Status::new(0.0);
            status.ends(code);
            let now = value(&mut status);
            assert_eq!(
                (&now["exit_status"], &now["error_message"]),
                (&json!(code), &message)
            );
            assert_eq!(status.is_success(), code == 0);
        }
    }

    #[test]
    fn the_last_twenty_lines_stay_and_steer_no_terminal() {
        let mut status = Status::new(0.0);
        (0..30).for_each(|n| status.say(&n.to_string()));
        status.say("\u{1b}[2Jgone");
        let lines = value(&mut status)["recent_output"].clone();
        assert_eq!(lines.as_array().map(Vec::len), Some(20));
        assert_eq!(lines[0], "11");
        assert!(!lines[19].as_str().unwrap().contains('\u{1b}'));
    }
}
