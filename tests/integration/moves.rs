//! `noded-proxy import-export` beside Ganeti's own program: real processes, real sockets, the
//! certificates of a cluster and of a move. Where the original goes wrong, a test shows that, too.

mod arguments;
mod channel;
mod compressed;
mod counted;
mod faults;
mod hostile;
mod keys;
mod kit;
mod original;
mod pairs;
mod status;
mod strangers;
