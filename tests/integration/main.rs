//! The proxy as a whole: the real program, real sockets, real certificates. One test, one
//! behaviour.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `guard` | who reaches noded's loopback port |
//! | `handshake` | what TLS lets through, and what a refused client is told |
//! | `access` | who is admitted as time goes by: bootstrap phase, latch, restart |
//! | `demotion` | a candidate that is demoted, whatever it is doing at that moment |
//! | `session` | what TLS never does here: resume, renegotiate, HTTP/2, old versions |
//! | `begun` | requests that the old process has begun when a new one takes over |
//! | `handover` | a fresh process takes over, and the old one finishes what it has |
//! | `bequest` | what a process knows passes to the one that replaces it |
//! | `cluster` | the candidates' certificates on all nodes, with a stand-in for ssh |
//! | `crash` | the main process is killed while processes that it replaced serve |
//! | `hook` | what a node says to `gnt-cluster verify` |
//! | `identity` | certificates: the client CA list, learning, renewal, audit mode, `bind_peer` |
//! | `install` | `install` and `uninstall`, with stand-ins for systemctl and daemon-util |
//! | `key_exchange` | which group the keys of a connection are agreed on with |
//! | `limits` | connections that come to nothing: pings, silence, slowness, too many |
//! | `logging` | which lines the log has, and in which form |
//! | `reload` | the map and `server.pem` changing under the running proxy |
//! | `threats` | the threats that the proxy is there for, row by row |
//! | `admin` | metrics, health and status |
//! | `admin_socket` | the same at a socket in the file system |
//! | `check` | `noded-proxy check` |
//! | `cli` | what is typed and what is printed |
//! | `drain` | how it ends, and what systemd is told |
//! | `flood` | what a stranger makes the proxy write, and how little of it
//! | `forward` | requests, bodies, faults and slots, with a stand-in for noded |
//! | `ganeti_texts` | what Ganeti prints, and docs/troubleshooting.md |
//! | `manual` | which flags each command takes, and the man pages |
//! | `memory` | the key of `server.pem` in the memory of the process |
//! | `moves` | `import-export` beside Ganeti's own program, at either end |
//! | `noded` | the real node daemon and Ganeti's own client |
//! | `overload` | who is served when there are more callers than room |
//! | `policy` | which procedures a candidate may call |
//! | `policy_noded` | attacks by a candidate on the real node daemon, with and without the policy |
//! | `port` | who listens on noded's port, and whether its guard holds |
//! | `ports` | a port that is taken when the proxy starts |
//! | `rollout` | `install --cluster`, with stand-ins for ssh and the nodes' programs |
//! | `sandbox` | what the running process can no longer do |
//! | `shown` | what the commands show of a running proxy, and whom they ask |
//! | `ssh_keys` | `ssh-keys` on recorded trees, with a stand-in for ssh and with a real sshd |
//! | `state_dir` | the state directory full, gone, or used by root |
//! | `verify` | what `noded-proxy verify` finds on recorded trees, and of a running proxy |
//! | `watch` | `noded-proxy status --watch` in a pipe and on a terminal |
//! | `watching` | what the watches see: slow writers, links, moved directories |
//! | `support` | certificates, the proxy, clients and stand-ins for noded |

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test both are what one wants"
)]

mod access;
mod admin;
mod admin_socket;
mod begun;
mod bequest;
mod check;
mod cli;
mod cluster;
mod crash;
mod demotion;
mod drain;
mod flood;
mod forward;
mod ganeti_texts;
mod guard;
mod handover;
mod handshake;
mod hook;
mod identity;
mod install;
mod key_exchange;
mod limits;
mod logging;
mod manual;
mod memory;
mod moves;
mod noded;
mod overload;
mod policy;
mod policy_noded;
mod port;
mod ports;
mod reload;
mod rollout;
mod sandbox;
mod session;
mod shown;
mod ssh_keys;
mod state_dir;
mod support;
mod threats;
mod verify;
mod watch;
mod watching;
