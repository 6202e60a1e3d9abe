//! Is noded there, does it answer, and can others reach it behind the proxy's back? It calls
//! nothing but `version`, which changes nothing on the node.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::files::Files;
use super::finding::{Finding, Verdict};
use crate::config::Config;
use crate::node::sockets;
use crate::proxy::upstream::{Error, Server, call_version};
use crate::tls::Connector;

/// Time for noded's answer; a busy node needs some hundred milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// What may be wrong when noded is asked over TLS.
const NO_TLS: &str = "a noded with --no-ssl needs upstream.tls = false; one with TLS takes \
                      server.pem only while its candidate map is empty, and up to Ganeti 2.10";

/// What became of a call of `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    /// No connection.
    Unreachable(String),
    /// A connection, but no TLS.
    NoTls(String),
    /// No answer that could be read.
    NoAnswer(String),
    /// An answer.
    Answer(StatusCode, Server, String),
}

/// Findings on noded, and whether it let us connect.
pub(super) fn check(config: &Config, files: &Files, runtime: &Runtime) -> (Vec<Finding>, bool) {
    let (upstream, plain) = (config.upstream.address, !config.upstream.tls);
    let mut findings = Vec::new();
    let connector = match (&files.server_credentials, plain) {
        (_, true) => None,
        (Some(credentials), false) => match Connector::new(credentials, config.tls_profile()) {
            Ok(connector) => Some(connector),
            Err(error) => {
                let text = format!("upstream.tls = true: server.pem is refused: {error}");
                findings.push(Finding::error("noded_answers", text));
                return (findings, false);
            }
        },
        (None, false) => {
            let text = "upstream.tls = true: noded cannot be asked without server.pem";
            findings.push(Finding::warning("noded_answers", text));
            return (findings, false);
        }
    };
    let limit = config.upstream.connect_timeout;
    let call = runtime.block_on(version(upstream, connector.as_ref(), limit));
    let joined = files.server_credentials.is_some();
    findings.extend(judge(upstream, plain, joined, &call));
    (findings, !matches!(call, Call::Unreachable(_)))
}

/// Calls `version`, as the proxy itself would.
async fn version(address: SocketAddr, connector: Option<&Connector>, limit: Duration) -> Call {
    let mut tcp = match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Call::Unreachable(error.to_string()),
        Err(_) => {
            let why = format!("not accepted within {} s", limit.as_secs_f64());
            return Call::Unreachable(why);
        }
    };
    // As in the proxy: nothing is sent to a stranger.
    let ours = tcp.local_addr();
    let looked = ours.and_then(|ours| sockets::may_send_to(address, ours, sockets::trusted()));
    if !matches!(looked, Ok(Ok(()))) {
        return Call::Unreachable("it is not noded that listens there".into());
    }
    let call = async {
        match connector {
            None => ask(&mut tcp, address).await,
            Some(connector) => {
                let mut stream = connector.connect(tcp).await.map_err(Call::NoTls)?;
                ask(&mut stream, address).await
            }
        }
    };
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => failure,
        Err(_) => Call::NoAnswer(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn ask<S>(stream: &mut S, address: SocketAddr) -> Result<Call, Call>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match call_version(stream, address).await {
        Ok(told) => {
            let body = String::from_utf8_lossy(&told.body).trim().to_owned();
            Ok(Call::Answer(told.status, told.server, body))
        }
        Err(Error::EmptyReply(why) | Error::CutReply(why)) => Err(Call::NoAnswer(why)),
        Err(error) => Err(Call::NoAnswer(error.to_string())),
    }
}

/// What the call says. `joined`: there is a `server.pem`, without which noded does not run.
fn judge(upstream: SocketAddr, plain: bool, joined: bool, call: &Call) -> Vec<Finding> {
    let name = format!("upstream.address = {upstream}");
    let (listens, answers) = ("noded_listens", "noded_answers");
    let there = || Finding::ok(listens, format!("{name}: a connection is accepted"));
    match call {
        Call::Unreachable(why) if !joined => {
            let text = format!("{name}: {why}; noded starts when this node has joined a cluster");
            vec![Finding::warning(listens, text)]
        }
        Call::Unreachable(why) => {
            let todo = "start ganeti-noded with the NODED_ARGS that the check noded_args names; \
                        where the guard is loaded, run this check as root";
            vec![Finding::error(listens, format!("{name}: {why}: {todo}"))]
        }
        Call::NoTls(why) => {
            let text = format!("{name}: no TLS session with noded: {why}: {NO_TLS}");
            vec![there(), Finding::error(answers, text)]
        }
        Call::NoAnswer(why) => {
            let todo = match plain {
                true => "is --no-ssl in NODED_ARGS, and is it noded that listens there?",
                false => NO_TLS,
            };
            let text = format!("{name}: no answer to `version`: {why}: {todo}");
            vec![there(), Finding::error(answers, text)]
        }
        Call::Answer(status, server, body) => {
            let answer = answer(&name, *status, body);
            let kind = (answer.verdict == Verdict::Ok).then(|| kind(&name, *server));
            [there(), answer].into_iter().chain(kind).collect()
        }
    }
}

fn answer(name: &str, status: StatusCode, body: &str) -> Finding {
    let id = "noded_answers";
    let told: Result<(bool, serde_json::Value), _> = serde_json::from_str(body);
    match told {
        Ok((true, version)) if status == StatusCode::OK => Finding::ok(
            id,
            format!("{name}: noded answers, protocol version {version}"),
        ),
        _ => {
            let body: String = body.chars().take(100).collect();
            let text = format!("the answer to `version` is not noded's: {status} {body:?}");
            Finding::error(id, format!("{name}: {text}: what listens there?"))
        }
    }
}

/// Which kind of noded answered.
fn kind(name: &str, server: Server) -> Finding {
    let id = "noded_kind";
    match server {
        Server::Processes => {
            let text = "noded starts a process for each connection (Ganeti up to 3.1)";
            Finding::ok(id, format!("{name}: {text}"))
        }
        Server::Threads => {
            let text = "noded has a pool of threads (Ganeti 3.2), with which the proxy was not \
                        tested: it answers 413 to a request of more than 10 MiB, and leaves a \
                        connection after 10 s without a byte";
            Finding::warning(id, format!("{name}: {text}"))
        }
        Server::Unknown => {
            let text = "noded does not say in `Server` which kind it is";
            Finding::ok(id, format!("{name}: {text}"))
        }
    }
}

#[cfg(test)]
#[path = "noded_tests.rs"]
mod tests;
