use super::*;

#[test]
fn a_fault_has_one_text_and_comes_back_from_json() {
    let path = || PathBuf::from("/f");
    let table = [
        (
            Fault::CandidateMap {
                path: path(),
                flaw: Flaw::Empty,
            },
            "candidate map /f: the file is empty, but there was a map under this server.pem, \
             so this does not open the bootstrap phase: gnt-cluster copyfile -n NODE FILE on the \
             master writes the map anew, by ssh; if the cluster is to have none, run noded-proxy \
             reset",
        ),
        (
            Fault::CandidateMap {
                path: path(),
                flaw: Flaw::at_line(3, "blank line"),
            },
            "candidate map /f: line 3: blank line",
        ),
        (
            Fault::ServerPem {
                path: path(),
                flaw: Flaw::TooLarge { limit: 9 },
            },
            "server.pem /f: the file has more than 9 bytes",
        ),
        (
            Fault::ServerPem {
                path: path(),
                flaw: Flaw::malformed("no certificate"),
            },
            "server.pem /f: no certificate",
        ),
        (
            Fault::CandidateCertificates {
                path: path(),
                flaw: Flaw::Absent,
            },
            "candidate certificates /f: the file is absent",
        ),
        (
            Fault::CandidateDirectory { path: path() },
            "candidate_certs /f: not a directory",
        ),
        (
            Fault::Ssconf {
                name: "ssconf_master_node".into(),
                flaw: Flaw::Unreadable { why: "no".into() },
            },
            "ssconf_master_node: the file cannot be read: no",
        ),
        (
            Fault::MasterFile {
                path: path(),
                flaw: Flaw::malformed("no"),
            },
            "master /f: no",
        ),
        (
            Fault::ClientCaList { why: "no".into() },
            "client CA list: no",
        ),
        (
            Fault::unwritable(&path(), &std::io::Error::other("full")),
            "state /f: cannot be written: full; what this proxy remembers may not outlive the \
             process",
        ),
        (
            Fault::Watches {
                path: None,
                why: "no".into(),
            },
            "inotify is not watched: no; changes are found by a poll every 5 s (are \
             fs.inotify.max_user_watches and max_user_instances too low?)",
        ),
        (
            Fault::Reading { why: "no".into() },
            "the program failed while it read the files: no; what was in force stays in force, \
             also for who has left the map",
        ),
    ];
    for (fault, text) in table {
        assert_eq!(fault.to_string(), text);
        let json = serde_json::to_string(&fault).unwrap();
        assert_eq!(
            serde_json::from_str::<Fault>(&json).unwrap(),
            fault,
            "{json}"
        );
    }
    let digest = Digest::from_bytes([1; 20]);
    let (first, second) = (Source::Bundle, Source::Learned);
    let forged = Fault::SameDigest {
        digest,
        first,
        second,
    };
    assert!(forged.to_string().contains("(bundle, learned)"), "{forged}");
    let json = serde_json::to_value(&forged).unwrap();
    assert_eq!(json["file"], "same_digest");
    assert_eq!(json["digest"], digest.to_string());
}
