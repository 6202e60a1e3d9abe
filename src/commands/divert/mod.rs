//! The place where Ganeti starts its program for disk transfers (`import-export`), and which program
//! is there: Ganeti's own, or this one's `import-export` with Ganeti's own kept beside it.
//!
//! `look` sees what is there, `scene` says what is to be done (pure), `act` does it so that at each
//! moment a program is there that works. Which transfers run, `transfers` tells. No file but those two
//! is touched.

pub(super) mod act;
mod dpkg;
pub(super) mod look;
pub(super) mod place;
pub(super) mod scene;
pub(super) mod transfers;
