//! What a process knows passes to the one that replaces it, also if it could not be kept.

use std::fs;

use crate::support::client::admitted;
use crate::support::handing::main_pid;
use crate::support::stage::Stage;
use crate::support::stub::StubNoded;

#[test]
fn a_reload_opens_no_bootstrap_phase_though_the_state_directory_is_gone() {
    let stage = Stage::configured(StubNoded::usual(), "sandbox = 'off'");
    let (proxy, pki) = (&stage.proxy, &stage.pki);
    let map = fs::read(proxy.map_path()).unwrap();
    let state = proxy.dir().join("state");
    fs::remove_dir_all(&state).unwrap();
    for _ in 0..2 {
        fs::remove_file(proxy.map_path()).unwrap();
        proxy.wait_for("the map is missed", |p| {
            p.metric("noded_proxy_candidate_map_stale") == 1.0
        });
        let old = main_pid(proxy);
        proxy.sighup();
        let failed = proxy.status()["handover"]["failed"].to_string();
        assert_eq!(main_pid(proxy), old, "{failed}");
        assert!(failed.contains("there was a map"), "{failed}");
        assert!(!admitted(proxy.addr(), pki.server()), "bootstrap phase");
        assert!(admitted(proxy.addr(), &stage.client));
        fs::write(proxy.map_path(), &map).unwrap();
        proxy.sighup();
        assert_ne!(main_pid(proxy), old);
    }
    fs::create_dir(&state).unwrap();
    let kept = ["last-good-map", "latch"].map(|name| state.join(name));
    proxy.wait_for("the state is kept", |_| kept.iter().all(|f| f.exists()));
}
