//! Why a request never reaches noded: each is an answer of the proxy's own.

use crate::proxy::http::Refusal;
use crate::proxy::upstream::Error;
use rules::policy::Forbidden;

/// Why a request never reaches noded.
pub(super) enum Refused {
    Request(Refusal),
    Policy(Forbidden),
    Upstream(Error),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal)
    }
}

impl From<Forbidden> for Refused {
    fn from(forbidden: Forbidden) -> Self {
        Self::Policy(forbidden)
    }
}
