//! `install --moves` and `uninstall --moves` with the real dpkg: what they say and do, that a newer
//! Ganeti goes on, and that whatever happens a program for transfers is there.

use super::part;

const G: &str = "/usr/lib/ganeti/import-export";

/// Replaces the short names of what follows.
fn long(text: &str) -> String {
    text.replace("$G", G)
        .replace("OURS", "ours: /run/s t import --x")
        .replace("GANETI", "ganeti 1: /run/s t import --x")
}

const ON: &str = "\
@ write down $G, for `uninstall`
@ dpkg-divert --package noded-proxy --no-rename --divert $G.ganeti --add $G
@ $G: `noded-proxy import-export` does transfers, Ganeti's own is kept as $G.ganeti
";

const OFF: &str = "\
@ $G: Ganeti's own again
@ dpkg-divert --package noded-proxy --no-rename --divert $G.ganeti --remove $G
@ drop what was written down of $G
";

/// The lines of a plan, each with this word.
fn each(word: &str, lines: &str) -> String {
    lines.replace('@', &format!("{word:<5}"))
}

#[test]
fn transfers_go_by_this_program_and_back_byte_for_byte() {
    let Some(said) = part("moves", true) else {
        return;
    };
    let (shown, nothing) = (
        "note  nothing was done: --apply does it\n",
        "ok    nothing to do: all is as it should be\n",
    );
    let expected = [
        "install --moves: status 0\n",
        &each("would", ON),
        shown,
        "as before\nGANETI\ninstall --moves --apply: status 0\n",
        &each("ok", ON),
        "OURS\ninstall --moves --apply: status 0\n",
        nothing,
        "uninstall --moves: status 0\n",
        &each("would", OFF),
        shown,
        "uninstall --moves --apply: status 0\n",
        &each("ok", OFF),
        "as before\nGANETI\nuninstall --moves --apply: status 0\n",
        nothing,
        "install --moves --apply: status 0\nOURS\nganeti 2: x\n",
        "uninstall --moves --apply: status 0\nganeti 2: /run/s t import --x\n",
        "ganeti 3: /run/s t import --x\nas before\n",
    ];
    assert_eq!(said, long(&expected.concat()));
}

#[test]
fn check_says_who_does_transfers_and_whether_the_place_is_whole() {
    let Some(said) = part("moves_check", true) else {
        return;
    };
    let report = noded_proxy::daemon::sandbox::offered().unwrap();
    if !report.is_complete() {
        return eprintln!("SKIPPED: the kernel lacks layers, all there is: {report}");
    }
    let whole = "ok       moves: $G: `noded-proxy import-export` does transfers; Ganeti's own is kept \
                 as $G.ganeti\n";
    let again = "`noded-proxy install --moves --apply` puts it right\n";
    let expected = [
        "untouched: \ninstall --moves --apply: status 0\n",
        whole,
        "warning  moves: $G: dpkg would replace it: ",
        again,
        "install --moves --apply: status 0\n",
        whole,
        "warning  moves: $G: STAND/program is missing, Ganeti's own does transfers: ",
        again,
        "GANETI\nwarning  moves: $G: Ganeti's own is gone from $G.ganeti: install Ganeti's package \
         again, which brings it\nuninstall --moves --apply: status 0\nuntouched: \n",
    ];
    assert_eq!(said, long(&expected.concat()));
}

#[test]
fn killed_in_the_middle_a_program_is_there_and_the_next_run_ends_it() {
    let Some(said) = part("moves_killed", true) else {
        return;
    };
    assert_eq!(said.matches("status 137\n").count(), 8, "{said}");
    assert_eq!(said.matches("as before\n").count(), 8, "{said}");
    let ours = long("install --moves --apply: status 0\nOURS\n");
    let ganeti = long("uninstall --moves --apply: status 0\nGANETI\n");
    assert_eq!(said.matches(&*ours).count(), 4, "{said}");
    assert_eq!(said.matches(&*ganeti).count(), 4, "{said}");
    assert!(!said.contains("NOT"), "{said}");
}

#[test]
fn what_fails_is_taken_back() {
    let Some(said) = part("moves_fail", true) else {
        return;
    };
    let once = "install --moves --apply: status 1\nas before\ninstall --moves --apply: status 0\n\
                uninstall --moves --apply: status 1\nnoded-proxy: uninstall --moves: dpkg-divert \
                --package noded-proxy --no-rename --divert $G.ganeti --remove $G: exit status: 1: told \
                to fail. All is back as it was\nas before\nuninstall --moves --apply: status 0\n";
    assert_eq!(said, long(once).repeat(2));
}

#[test]
fn transfers_that_run_are_waited_for_or_it_is_refused() {
    let Some(said) = part("moves_busy", true) else {
        return;
    };
    let expected = "\
install --moves: status 0
note  now running: 1 transfer; --apply then needs --wait or --now
note  nothing was done: --apply does it
install --moves --apply: status 1
noded-proxy: now running on this node: 1 transfer. Disks of one move would go by two programs: try \
again later, or with --wait (until none runs), or with --now. Nothing was done
as before
install --moves --apply --now: status 0
OURS
OURS
uninstall --moves --apply --wait: status 0
wait  1 transfer still running (Ctrl-C: nothing was done yet)
as before
";
    assert_eq!(said, long(expected));
}

#[test]
fn without_dpkg_it_is_a_plain_rename() {
    let Some(said) = part("moves_plain", true) else {
        return;
    };
    let place = "NODE/g/import-export";
    let expected = format!(
        "install --moves --apply --import-export G: status 0\n\
         ok    write down {place}, for `uninstall`\n\
         ok    {place}: `noded-proxy import-export` does transfers, Ganeti's own is kept as {place}.ganeti\n\
         OURS\n\
         install --moves --apply --import-export G: status 0\n\
         ok    nothing to do: all is as it should be\n\
         install --moves --import-export {G}: status 1\n\
         noded-proxy: `install --moves` has changed {place}: without --import-export first `uninstall \
         --moves`\n\
         uninstall --moves --apply: status 0\n\
         ok    {place}: Ganeti's own again\n\
         ok    drop what was written down of {place}\n\
         as before\n\
         install --moves --apply --import-export G: status 0\n\
         newer\n\
         install --moves --apply: status 0\n\
         OURS\n\
         uninstall --moves --apply: status 0\n\
         newer\n\
         import-export\n"
    );
    let said: String = said
        .lines()
        .map(|line| match line.split_once("--import-export /tmp/") {
            Some((start, end)) => {
                let status = end.rsplit(": ").next().unwrap();
                format!("{start}--import-export G: {status}\n")
            }
            None => format!("{line}\n"),
        })
        .collect();
    assert_eq!(said, long(&expected));
}

#[test]
fn uninstall_takes_it_along() {
    let Some(said) = part("moves_rest", true) else {
        return;
    };
    let expected = "\
install --apply --now: status 0
install --moves --apply: status 0
uninstall --apply --now: status 1
as before
uninstall --apply --now: status 0
3
as before
install --apply --now: status 0
install --moves --apply: status 0
uninstall --apply --now: status 0
note  transfers stay as they are: $G is neither of this package nor Ganeti's own, which is $G.ganeti: \
somebody has put it there. Move it away, then try again
as before
mine
";
    assert_eq!(said, long(expected));
}

#[test]
fn the_package_does_not_go_without_it() {
    let Some(said) = part("moves_removal", true) else {
        return;
    };
    let expected = "\
install --moves --apply: status 0
prerm: status 0
as before
install --moves --apply: status 0
prerm: status 0
OURS
prerm: status 0
as before
install --moves --apply: status 0
prerm: status 0
noded-proxy: 'uninstall --moves' failed: $G is put back by this removal.
noded-proxy: Ganeti's own program does transfers again.
as before
install --moves --apply: status 137
prerm: status 0
as before
install --moves --apply: status 0
prerm: status 0
noded-proxy: 'uninstall --moves' failed: $G is put back by this removal.
noded-proxy: WARNING: $G is neither of this package nor Ganeti's own, which is $G.ganeti. It stays. \
When it is gone: mv $G.ganeti $G; dpkg-divert --package noded-proxy --no-rename --remove $G
mine
";
    assert_eq!(said, long(expected));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let Some(said) = part("moves_refused", true) else {
        return;
    };
    for words in [
        "STAND/program: root is to run it, and others can write it, or it cannot be run\n",
        "STAND/old knows no `import-export`: it is another version\n",
        "/usr/lib/ganeti: others than root may write there\n",
        "NODE/none is missing: is Ganeti here? If it is elsewhere, say where with --import-export\n",
        "a b\": an absolute path of letters, digits and /._+- alone is needed\n",
        "$G: dpkg has it diverted already (locally, to $G.distrib): remove that diversion, then try again\n",
        "cannot be used with",
        "somebody has put it there. Move it away, then try again\nmine\n",
        "install --moves --apply: status 0\nOURS\n",
        "ok    $G: removed, as Ganeti is\n",
    ] {
        assert!(said.contains(&long(words)), "{words}: {said}");
    }
    assert_eq!(said.matches("as before\n").count(), 2, "{said}");
    assert_eq!(said.matches("status 1\n").count(), 7, "{said}");
}
