//! Reloads, and the processes that take part in them.

use std::net::TcpStream;
use std::process::{Command, Output};

use openssl::ssl::SslStream;
use rustix::process::{Pid, Signal, kill_process};

use super::client::{request, send};
use super::proxy::Proxy;
use super::stage::Stage;

/// The command that asks for a reload.
pub(crate) fn command(proxy: &Proxy) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noded-proxy"));
    command
        .args(["reload", "--state-dir"])
        .arg(proxy.dir().join("state"));
    command
}

pub(crate) fn reload(proxy: &Proxy) -> Output {
    command(proxy).output().unwrap()
}

/// Reloads, and returns the new main process.
#[track_caller]
pub(crate) fn reloaded(proxy: &Proxy) -> i32 {
    let output = reload(proxy);
    assert!(output.status.success(), "{output:?}");
    let main = main_pid(proxy);
    // By the log, which the old process may not have written yet.
    proxy.wait_for("its successor is told", |p| {
        p.pid().as_raw_nonzero().get() == main
    });
    main
}

pub(crate) fn main_pid(proxy: &Proxy) -> i32 {
    proxy.status()["handover"]["pid"].as_i64().unwrap() as i32
}

/// How many processes were replaced and still serve.
pub(crate) fn predecessors(proxy: &Proxy) -> f64 {
    proxy.metric("noded_proxy_predecessors")
}

/// Waits until they keep so many slots.
#[track_caller]
pub(crate) fn wait_kept(proxy: &Proxy, slots: usize) {
    proxy.wait_for("each keeps its own", |p| {
        p.metric("noded_proxy_predecessor_slots") == slots as f64
    });
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Reloads twice, each time while the present process has a call. The calls' connections.
pub(crate) fn two_replaced_with_a_call_each(stage: &Stage) -> Vec<SslStream<TcpStream>> {
    let reload_with_a_call = |count| {
        let mut stream = stage.connect();
        send(&mut stream, request("version", "[]"));
        stage.stub.wait_holding(count);
        reloaded(&stage.proxy);
        wait_kept(&stage.proxy, count);
        stream
    };
    (1..=2).map(reload_with_a_call).collect()
}
