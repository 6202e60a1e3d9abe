//! Certificates of mixed and old clusters: the client CA list, learned certificates, the other
//! checks.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `ca_list` | what clients receive, byte for byte, and that strict ones offer their certificate |
//! | `failover` | the new master whose `client.pem` has another string type than `server.pem` |
//! | `host_names` | clients that compare host names |
//! | `learning` | certificates become known, are kept, and leave |
//! | `renewal` | `renew-crypto` replayed, with pauses in the worst places |
//! | `rules` | audit mode and `bind_peer` |
//! | `commands` | `explain`, `certs list`, `reset` |
//! | `shown` | the certificate that clients see, and that they trust it |
//! | `legacy` | nodes that cannot be upgraded |

mod ca_list;
mod clients;
mod commands;
mod failover;
mod host_names;
mod learning;
mod legacy;
mod minted;
mod odd;
mod odd_certificates;
mod renewal;
pub(crate) mod rules;
mod shown;
