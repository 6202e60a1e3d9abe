//! Odd client certificates: keys, names, times, extensions and signatures as they may come one day.

use std::path::Path;
use std::process::Command;

use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use rules::identity::Digest;

use crate::support::der::{
    ALT_NAMES, AUTHORITY_KEY, BITS, BMP, BOOLEAN, CN, CONSTRAINTS, EXTENDED_USAGE, KEY_USAGE, MD5,
    NAME_CONSTRAINTS, OCTETS, ORGANIZATION, PRINTABLE, Parts, SHA1, SHA256, SHA512, T61, UNIVERSAL,
    UTF8, algorithm, critical, extension, generalized, integer, name, oid, rdn, seq, tlv, utc,
};

/// A certificate with its key.
pub(super) struct Odd {
    pub(super) name: &'static str,
    /// Key and certificate, as in `client.pem`.
    pub(super) pem: String,
    pub(super) digest: String,
}

/// A key as PEM text, and its public half (SubjectPublicKeyInfo).
struct Key {
    pem: String,
    public: Vec<u8>,
}

/// The kinds of keys, with the options of `openssl genpkey`.
const KEYS: [(&str, &[&str]); 15] = [
    ("key-rsa1024", &["RSA", "rsa_keygen_bits:1024"]),
    ("key-rsa3072", &["RSA", "rsa_keygen_bits:3072"]),
    ("key-rsa4096", &["RSA", "rsa_keygen_bits:4096"]),
    (
        "key-rsa-e3",
        &["RSA", "rsa_keygen_bits:2048", "rsa_keygen_pubexp:3"],
    ),
    ("key-secp256r1", &["EC", "ec_paramgen_curve:P-256"]),
    ("key-secp384r1", &["EC", "ec_paramgen_curve:P-384"]),
    ("key-secp521r1", &["EC", "ec_paramgen_curve:P-521"]),
    ("key-secp256k1", &["EC", "ec_paramgen_curve:secp256k1"]),
    ("key-secp224r1", &["EC", "ec_paramgen_curve:secp224r1"]),
    (
        "key-brainpoolP256r1",
        &["EC", "ec_paramgen_curve:brainpoolP256r1"],
    ),
    ("key-ed25519", &["ED25519"]),
    ("key-ed448", &["ED448"]),
    ("key-rsapss", &["RSA-PSS", "rsa_keygen_bits:2048"]),
    (
        "key-rsapss-sha512",
        &[
            "RSA-PSS",
            "rsa_keygen_bits:2048",
            "rsa_pss_keygen_md:sha512",
            "rsa_pss_keygen_mgf1_md:sha512",
            "rsa_pss_keygen_saltlen:64",
        ],
    ),
    ("plain-v1", &["RSA", "rsa_keygen_bits:2048"]),
];

impl Key {
    /// A new key; by the program, because the TLS library of the tests does not know all kinds.
    fn new(dir: &Path, kind: &[&str]) -> Self {
        let file = dir.join("key").display().to_string();
        let mut make = Command::new("openssl");
        make.args(["genpkey", "-out", &file, "-algorithm", kind[0]]);
        make.args(kind[1..].iter().flat_map(|option| ["-pkeyopt", option]));
        let mut public = Command::new("openssl");
        public.args(["pkey", "-in", &file, "-pubout", "-outform", "DER"]);
        let [_, public] = [make, public].map(|mut command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {output:?}");
            output.stdout
        });
        Self {
            pem: std::fs::read_to_string(file).unwrap(),
            public,
        }
    }
}

/// Makes them all, signed by this key. (An RSA key of 8192 bits is left out: it takes a minute.)
pub(super) fn all(issuer: &PKey<Private>) -> Vec<Odd> {
    let dir = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    let mut usual = None;
    for (name, kind) in KEYS {
        let key = Key::new(dir.path(), kind);
        made.push(odd(name, &key, Parts::of(&key.public).signed_by(issuer)));
        usual = Some(key);
    }
    let key = usual.unwrap();
    let with = |name, change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::of(&key.public);
        change(&mut parts);
        odd(name, &key, parts.signed_by(issuer))
    };
    for list in [names(), serials_and_times(), extensions(), signatures()] {
        made.extend(list.iter().map(|(name, change)| with(name, &**change)));
    }
    made
}

fn odd(name: &'static str, key: &Key, der: Vec<u8>) -> Odd {
    let text = encode_block(&der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    Odd {
        name,
        pem: format!("{}{begin}\n{}\n{end}\n", key.pem, lines.join("\n")),
        digest: Digest::of_der(&der).to_string(),
    }
}

/// What makes a certificate odd.
type Change = (&'static str, Box<dyn Fn(&mut Parts)>);

fn change(name: &'static str, change: impl Fn(&mut Parts) + 'static) -> Change {
    (name, Box::new(change))
}

fn names() -> Vec<Change> {
    let subject = |what, name: Vec<u8>| change(what, move |p| p.subject = name.clone());
    let bytes = |text: &str, width: usize| -> Vec<u8> {
        text.chars()
            .flat_map(|c| (c as u32).to_be_bytes()[4 - width..].to_vec())
            .collect()
    };
    let two = seq(&[
        rdn(CN, UTF8, "node9.example.com"),
        rdn(CN, UTF8, "node1.example.com"),
    ]);
    let attribute = |kind, value: &str| seq(&[oid(kind), tlv(UTF8, value)]);
    let both = [
        attribute(ORGANIZATION, "Org"),
        attribute(CN, "node1.example.com"),
    ];
    vec![
        subject("subject-empty", seq(&[])),
        change("issuer-empty", |p| p.issuer = seq(&[])),
        change("issuer-unknown", |p| p.issuer = name(CN, UTF8, "nobody")),
        change("subject-issuer-empty", |p| {
            (p.subject, p.issuer) = (seq(&[]), seq(&[]));
        }),
        subject("subject-t61-latin1", name(CN, T61, b"n\xf6de1")),
        subject("subject-bmp", name(CN, BMP, bytes("n\u{f6}de1", 2))),
        subject("subject-universal", name(CN, UNIVERSAL, bytes("node1", 4))),
        subject("subject-utf8-invalid", name(CN, UTF8, b"node\xff\xfe1")),
        subject(
            "subject-printable-with-at",
            name(CN, PRINTABLE, "node_1@example*com"),
        ),
        subject("subject-printable-empty-cn", name(CN, PRINTABLE, "")),
        subject(
            "subject-ctrl-chars",
            name(CN, UTF8, "node1\r\n\x1b[31mx\0y"),
        ),
        subject("subject-long-cn-300", name(CN, UTF8, "n".repeat(300))),
        subject("subject-two-cn", two),
        subject("subject-multivalue-rdn", seq(&[tlv(0x31, both.concat())])),
    ]
}

fn serials_and_times() -> Vec<Change> {
    let serial = |what, bytes: Vec<u8>| change(what, move |p| p.serial = tlv(2, &bytes));
    let times = |what, not_before: Vec<u8>, not_after: Vec<u8>| {
        change(what, move |p| {
            (p.not_before, p.not_after) = (not_before.clone(), not_after.clone());
        })
    };
    let utc = |what, from, to| times(what, utc(from), utc(to));
    let long = |what, from, to| times(what, generalized(from), generalized(to));
    vec![
        serial("serial-negative", vec![0x86, 0x94, 0x11, 0x0f]),
        serial("serial-zero", vec![0]),
        serial("serial-64-bytes", [&[0x7f][..], &[0xab; 63]].concat()),
        serial("serial-leading-zero-bytes", vec![0, 0, 0x12, 0x34]),
        utc("utctime-no-seconds", "2501010000Z", "3501010000Z"),
        utc("utctime-offset", "250101000000+0100", "350101000000-0500"),
        utc("utctime-1950", "500101000000Z", "490101000000Z"),
        utc("expired", "100101000000Z", "110101000000Z"),
        utc("notyet", "450101000000Z", "460101000000Z"),
        utc("na-before-nb", "350101000000Z", "250101000000Z"),
        utc("time-feb-30", "250230000000Z", "350230000000Z"),
        utc("time-leap-second", "161231235960Z", "350630235960Z"),
        long(
            "gentime-fraction",
            "20250101000000.357Z",
            "20350101000000.357Z",
        ),
        long("gentime-before-2050", "20250101000000Z", "20350101000000Z"),
        long("gentime-2060", "20250101000000Z", "20600101000000Z"),
        long("gentime-9999", "20250101000000Z", "99991231235959Z"),
    ]
}

fn extensions() -> Vec<Change> {
    let with = |what, all: Vec<Vec<u8>>| change(what, move |p| p.extensions = Some(all.clone()));
    let one = |what, extension: Vec<u8>| with(what, vec![extension]);
    let purpose = |kind: &str| seq(&[oid(kind)]);
    let usage = |bits: &[u8]| critical(KEY_USAGE, tlv(BITS, bits));
    let constraints = || extension(CONSTRAINTS, seq(&[]));
    let hosts = |count: usize| {
        let host = |n| tlv(0x82, format!("host{n:05}.example.com"));
        let hosts: Vec<Vec<u8>> = (0..count).map(host).collect();
        extension(ALT_NAMES, seq(&hosts))
    };
    let explicit = seq(&[oid(CONSTRAINTS), tlv(BOOLEAN, [0]), tlv(OCTETS, seq(&[]))]);
    let elsewhere = seq(&[tlv(0xa0, seq(&[tlv(0x82, ".other.example")]))]);
    vec![
        change("v3-no-ext", |p| p.version = Some(2)),
        change("v2-uid", |p| {
            (p.version, p.unique_id) = (Some(1), Some(b"abc".to_vec()));
        }),
        with("v3-empty-ext-seq", vec![]),
        change("v1-with-ext", |p| {
            p.version = Some(0);
            p.extensions = Some(vec![extension(KEY_USAGE, tlv(BITS, [7, 0x80]))]);
        }),
        one(
            "ext-critical-unknown",
            critical("1.3.6.1.4.1.99999.1", [5, 0]),
        ),
        one("ku-keyEncipherment-only", usage(&[5, 0x20])),
        one("ku-certSign-only", usage(&[2, 4])),
        one("ku-empty-bits", usage(&[0])),
        one(
            "eku-codesigning",
            critical(EXTENDED_USAGE, purpose("1.3.6.1.5.5.7.3.3")),
        ),
        one(
            "eku-server-only",
            extension(EXTENDED_USAGE, purpose("1.3.6.1.5.5.7.3.1")),
        ),
        one("name-constraints", critical(NAME_CONSTRAINTS, elsewhere)),
        one(
            "bc-ca-true",
            critical(CONSTRAINTS, seq(&[tlv(BOOLEAN, [0xff])])),
        ),
        with("ext-duplicate", vec![constraints(), constraints()]),
        one("ext-critical-false-explicit", explicit),
        one(
            "ext-aki-malformed",
            extension(AUTHORITY_KEY, seq(&[tlv(0xa0, tlv(OCTETS, []))])),
        ),
        one("ext-san-garbage", extension(ALT_NAMES, [1, 2, 3])),
        one("big-12k", hosts(520)),
        one("big-15900", hosts(690)),
        one("big-20k", hosts(870)),
        one("big-60k", hosts(2600)),
        one("big-110k", hosts(4800)),
    ]
}

fn signatures() -> Vec<Change> {
    let signed = |what, kind: &'static str, digest: fn() -> MessageDigest| {
        change(what, move |p| {
            p.algorithms = [algorithm(kind), algorithm(kind)];
            p.digest = digest();
        })
    };
    let bare = |p: &mut Parts| p.algorithms = [seq(&[oid(SHA256)]), seq(&[oid(SHA256)])];
    vec![
        signed("sig-sha512", SHA512, MessageDigest::sha512),
        signed("sig-sha1", SHA1, MessageDigest::sha1),
        signed("sig-md5", MD5, MessageDigest::md5),
        change("sig-broken", |p| p.signature_broken = true),
        change("sig-alg-mismatch", |p| p.algorithms[0] = algorithm(SHA1)),
        change("sig-alg-params-absent", bare),
        change("serial-one-byte", |p| p.serial = integer(7)),
    ]
}
