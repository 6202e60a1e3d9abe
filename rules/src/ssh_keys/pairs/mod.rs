//! Who has which private SSH key on a cluster whose keys Ganeti does not manage: one pair that the
//! master and the candidates share, or a pair for each of them.
//!
//! Pure: [`plan`] is a function from a [`Scene`] to what each node needs, and [`Plan::phase`] says
//! what is done first. A run looks again after each phase, so one that was killed goes on from
//! whatever it finds. What a node says of others counts only if that node is a candidate.
//!
//! ```text
//!   list   what was decided for the cluster, as every node keeps it
//!   scene  the cluster, and what all its nodes say
//!   need   what one node needs, and when
//!   facts  the master's key, the mode, and who has which pair
//!   plan   all nodes
//!   veto   what a node itself refuses
//! ```

mod facts;
pub mod list;
mod need;
mod plan;
mod scene;
mod veto;

pub use list::{List, Pair};
pub use need::{Need, Phase, Why};
pub use plan::{Node, Plan, plan};
pub use scene::{Scene, Wishes};
pub use veto::{Asked, veto};

#[cfg(test)]
mod tests;
