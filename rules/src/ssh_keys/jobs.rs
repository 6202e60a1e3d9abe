//! Which of Ganeti's jobs change SSH keys: while one of them is not at its end, nobody else does.

/// What the operations are called in job files.
const CHANGE_KEYS: [&str; 6] = [
    "OP_NODE_ADD",
    "OP_NODE_REMOVE",
    "OP_NODE_SET_PARAMS",
    "OP_CLUSTER_RENEW_CRYPTO",
    "OP_CLUSTER_SET_PARAMS", // another number of candidates promotes or demotes
    "OP_CLUSTER_DESTROY",
];
/// The states in which an operation is over.
const OVER: [&str; 3] = ["success", "error", "canceled"];

/// Whether an operation in this state changes SSH keys, now or soon.
pub fn changes_keys(operation: &str, state: &str) -> bool {
    CHANGE_KEYS.contains(&operation) && !OVER.contains(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_as_a_table() {
        for (operation, state, changes) in [
            ("OP_NODE_SET_PARAMS", "running", true),
            ("OP_NODE_SET_PARAMS", "queued", true),
            ("OP_NODE_ADD", "waiting", true),
            ("OP_CLUSTER_RENEW_CRYPTO", "a later state", true),
            ("OP_NODE_SET_PARAMS", "success", false),
            ("OP_NODE_SET_PARAMS", "error", false),
            ("OP_NODE_REMOVE", "canceled", false),
            ("OP_INSTANCE_CREATE", "running", false),
        ] {
            assert_eq!(
                changes_keys(operation, state),
                changes,
                "{operation} {state}"
            );
        }
    }
}
