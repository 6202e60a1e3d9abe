//! Ganeti's queue of jobs, as its master keeps it: a file for each job, JSON, with its operations and
//! their states. Nothing here judges.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::tree::{Content, Tree};

/// Largest job file that is read: one with a long log has some MiB.
const MOST: usize = 64 << 20;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// Each operation with its state.
    pub operations: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct File {
    ops: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    input: Input,
    status: String,
}

#[derive(Deserialize)]
struct Input {
    #[serde(rename = "OP_ID")]
    id: String,
}

/// The operations in a job file.
pub fn parse(content: &[u8]) -> Result<Vec<(String, String)>, String> {
    let file: File = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    let all = file.ops.into_iter();
    Ok(all.map(|one| (one.input.id, one.status)).collect())
}

/// All jobs that are not archived; none where there is no queue.
pub fn read(tree: &Tree, queue: &Path) -> Result<Vec<Job>, String> {
    let names = match tree.names(queue) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(|error| format!("{}: {error}", queue.display()))?,
    };
    let ids = names.iter().filter_map(|name| {
        let id = name.strip_prefix("job-")?.parse().ok()?;
        Some((name, id))
    });
    let mut jobs = Vec::new();
    for (name, id) in ids {
        let path = queue.join(name);
        let faulty = |why: &str| format!("{}: {why}", path.display());
        match tree.read(&path, MOST) {
            Content::Absent => {} // archived in the meantime
            Content::Forbidden => return Err(faulty("this user may not read it")),
            Content::Faulty(why) => return Err(faulty(&why)),
            Content::Good(content) => {
                let operations = parse(&content).map_err(|why| faulty(&why))?;
                jobs.push(Job { id, operations });
            }
        }
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    /// As Ganeti 3.0.2 writes it, without what nobody reads here.
    const JOB: &str = r#"{"id": 2, "ops": [{"input": {"node_name": "n2.x", "readd": false,
        "dry_run": null, "OP_ID": "OP_NODE_ADD"}, "status": "running", "result": null,
        "log": [[1, [1795777601, 91145], "message", "x"]], "priority": 0}],
        "start_timestamp": [1795777601, 12468], "end_timestamp": null, "process_id": 188}"#;

    #[test]
    fn jobs_as_ganeti_3_0_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let queue = dir.path().join("queue");
        fs::create_dir_all(queue.join("archive")).unwrap();
        for name in ["lock", "serial", "version"] {
            fs::write(queue.join(name), "1\n").unwrap();
        }
        fs::write(queue.join("job-2"), JOB).unwrap();
        let tree = Tree::recorded(dir.path()).unwrap();
        let operations = vec![("OP_NODE_ADD".to_owned(), "running".to_owned())];
        let expected = [Job { id: 2, operations }];
        assert_eq!(read(&tree, Path::new("/queue")).unwrap(), expected);
        assert_eq!(read(&tree, Path::new("/none")).unwrap(), []);
        fs::write(queue.join("job-3"), &JOB[..99]).unwrap();
        let why = read(&tree, Path::new("/queue")).unwrap_err();
        assert!(why.starts_with("/queue/job-3: "), "{why}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), cut in 0..JOB.len()) {
            let _ = parse(&bytes);
            let _ = parse(&JOB.as_bytes()[..cut]);
        }
    }
}
