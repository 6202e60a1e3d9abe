//! What is kept of what is offered, as a table: only what the map lists, only certificates.

use super::*;
use crate::tls::certificates;
use crate::tls::mint::{CertificateBuilder, CertifiedKey, common_name, p256_key};

struct Candidate {
    digest: Digest,
    pem: Vec<u8>,
    key: Vec<u8>,
}

fn candidate(name: &str) -> Candidate {
    let minted = CertificateBuilder::new(common_name(name).unwrap(), p256_key().unwrap()).mint();
    let CertifiedKey { key, certificate } = minted.unwrap();
    let pem = certificate.to_pem().unwrap();
    Candidate {
        digest: certificates(&pem).unwrap()[0].digest,
        key: key.private_key_to_pem_pkcs8().unwrap(),
        pem,
    }
}

fn map(candidates: &[&Candidate]) -> CandidateMap {
    let lines = candidates.iter().enumerate();
    let text: String = lines
        .map(|(at, one)| format!("uuid-{at}={}\n", one.digest))
        .collect();
    match parse(text.as_bytes()) {
        MapFile::Listed(map) => map,
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_kept_as_a_table() {
    let (one, two, old) = (candidate("one"), candidate("two"), candidate("old"));
    let map = map(&[&one, &two]);
    let name = |of: &Candidate| file_name(&of.digest);
    let file = |of: &Candidate| (name(of), of.pem.clone());
    let have = |all: &[&Candidate]| all.iter().map(|of| file(of)).collect::<BTreeMap<_, _>>();
    let both = [&one.pem[..], &two.pem].concat();
    // Files are written in the order of their names.
    let sorted: Vec<_> = have(&[&one, &two]).into_iter().collect();
    let with_keys = [&one.key[..], &one.pem, &two.pem, &two.key].concat();
    let swapped: BTreeMap<_, _> = [(name(&one), two.pem.clone()), file(&two)].into();
    let case = |write: &[(String, Vec<u8>)], remove: &[&Candidate], unlisted, missing| Changes {
        write: write.to_vec(),
        remove: remove.iter().map(|of| name(of)).collect(),
        unlisted,
        missing,
    };
    let table = [
        (both.clone(), have(&[]), case(&sorted, &[], 0, 0)),
        (with_keys, have(&[]), case(&sorted, &[], 0, 0)),
        (both.clone(), have(&[&one, &two]), case(&[], &[], 0, 0)),
        (vec![], have(&[&one, &two]), case(&[], &[], 0, 0)),
        (vec![], have(&[&one]), case(&[], &[], 0, 1)),
        (
            two.pem.clone(),
            have(&[&one, &old]),
            case(&[file(&two)], &[&old], 0, 0),
        ),
        (old.pem.clone(), have(&[&one, &two]), case(&[], &[], 1, 0)),
        (vec![], swapped.clone(), case(&[], &[], 0, 1)),
        (both, swapped, case(&[file(&one)], &[], 0, 0)),
        (b"no PEM".to_vec(), have(&[]), case(&[], &[], 0, 2)),
    ];
    for (at, (offered, have, expected)) in table.into_iter().enumerate() {
        assert_eq!(changes(&offered, &map, &have), expected, "row {at}");
    }
}

#[test]
fn only_files_of_its_own_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let one = candidate("one");
    write(dir.path(), &file_name(&one.digest), &one.pem).unwrap();
    for other in ["one.pem", ".hidden.pem", &format!("{}.pem", "g".repeat(40))] {
        fs::write(dir.path().join(other), "mine").unwrap();
    }
    let own = own_files(dir.path()).unwrap();
    assert_eq!(own, [(file_name(&one.digest), one.pem.clone())].into());
    assert!(is_complete(dir.path(), &map(&[&one])));
    assert!(!is_complete(dir.path(), &map(&[&one, &candidate("two")])));
    assert!(!is_complete(dir.path(), &map(&[&candidate("two")])));
    let path = dir.path().join(file_name(&one.digest));
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
}
