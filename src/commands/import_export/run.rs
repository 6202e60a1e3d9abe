//! One transfer from start to end: waits for what happens, asks [`Course`] what to do, and does it.
//!
//! The order of a failed import is the point: the pipe is never closed before the command is killed.

use std::future::pending;
use std::io::PipeWriter;
use std::net::IpAddr;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep_until, timeout};

use super::group::{Group, Heard};
use super::outcome::{Outcome, clean_up_after};
use super::start::{Begun, Names, Place, begin};
use super::status::StatusFile;
use super::telling::Telling;
use crate::moves::course::{Course, KILLED, Step};
use crate::moves::order::{Order, Size, Way};
use crate::moves::progress::Progress;
use crate::moves::talk::{Event, LONGEST, Word, line};

/// As long as Ganeti waits for its processes to end after a signal.
const LINGER: Duration = Duration::from_secs(5);

/// An export command whose reader is gone may clean up for so long.
const CLEAN_UP: Duration = Duration::from_secs(30);

/// What a command said last comes within this time, one line behind the other.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Who goes on talking when the command has ended, a daemon that it left, is heard for so long.
const LAST_TALK: Duration = Duration::from_secs(2);

/// So many lines and events wait to be looked at. Beyond that, who talks has to wait.
const WAITING: usize = 64;

/// The channel says its last word within this time.
const LAST_WORD: Duration = Duration::from_secs(15);

/// A running transfer.
struct Transfer {
    order: Order,
    status: StatusFile,
    course: Course,
    progress: Progress,
    place: Option<Place>,
    /// This process's hold on the import command's input.
    held: Option<PipeWriter>,
    group: Option<Group>,
    channel: Child,
    words: OwnedWriteHalf,
    heard: Sender<Heard>,
    /// The last signal that came from outside, or that is as good as one.
    stopped: Option<i32>,
    /// When the importer gives up waiting for a peer.
    listens_until: Option<Instant>,
    /// When what still runs is killed.
    patience: Option<Instant>,
    verified: usize,
    peer: Option<(IpAddr, bool)>,
    bytes: u64,
    began: Instant,
    telling: Telling,
}

/// Runs a transfer, and writes its status to the end. Whether it went well.
pub(super) async fn run(
    order: Order,
    names: Names,
    mut status: StatusFile,
    telling: Telling,
) -> bool {
    status.set(|_| {});
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(term), Ok(int)) = signals else {
        status.set(|status| status.cannot_begin("no signal handler"));
        return false;
    };
    if let Way::Export { .. } = order.way {
        // Also when it cannot begin. The importing end's key is destroyed by Ganeti; nobody does it here.
        clean_up_after(&order.files.key);
    }
    let begun = begin(&order, names).await;
    match begun {
        Ok((begun, events)) => {
            let (heard, hears) = mpsc::channel(WAITING);
            let mut transfer = Transfer::new(order, status, telling, begun, heard);
            let code = transfer.conduct(events, hears, term, int).await;
            transfer.finish(code).await
        }
        Err(error) => {
            status.say(&format!("noded-proxy: {error}"));
            status.set(|status| status.cannot_begin(&error.to_string()));
            telling.ends(&Outcome::not_begun(&order));
            false
        }
    }
}

impl Transfer {
    fn new(
        order: Order,
        status: StatusFile,
        telling: Telling,
        (channel, place, words): Begun,
        heard: Sender<Heard>,
    ) -> Self {
        let import = matches!(order.way, Way::Import { .. });
        let size = match order.size {
            Size::Mebibytes(size) => Some(size),
            Size::Unknown | Size::Told => None,
        };
        let wait = Duration::from_secs(order.connect_timeout);
        let began = Instant::now();
        Self {
            course: Course {
                import,
                has_command: place.is_some(),
                ..Course::default()
            },
            progress: Progress::new(size),
            listens_until: (import && !wait.is_zero()).then(|| began + wait),
            order,
            status,
            place,
            held: None,
            group: None,
            channel,
            words,
            heard,
            stopped: None,
            patience: None,
            verified: 0,
            peer: None,
            bytes: 0,
            began,
            telling,
        }
    }

    /// Waits, and does what is to be done, until it is over. The exit status in Ganeti's form.
    async fn conduct(
        &mut self,
        mut events: BufReader<OwnedReadHalf>,
        mut heard: Receiver<Heard>,
        mut term: Stream,
        mut int: Stream,
    ) -> i32 {
        let (sender, mut happens) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            while let Some(event) = next(&mut events).await {
                let _ = sender.send(event).await;
            }
        });
        loop {
            if let Some(code) = self.step().await {
                self.hear_out(&mut heard).await;
                return code;
            }
            let until = self.patience.or(self.listens_until);
            tokio::select! {
                event = happens.recv(), if self.course.channel.is_none() => self.happens(event),
                Some(what) = heard.recv() => self.hear(what),
                _ = term.recv() => self.stop(15, Signal::TERM),
                _ = int.recv() => self.stop(2, Signal::INT),
                () = at(until) => self.too_late(),
                () = at(self.status.due()) => self.status.set(|_| {}),
            }
        }
    }

    /// Does what is to be done; the exit status if it is over.
    async fn step(&mut self) -> Option<i32> {
        if self.stopped.is_some() {
            let gone = self.group.is_none() || self.course.command.is_some();
            return gone.then(|| self.end(1));
        }
        loop {
            match self.course.next() {
                Step::Wait => return None,
                Step::EndInput => {
                    self.course.input_ended = true;
                    // In this order: the warden has no say any more, and then nobody holds the pipe.
                    if let Some(group) = &mut self.group {
                        group.release();
                    }
                    self.held = None;
                }
                Step::TellGood => self.tell(Word::Good).await,
                Step::TellBad(why) => {
                    self.status.say(&format!("noded-proxy: {why}"));
                    self.tell(Word::Bad(why)).await;
                }
                Step::Succeed => return Some(0),
                Step::Fail(code) => {
                    let runs = self.group.is_some() && self.course.command.is_none();
                    if runs && !self.course.import {
                        // Its pipe has no reader any more. It ends by that, and may clean up.
                        self.patience
                            .get_or_insert_with(|| Instant::now() + CLEAN_UP);
                        return None;
                    }
                    if self.course.channel.is_none() {
                        // It writes into nothing now, and tells the peer why it ends.
                        self.patience.get_or_insert_with(|| Instant::now() + LINGER);
                        return None;
                    }
                    return Some(self.end(code));
                }
            }
        }
    }

    async fn tell(&mut self, word: Word) {
        self.course.told = true;
        self.patience = None;
        let _ = self.words.write_all(&line(&word)).await; // if it has gone, its end is an event
    }

    /// Kills what runs: the command first, and only then its input ends.
    fn end(&mut self, code: i32) -> i32 {
        let _ = self.channel.start_kill();
        if let Some(group) = &mut self.group {
            group.kill();
        }
        (self.place, self.held) = (None, None);
        self.stopped.map_or(code, |signal| -signal)
    }

    fn happens(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Listens(port)) => self.status.set(|status| status.listens(port)),
            Some(Event::Says(text)) => self.status.say(&text),
            Some(Event::Verified(count)) => {
                self.verified = count;
                if count > 0 && !self.status.is_connected() {
                    self.status.set(|status| status.connects());
                }
            }
            Some(Event::Begins { peer, ours }) => self.begins(peer, ours),
            Some(Event::Progress { bytes, after }) => {
                self.bytes = bytes;
                self.telling.passed(bytes);
                let shown = self.progress.add(Duration::from_millis(after), bytes);
                self.status.set(|status| status.shows(shown));
            }
            Some(Event::Whole) => self.course.whole = true,
            Some(Event::Ends(None)) => self.course.channel = Some(Ok(())),
            Some(Event::Ends(Some(why))) => {
                let was_said = self.course.told && why == self.course.complaint();
                if !was_said {
                    self.status.say(&format!("noded-proxy: {why}"));
                }
                self.course.breaks(why);
            }
            None => {
                self.status
                    .say("noded-proxy: the channel's process broke down");
                self.course.breaks("broke down".into());
            }
        }
    }

    /// A peer is verified, and has Ganeti's word: the command starts.
    fn begins(&mut self, peer: IpAddr, ours: bool) {
        self.peer = Some((peer, ours));
        self.course.begun = true;
        self.listens_until = None;
        self.began = Instant::now();
        let Some(place) = self.place.take() else {
            return;
        };
        let tells = self.order.size == Size::Told;
        self.held = place.held;
        let started = Group::start(&place.text, place.joint, tells, &self.heard);
        match started {
            Ok(group) => self.group = Some(group),
            Err(error) => {
                self.status.say(&format!(
                    "noded-proxy: the command cannot be started: {error}"
                ));
                self.course.command = Some(127);
                let _ = self.channel.start_kill();
            }
        }
    }

    fn hear(&mut self, what: Heard) {
        match what {
            Heard::Line(text) => self.status.say(&text),
            Heard::Size(text) => self.progress.told(&text),
            Heard::Exit(code) => {
                self.course.command = Some(code);
                if let Some(group) = &mut self.group {
                    group.ended();
                }
                // That it was killed here is no news: why has been said.
                let is_own = code == KILLED && self.course.channel.is_some();
                if self.course.import && !self.course.whole && self.stopped.is_none() && !is_own {
                    self.status
                        .say(&format!("noded-proxy: {}", self.course.complaint()));
                }
                if code != 0 && !self.course.whole && !self.course.import {
                    self.patience
                        .get_or_insert_with(|| Instant::now() + LAST_WORD);
                }
            }
        }
    }

    /// What the command said last.
    async fn hear_out(&mut self, heard: &mut Receiver<Heard>) {
        let until = Instant::now() + LAST_TALK;
        while let Ok(Some(what)) = timeout(LAST_LINES, heard.recv()).await
            && Instant::now() < until
        {
            self.hear(what);
        }
    }

    /// Somebody wants it to end. The command gets the signal; its input stays open meanwhile.
    fn stop(&mut self, number: i32, signal: Signal) {
        self.stopped = Some(number);
        self.patience.get_or_insert_with(|| Instant::now() + LINGER);
        let _ = self.channel.start_kill();
        if let Some(group) = &self.group {
            group.signal(signal);
        }
    }

    fn too_late(&mut self) {
        if self.patience.take().is_some() {
            let code = self.end(1);
            self.course.command.get_or_insert_with(|| code.abs());
            self.course
                .channel
                .get_or_insert_with(|| Err("it took too long".into()));
        } else if self.verified > 0 {
            // A verified peer is about to send its first byte.
            self.listens_until = Some(Instant::now() + Duration::from_secs(1));
        } else {
            self.listens_until = None;
            let seconds = self.order.connect_timeout;
            self.status.say(&format!(
                "Child process didn't establish connection in time ({seconds}s), sending SIGTERM"
            ));
            self.course.nobody_came = true;
            self.stop(15, Signal::TERM);
        }
    }

    /// The last words, in the status and in the log.
    async fn finish(mut self, code: i32) -> bool {
        let _ = timeout(LINGER, self.channel.wait()).await;
        if !self.course.import {
            clean_up_after(&self.order.files.key);
        }
        self.telling.ends(&Outcome {
            import: self.course.import,
            peer: self.peer,
            bytes: self.bytes,
            seconds: self.began.elapsed().as_secs_f64(),
            code,
            ended: self.course.ended(code),
        });
        self.status.last(|status| status.ends(code)).await;
        self.status.is_success()
    }
}

/// What the channel's process says next. A line that is too long, or none of its words, is its end.
async fn next(events: &mut BufReader<OwnedReadHalf>) -> Option<Event> {
    let mut text = Vec::new();
    let mut bounded = events.take(LONGEST as u64);
    match bounded.read_until(b'\n', &mut text).await {
        Ok(1..) => serde_json::from_slice(&text).ok(),
        _ => None,
    }
}

/// At this time, or never.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}
