//! What is said of an end that is refused.

use super::*;
use crate::tls::mint::{CertificateBuilder, common_name, p256_key};
use std::os::unix::net::UnixStream;

/// In TLS 1.3 the caller is done before the other end has looked at its certificate.
#[test]
fn who_is_refused_hears_it_in_words_and_without_the_library_s_files() {
    let name = common_name("node").unwrap();
    let own = CertificateBuilder::new(name, p256_key().unwrap()).mint();
    let own = Credentials::from_pem(&own.unwrap().pem().unwrap()).unwrap();
    let [calls, listens] =
        [End::Calls, End::Listens].map(|end| Pinned::new(&own, end, b"\x04test").unwrap());
    let (near, far) = UnixStream::pair().unwrap();
    let refuses = std::thread::spawn(move || {
        let done = listens.handshake(near, Shown::Own, Box::new(|_| false));
        done.map(|_| ()).unwrap_err()
    });
    let mut channel = calls
        .handshake(far, Shown::Own, Box::new(|_| true))
        .unwrap();
    let told = channel.receive(&mut [0; 9]).unwrap_err();
    assert!(told.starts_with("the peer refuses this end: "), "{told}");
    for told in [told, refuses.join().unwrap()] {
        assert!(!told.contains(".cc") && !told.contains(".c:"), "{told}");
    }
}

#[test]
fn only_what_may_be_about_the_certificate_is_told_as_a_refusal() {
    let refuses = "the peer refuses this end: ";
    for (told, begin) in [
        ("tlsv1 alert unknown ca", refuses),
        ("sslv3 alert bad certificate", refuses),
        ("ssl/tls alert handshake failure", refuses),
        ("tlsv13 alert certificate required", refuses),
        ("sslv3 alert bad record mac", "the peer broke off: "),
        ("tlsv1 alert internal error", "the peer broke off: "),
        ("unknown alert type", ""),
        ("too many warning alerts", ""),
        ("certificate verify failed", ""),
    ] {
        assert_eq!(of_alert(told.to_owned()), format!("{begin}{told}"));
    }
}
