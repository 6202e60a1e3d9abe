//! What `install` and `uninstall` leave behind: no noded that obeys whoever connects is without its
//! guard, and none that ran is down, wherever noded listens and wherever they were killed.

use super::part;

#[test]
fn a_noded_elsewhere_is_not_left_without_its_guard() {
    let Some(said) = part("elsewhere", true) else {
        return;
    };
    let expected = "\
install --apply --now: status 0
uninstall --apply --now: status 0
nobody is kept out
as before
uninstall --apply --now: status 1
noded-proxy: NODE/defaults: NODED_ARGS=\"-b 127.0.0.1 -p 11811 --no-ssl\" has noded listen without \
TLS, and is not what upstream.address = 127.0.0.1:298 asks for: guard and proxy stay. Set \
upstream.address as noded is, or take -b, -p and --no-ssl out of NODED_ARGS, then try again
nobody is kept out
as before
uninstall --apply --now: status 0
nobody is kept out
ganeti-noded
";
    assert_eq!(said, expected);
}

#[test]
fn a_noded_that_no_restart_reaches_keeps_proxy_and_guard() {
    let Some(said) = part("stray", true) else {
        return;
    };
    let why = "ganeti-noded listens without TLS at 127.0.0.1:11811";
    let expected = format!(
        "install --apply --now: status 0\n\
         uninstall --apply --now: status 1\n\
         FAIL  prove it: noded has the RPC port again, with TLS, and none listens elsewhere: {why}\n\
         noded-proxy: uninstall: {why}. All is back as it was\n\
         as before\nnobody is kept out\n\
         uninstall --apply --now: status 0\nas before\n"
    );
    assert_eq!(said, expected);
}

#[test]
fn what_cannot_be_taken_back_keeps_the_guard() {
    let Some(said) = part("way_back", true) else {
        return;
    };
    let (file, noded) = (
        "LEFT  NODE/defaults: as it was: ",
        "LEFT  NODE/stand/bin/daemon-util stop ganeti-noded; ",
    );
    let guard = "noded-proxy-guard.service: ";
    let expected = [
        "install --apply --now: status 1",
        file,
        noded,
        &format!("LEFT  systemctl stop {guard}"),
        &format!("LEFT  systemctl disable {guard}"),
        "nobody is kept out",
        "enabled",
        "install --apply --now: status 0",
        "uninstall --apply --now: status 1",
        &format!("LEFT  systemctl start {guard}"),
        file,
        noded,
        "LEFT  systemctl enable noded-proxy.service: the guard does not run",
        "LEFT  systemctl start noded-proxy.service: ",
        "nobody is kept out",
        "ganeti-noded",
    ];
    let lines: Vec<&str> = said.lines().collect();
    let pairs = lines.iter().zip(expected);
    let good = pairs.filter(|(line, expected)| line.starts_with(expected));
    assert!(
        good.count() == expected.len() && lines.len() == expected.len(),
        "{said}"
    );
}

#[test]
fn a_second_installation_keeps_what_the_first_one_found() {
    let Some(said) = part("second", true) else {
        return;
    };
    let expected = "\
install --apply: status 0
install --apply --now: status 1
as before
install --apply --now: status 1
as before
install --apply --now: status 0
nobody is kept out
the first text is kept
uninstall --apply --now: status 0
as before
";
    assert_eq!(said, expected);
}

#[test]
fn killed_at_any_moment_and_booted_noded_is_not_open() {
    let Some(said) = part("killed", true) else {
        return;
    };
    let count = |what: &str| said.matches(what).count();
    assert_eq!(count("uninstall --apply --now: status 137\n"), 12, "{said}");
    assert_eq!(count(": nobody is kept out, "), 12, "{said}");
    // Booted, it can be commanded; not at the moment between the file and the unit.
    let served = count(" noded-proxy>ganeti-noded\n") + count(" ganeti-noded>\n");
    assert_eq!(served, 11, "{said}");
    assert_eq!(
        count("uninstall --apply --now: status 0\nas before\n"),
        12,
        "{said}"
    );
}

#[test]
fn killed_while_noded_was_down_it_runs_again_after_the_next_run() {
    let Some(said) = part("down", true) else {
        return;
    };
    let again = "\
uninstall --apply --now: status 137
noded: 
uninstall --apply --now: status 0
as before
as before
";
    let expected = [
        "install --apply: status 137\nnoded: \n",
        "install --apply: status 0\nnoded: ganeti-noded\n",
        again,
        again,
        "install --apply: status 0\nnote  noded does not run, and is not started\n",
        "ok    nothing to do: all is as it should be\nnoded: \n",
    ];
    assert_eq!(said, expected.concat());
}

#[test]
fn the_package_is_not_removed_while_its_guard_is_needed() {
    let Some(said) = part("removal", true) else {
        return;
    };
    let expected = "\
install --apply --now: status 0
prerm: status 0
nobody is kept out
as before
prerm: status 0
noded-proxy: 'uninstall' failed: this removal puts NODED_ARGS back.
nobody is kept out
ganeti-noded
NODED_ARGS=\"\"
enabled: *
not guarded
prerm: status 1
noded-proxy: ERROR: a noded without TLS runs, or NODED_ARGS of NODE/defaults or its unit starts one: the guard stays.
nobody is kept out
noded-proxy
enabled: noded-proxy-guard.service noded-proxy.service
prerm: status 1
noded-proxy: ERROR: a noded without TLS runs, or NODED_ARGS of NODE/defaults or its unit starts one: the guard stays.
enabled: noded-proxy-guard.service noded-proxy.service
prerm: status 1
as before
prerm: status 1
as before
prerm: status 1
noded-proxy: ERROR: a noded without TLS runs, or NODED_ARGS of NODE/defaults or its unit starts one: the guard stays.
enabled: noded-proxy-guard.service noded-proxy.service
prerm: status 137
told:  noded-proxy.service
";
    assert_eq!(said, expected);
}

#[test]
fn another_port_is_refused_while_the_guard_closes_the_former_one() {
    let Some(said) = part("another_port", true) else {
        return;
    };
    let expected = "\
install --apply --now: status 0
install --apply --now: status 1
noded-proxy: noded-proxy-guard.service runs, and does not close port 11811: it guards port 298, not \
noded's: set noded_port in noded-proxy-guard.nft. `noded-proxy uninstall --apply` first, then this again
nobody is kept out
nobody is kept out
as before
uninstall --apply --now: status 0
nobody is kept out
install --apply --now: status 0
nobody is kept out
ganeti-noded
";
    assert_eq!(said, expected);
}
