//! Each program at each end: what works with the original works with ours on either side, and what
//! the original cannot do between clusters, too.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use openssl::ssl::SslContextBuilder;

use super::hostile::PROTOCOL;
use super::kit::{Bench, Ganetis, Kind, Ours, can_run, has_tool};
use crate::support::client::{Tls, connect_with};

const PAIRS: [(Kind, Kind); 3] = [(Ours, Ours), (Ours, Ganetis), (Ganetis, Ours)];
const SIZE: usize = 5_000_001;

/// Exporter and importer of these kinds. Whether both succeeded, and the disk is the same.
#[track_caller]
fn passes(bench: &Bench, exporter: Kind, importer: Kind, more: &[&str]) -> bool {
    let disk = std::fs::read(bench.disk(SIZE)).unwrap();
    let mut import = bench.importing(importer, more);
    let mut export = bench.export(exporter, import.port(), &bench.cat(), more);
    let good = (export.succeeds(), import.succeeds());
    let told = (export.output(), import.output());
    if good == (true, true) {
        assert!(bench.got() == disk, "another disk; {told:?}");
        assert!(bench.saw_end());
    }
    eprintln!("{exporter:?} to {importer:?}: {good:?} {told:?}");
    good == (true, true)
}

#[test]
fn inside_a_cluster_all_pairs_pass_the_disk() {
    for (exporter, importer) in [(Ganetis, Ganetis)].iter().chain(&PAIRS) {
        if can_run(&[*exporter, *importer]) {
            let bench = Bench::of_a_cluster();
            assert!(
                passes(&bench, *exporter, *importer, &[]),
                "{exporter:?} {importer:?}"
            );
        }
    }
}

#[test]
fn between_clusters_all_pairs_pass_the_disk_but_that_of_the_original() {
    for (exporter, importer, works) in [
        (Ours, Ours, true),
        (Ours, Ganetis, true),
        (Ganetis, Ganetis, false),
        (Ganetis, Ours, true),
    ] {
        if !can_run(&[exporter, importer]) {
            continue;
        }
        let bench = Bench::of_a_move();
        assert_eq!(
            passes(&bench, exporter, importer, &[]),
            works,
            "{exporter:?} {importer:?}"
        );
    }
}

/// Who does not pin the certificate may look for a name in it: Ganeti 2.16 to 3.0 for
/// `ganeti.example.com`, 3.1 for that of the node. Who says that it is this program pins it.
#[test]
fn an_importer_has_the_names_of_its_node_for_ganetis_exporter() {
    let bench = Bench::of_a_cluster();
    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap();
    let node = match host.contains('.') {
        true => host.to_owned(),
        false => format!("{host}.lab.example"),
    };
    let (ssconf, config) = (bench.path("ssconf"), bench.path("noded-proxy.toml"));
    std::fs::create_dir(&ssconf).unwrap();
    let nodes = ssconf.join("ssconf_node_primary_ips");
    std::fs::write(nodes, format!("{node} 192.0.2.1\nother 192.0.2.2\n")).unwrap();
    std::fs::write(&config, format!("ssconf_dir = \"{}\"\n", ssconf.display())).unwrap();
    let import = bench.importing(Ours, &[&format!("--config={}", config.display())]);
    let address = ([127, 0, 0, 1], import.port()).into();
    let shown = |tls, settings: &dyn Fn(&mut SslContextBuilder)| {
        let peer = connect_with(address, Some(bench.exporter()), tls, |c| settings(c)).unwrap();
        peer.ssl().peer_certificate().unwrap()
    };
    let own = &bench.importer().cert;
    for tls in Tls::BOTH {
        let certificate = shown(tls, &|_| {});
        let names = certificate.subject_alt_names().unwrap();
        let names: Vec<_> = names.iter().filter_map(|name| name.dnsname()).collect();
        for name in ["ganeti.example.com", host, &node] {
            assert!(names.contains(&name), "{name} {names:?}");
        }
        assert!(!names.contains(&"other"));
        assert!(certificate.verify(&own.public_key().unwrap()).unwrap());
        assert_eq!(certificate.not_after(), own.not_after());
        let ours = |context: &mut SslContextBuilder| context.set_alpn_protos(PROTOCOL).unwrap();
        assert!(shown(tls, &ours) == *own);
    }
    let without_ecdsa = |context: &mut SslContextBuilder| context.set_cipher_list("aRSA").unwrap();
    assert!(shown(Tls::V12, &without_ecdsa) == *own);
}

/// Passes one connection on, and keeps what the importer says first.
fn hearing(port: u16) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let (keep, kept) = channel();
    thread::spawn(move || {
        let (mut from, _) = listener.accept().unwrap();
        let mut to = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut back_from, mut back_to) = (to.try_clone().unwrap(), from.try_clone().unwrap());
        thread::spawn(move || {
            let mut first = vec![0; 4096];
            let count = back_from.read(&mut first).unwrap();
            first.truncate(count);
            back_to.write_all(&first).unwrap();
            keep.send(first).unwrap();
            let _ = std::io::copy(&mut back_from, &mut back_to);
            let _ = back_to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    (own, kept)
}

/// In TLS 1.2 the certificate is there to be read, in 1.3 it is encrypted.
#[test]
fn over_tls_1_2_and_1_3_with_the_original() {
    for (exporter, importer) in [(Ours, Ganetis), (Ganetis, Ours)] {
        for (most, is_plain) in [("TLSv1.2", true), ("TLSv1.3", false)] {
            if !can_run(&[exporter, importer]) {
                continue;
            }
            let mut bench = Bench::of_a_cluster();
            let conf = bench.path("openssl.cnf");
            let text = format!(
                "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = {most}\n"
            );
            std::fs::write(&conf, text).unwrap();
            bench.openssl = Some(conf);
            let disk = std::fs::read(bench.disk(SIZE)).unwrap();
            let mut import = bench.importing(importer, &[]);
            let (port, heard) = hearing(import.port());
            let mut export = bench.export(exporter, port, &bench.cat(), &[]);
            assert!(export.succeeds(), "{most} {}", export.output());
            assert!(import.succeeds(), "{most} {}", import.output());
            assert!(bench.got() == disk);
            let name = b"ganeti.example.com";
            let first = heard.recv().unwrap();
            let shown = first.windows(name.len()).any(|window| window == name);
            assert_eq!(shown, is_plain, "{most}");
        }
    }
}

#[test]
fn compressed_by_a_program_all_pairs_pass_the_disk() {
    for (exporter, importer) in PAIRS {
        if can_run(&[exporter, importer]) {
            let bench = Bench::of_a_cluster();
            assert!(passes(
                &bench,
                exporter,
                importer,
                &["--compress=gzip-fast"]
            ));
        }
    }
}

/// The original runs the program `zstd` or `lz4`; ours runs none.
#[test]
fn compressed_in_process_all_pairs_pass_the_disk() {
    for tool in ["zstd", "lz4"] {
        for (exporter, importer) in PAIRS {
            if can_run(&[exporter, importer]) && has_tool(tool, &[exporter, importer]) {
                let bench = Bench::of_a_cluster();
                let more = format!("--compress={tool}");
                assert!(
                    passes(&bench, exporter, importer, &[&more]),
                    "{tool} {exporter:?} {importer:?}"
                );
            }
        }
    }
}

#[test]
fn a_disk_without_a_byte_passes_compressed_in_process() {
    for tool in ["zstd", "lz4"] {
        for (exporter, importer) in PAIRS {
            if can_run(&[exporter, importer]) && has_tool(tool, &[exporter, importer]) {
                let bench = Bench::of_a_cluster();
                bench.disk(0);
                let more = format!("--compress={tool}");
                let mut import = bench.importing(importer, &[&more]);
                let mut export = bench.export(exporter, import.port(), &bench.cat(), &[&more]);
                assert!(export.succeeds(), "{}", export.output());
                assert!(import.succeeds(), "{}", import.output());
                assert!(bench.got().is_empty() && bench.saw_end());
            }
        }
    }
}

#[test]
fn over_ipv6_and_to_and_from_files() {
    for (exporter, importer) in PAIRS {
        if !can_run(&[exporter, importer]) {
            continue;
        }
        let bench = Bench::of_a_cluster();
        let disk = bench.disk(SIZE);
        let got = bench.path("got");
        let mut import = bench.import_v6(importer, &format!("> {}", got.display()));
        let from = format!("--cmd-suffix=< {}", disk.display());
        let mut export = bench.export_v6(exporter, import.port(), &from);
        assert!(export.succeeds(), "{}", export.output());
        assert!(import.succeeds(), "{}", import.output());
        assert!(bench.got() == std::fs::read(disk).unwrap());
    }
}

#[test]
fn zeros_arrive_as_zeros() {
    let mut bytes = vec![0; 3_000_000];
    bytes.extend(super::kit::noise(100_000));
    bytes.extend(vec![0; 70_000_000]);
    bytes.extend([1, 0, 0]);
    for tool in ["none", "zstd", "lz4"] {
        let bench = Bench::of_a_cluster();
        std::fs::write(bench.path("disk"), &bytes).unwrap();
        let more = format!("--compress={tool}");
        let mut import = bench.importing(Ours, &[&more]);
        let mut export = bench.export(Ours, import.port(), &bench.cat(), &[&more]);
        assert!(export.succeeds(), "{tool} {}", export.output());
        assert!(import.succeeds(), "{tool} {}", import.output());
        assert!(bench.got() == bytes, "{tool}");
    }
}

#[test]
fn the_status_tells_progress_and_the_size_that_the_command_said() {
    let bench = Bench::of_a_cluster();
    bench.disk(SIZE);
    let prefix = format!(
        "( echo {SIZE} >&$EXP_SIZE_FD; cat {}; sleep 1.5 ) |",
        bench.path("disk").display()
    );
    let mut import = bench.importing(Ours, &[]);
    let mut export = bench.export(Ours, import.port(), &prefix, &["--expected-size=fd"]);
    assert!(
        export.succeeds() && import.succeeds(),
        "{}",
        export.output()
    );
    let status = export.status();
    assert_eq!(status["progress_mbytes"], 5);
    assert_eq!(status["progress_percent"], 100.0);
    assert!(status["progress_throughput"].is_number(), "{status}");
    assert_eq!(status["connected"], true);
    assert!(status["ctime"].is_number() && status["mtime"].is_number());
}
