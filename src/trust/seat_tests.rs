use super::*;
use std::fs;

fn ssconf(named: &str, announced: &[&str]) -> Ssconf {
    Ssconf {
        master_node: Some(named.into()),
        announced: Arc::new(announced.iter().map(|name| Box::from(*name)).collect()),
        ..Ssconf::default()
    }
}

#[test]
fn the_first_master_stays_over_a_restart_until_it_hands_over_or_root_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(NAME);
    let ask = |pins: bool, named: &str, announced: &[&str]| {
        let mut faults = Vec::new();
        let nobody = Admission::Nobody(rules::admission::Nobody::NotInCluster);
        let seat = SeatFile::new(dir.path(), true, pins).renew(
            &ssconf(named, announced),
            &nobody,
            &Known::default(),
            &mut faults,
        );
        (seat.map(|seat| seat.name.to_string()), faults.len())
    };
    let is = |name: &str, faults| (Some(name.to_owned()), faults);
    assert_eq!(ask(false, "n7", &[]), is("n7", 0));
    assert!(!file.exists());
    assert_eq!(ask(true, "n1", &[]), is("n1", 0));
    assert_eq!(ask(true, "n2", &[]), is("n1", 1));
    assert_eq!(ask(true, "n2", &["n2"]), is("n2", 0));
    assert_eq!(ask(true, "n1", &[]), is("n2", 1));
    fs::write(&file, "n1\n").unwrap();
    assert_eq!(ask(true, "n1", &[]), is("n1", 0));
    fs::write(&file, "a b c\n").unwrap();
    assert_eq!(ask(true, "n1", &[]), (None, 1));
    assert_eq!(ask(false, "n7", &[]), is("n7", 0));
    assert!(!file.exists());
}

#[test]
fn what_cannot_be_written_holds_all_the_same() {
    let mut seats = SeatFile::new(Path::new("/nonexistent"), true, true);
    let nobody = Admission::Nobody(rules::admission::Nobody::NotInCluster);
    let mut ask = |named: &str| {
        let mut faults = Vec::new();
        let (ssconf, known) = (ssconf(named, &[]), Known::default());
        let seat = seats.renew(&ssconf, &nobody, &known, &mut faults);
        (seat.unwrap().name.to_string(), faults.len())
    };
    assert_eq!(ask("n1"), ("n1".into(), 1));
    assert_eq!(ask("n1"), ("n1".into(), 1), "the fault lasts");
    assert_eq!(ask("n2").0, "n1");
}

#[test]
fn a_file_that_is_removed_under_the_process_hands_the_seat_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut seats = SeatFile::new(dir.path(), true, true);
    let nobody = Admission::Nobody(rules::admission::Nobody::NotInCluster);
    let mut ask = |named: &str| {
        let (ssconf, known) = (ssconf(named, &[]), Known::default());
        let seat = seats.renew(&ssconf, &nobody, &known, &mut Vec::new());
        seat.unwrap().name.to_string()
    };
    assert_eq!(ask("n1"), "n1");
    fs::remove_file(dir.path().join(NAME)).unwrap();
    assert_eq!(ask("n2"), "n1");
    assert!(dir.path().join(NAME).exists());
    fs::write(dir.path().join(NAME), "n2\n").unwrap();
    assert_eq!(ask("n2"), "n2", "an administrator's word");
}

#[test]
fn the_seat_is_that_of_a_cluster_and_outlives_a_server_pem_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Admission::Nobody(rules::admission::Nobody::NotInCluster);
    let ask = |seats: &mut SeatFile, cluster, named: &str| {
        let (ssconf, known) = (ssconf(named, &[]), Known::default());
        let led = seats.lead(cluster, &ssconf, &nobody, &known, &mut Vec::new());
        led.seat.map(|seat| seat.name.to_string())
    };
    let is = |name: &str| Some(name.to_owned());
    let mut seats = SeatFile::new(dir.path(), true, true);
    assert_eq!(ask(&mut seats, Cluster::New, "n1"), is("n1"));
    assert_eq!(ask(&mut seats, Cluster::None, "n2"), None);
    assert_eq!(ask(&mut seats, Cluster::Unknown, "n2"), is("n1"));
    assert_eq!(ask(&mut seats, Cluster::Old, "n2"), is("n1"));
    assert_eq!(
        ask(&mut seats, Cluster::New, "n2"),
        is("n1"),
        "it was renewed"
    );
    assert_eq!(ask(&mut seats, Cluster::None, "n2"), None);
    let mut seats = SeatFile::new(dir.path(), true, true);
    assert_eq!(ask(&mut seats, Cluster::None, "n2"), None, "a restart");
    assert_eq!(ask(&mut seats, Cluster::Old, "n2"), is("n1"));
    assert_eq!(ask(&mut seats, Cluster::None, "n2"), None);
    assert_eq!(ask(&mut seats, Cluster::Unknown, "n2"), is("n1"));
    assert_eq!(
        ask(&mut seats, Cluster::New, "n2"),
        is("n2"),
        "another cluster"
    );
}
