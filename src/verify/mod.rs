//! Looks at a node, at a recorded tree of one, or at what another node tells: everything that the rules of [`rules::verify`] are
//! given. It judges nothing, and changes nothing.
//!
//! ```text
//!   certificates  server.pem and client.pem
//!   lists         Ganeti's ssconf, the map, config.data
//!   ssh           root's keys
//!   files         modes and owners
//!   look          reads a file of the tree, and remembers what it may not read
//!   answer        all that was read, on its way to the master
//!   told          a node without this program, as a script tells of it
//! ```

pub mod answer;
mod certificates;
mod files;
mod lists;
mod look;
mod places;
mod ssh;
pub mod told;

use crate::node::reading::Reading;
use look::Look;
pub use places::Places;
use rules::verify::observed::Observed;

/// Reads everything but what the running proxy says. `now` is in seconds since 1970.
pub fn observe(tree: &dyn Reading, places: &Places, host: Option<&str>, now: i64) -> Observed {
    let look = Look::at(tree);
    let lists = lists::ssconf(&look, &places.data);
    let host = lists::own_name(&look, host, &lists);
    let certificates = certificates::read(&look, places);
    let ssh = ssh::read(&look, places);
    let files = files::read(&look, places, &ssh);
    Observed {
        host,
        at: now,
        map: lists::map(&look, &places.map),
        configuration: lists::configuration(&look, &places.data),
        rapi_users: lists::rapi_users(&look, &places.data),
        lists,
        certificates,
        ssh,
        files,
        proxy: None,
        forbidden: look.forbidden(),
    }
}
