//! Which RPCs have a log line of their own. Pure; the metrics count all of them in any case.

use serde::Deserialize;

use rules::named;

named! {
    /// Which RPCs have a log line. Refusals have one in any case.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum LoggedRpcs {
        /// Each one.
        #[default]
        All = "all",
        /// Those that noded or the proxy did not answer with success, or whose client left.
        Failed = "failed",
        /// None.
        None = "none",
    }
}

/// How an RPC came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client has a good answer.
    Good,
    /// It has not.
    Failed,
    /// The proxy refused it, by admission, by policy or for its form.
    Refused,
}

impl LoggedRpcs {
    /// Whether an RPC with this ending has a line.
    pub(super) fn has_line(self, ending: Ending) -> bool {
        match (self, ending) {
            (_, Ending::Refused) | (Self::All, _) => true,
            (Self::Failed, Ending::Failed) => true,
            (Self::Failed, Ending::Good) | (Self::None, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_always_has_its_line() {
        use Ending::{Failed, Good, Refused};
        for (logged, expected) in [
            (LoggedRpcs::All, [true, true, true]),
            (LoggedRpcs::Failed, [false, true, true]),
            (LoggedRpcs::None, [false, false, true]),
        ] {
            let lines = [Good, Failed, Refused].map(|ending| logged.has_line(ending));
            assert_eq!(lines, expected, "{logged:?}");
        }
    }
}
