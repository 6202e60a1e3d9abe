//! What the master does on all nodes: it knows them from ssconf, and reaches them by the ssh that
//! Ganeti itself uses. What can be known from files is never asked of a node.

pub mod accept;
mod deeds;
pub mod distribute;
mod given;
mod proof;
pub mod rollback;
pub mod rollout;
mod run;
mod turn;
