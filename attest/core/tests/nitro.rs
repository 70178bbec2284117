//! Genuine AWS Nitro attestation documents.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use ciborium::Value;
use common::{base64, codes, envelope, file, given, pem, policy, vectors};
use eider_attest::{Code, EvidenceKind, Findings, nitro, verifier};

const ANY: &str = "any_measurement = true";

/// A document, the time that it is of, and its own bindings.
struct Genuine {
    document: Vec<u8>,
    now: i64,
    root: Vec<u8>,
    payload: Value,
}

impl Genuine {
    fn new(folder: &Path, document: Vec<u8>) -> Self {
        let sign1: Value = ciborium::from_reader(document.as_slice()).unwrap();
        let payload = sign1.as_array().unwrap()[2].as_bytes().unwrap().clone();
        let payload: Value = ciborium::from_reader(payload.as_slice()).unwrap();
        let milliseconds = field(&payload, "timestamp").as_integer().unwrap();
        let now = i64::try_from(milliseconds).unwrap() / 1000;
        Self { document, now, root: pem(folder, "aws_nitro_root_G1.pem").remove(0), payload }
    }

    fn read(folder: &Path, name: &str) -> Self {
        Self::new(folder, file(folder, name))
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        field(&self.payload, name).as_bytes().map(Vec::as_slice)
    }

    fn pcr(&self, index: usize) -> &[u8] {
        field(&self.payload, "pcrs").as_map().unwrap()[index].1.as_bytes().unwrap()
    }

    /// The verdict on a document, if it had been asked for with the bindings of this one.
    fn codes_of(&self, document: &[u8], root: &[u8], lines: &str, now: i64) -> (Vec<Code>, Findings) {
        let bound = nitro::Bound {
            user_data: self.bytes("user_data"),
            nonce: self.bytes("nonce").unwrap_or_default(),
            public_key: self.bytes("public_key").unwrap_or_default(),
        };
        self.codes_bound(&bound, document, root, lines, now)
    }

    fn codes_bound(
        &self,
        bound: &nitro::Bound<'_>,
        document: &[u8],
        root: &[u8],
        lines: &str,
        now: i64,
    ) -> (Vec<Code>, Findings) {
        let policy = policy(EvidenceKind::Nitro, root, lines);
        let envelope = envelope(EvidenceKind::Nitro, document.to_vec(), vec![]);
        let mut findings = Findings::default();
        let verdict = nitro::verify(bound, &given(&envelope, &policy, now), &mut findings);
        (codes(&verdict, &findings), findings)
    }

    fn codes(&self, lines: &str, now: i64) -> Vec<Code> {
        self.codes_of(&self.document, &self.root, lines, now).0
    }
}

fn field<'v>(payload: &'v Value, name: &str) -> &'v Value {
    &payload.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some(name)).unwrap().1
}

#[test]
fn genuine_documents_are_accepted() {
    let Some(folder) = vectors("nitro") else { return };
    for name in ["ev_beta_valid.cose", "na_attestation.cose"] {
        let genuine = Genuine::read(&folder, name);
        let (codes, findings) = genuine.codes_of(&genuine.document, &genuine.root, ANY, genuine.now);
        assert_eq!(codes, [], "{name}");
        assert_eq!(findings.claims["pcr0"], hex::encode(genuine.pcr(0)));
        let lifetime = findings.window.until - findings.window.from;
        assert!((3 * 3600..3 * 3600 + 60).contains(&lifetime), "a leaf lives for three hours, not {lifetime} s");
        let tagged = [vec![0xd2], genuine.document.clone()].concat();
        assert_eq!(genuine.codes_of(&tagged, &genuine.root, ANY, genuine.now).0, [], "tag 18");
    }
}

#[test]
fn registers_of_an_image_hold_together() {
    let Some(folder) = vectors("nitro") else { return };
    let one = Genuine::read(&folder, "ev_beta_valid.cose");
    let two = Genuine::read(&folder, "na_attestation.cose");
    let image = |name: &str, zero: &[u8], one: &[u8]| {
        let (zero, one) = (hex::encode(zero), hex::encode(one));
        format!(
            "[[nitro.images]]\nname = \"{name}\"\nfrom = \"test\"\nregisters = {{ pcr0 = \"{zero}\", pcr1 = \"{one}\" }}\n"
        )
    };
    let both = image("one", one.pcr(0), one.pcr(1)) + &image("two", two.pcr(0), two.pcr(1));
    for genuine in [&one, &two] {
        let (codes, findings) = genuine.codes_of(&genuine.document, &genuine.root, &both, genuine.now);
        assert_eq!(codes, []);
        assert!(["one", "two"].contains(&findings.claims["image"].as_str()));
    }
    assert_ne!((one.pcr(0), one.pcr(1)), (two.pcr(0), two.pcr(1)));
    let mixed = image("mixed", one.pcr(0), &[7; 48]);
    assert_eq!(one.codes(&mixed, one.now), [Code::MeasurementUnknown]);
    // The same registers in independent lists let the mixture through.
    let lists = |register: &str, values: [&[u8]; 2]| {
        let entry = |value: &[u8]| {
            format!("{{ register = \"{register}\", value = \"{}\", from = \"test\" }}", hex::encode(value))
        };
        values.map(entry).join(", ")
    };
    let lists = [lists("pcr0", [one.pcr(0), &[8; 48]]), lists("pcr1", [&[9; 48], one.pcr(1)])].join(", ");
    assert_eq!(one.codes(&format!("measurements = [{lists}]"), one.now), []);
}

#[test]
fn an_enclave_in_debug_mode_is_refused() {
    let Some(folder) = vectors("nitro") else { return };
    let mut all: Vec<Genuine> =
        ["ev_ga_valid.cose", "ev_beta_debug.cose", "rav_example.cose"].map(|name| Genuine::read(&folder, name)).into();
    let text = String::from_utf8(file(&folder, "ev_valid-attestation-doc-base64")).unwrap();
    all.push(Genuine::new(&folder, base64(&text)));
    for genuine in all {
        assert_eq!(genuine.codes(ANY, genuine.now), [Code::DebugEnabled]);
        assert_eq!(genuine.codes(&format!("debug = true\n{ANY}"), genuine.now), []);
    }
}

#[test]
fn a_document_that_was_changed_is_not_signed() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "rav_invalid.cose");
    assert_eq!(genuine.codes(ANY, genuine.now), [Code::SignatureInvalid]);
}

#[test]
fn a_genuine_document_is_not_about_our_binding() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let policy = policy(EvidenceKind::Nitro, &genuine.root, ANY);
    let envelope = envelope(EvidenceKind::Nitro, genuine.document.clone(), vec![]);
    let mut findings = Findings::default();
    let given = given(&envelope, &policy, genuine.now);
    let verdict = verifier(EvidenceKind::Nitro).unwrap().verify(&given, &mut findings);
    assert_eq!(codes(&verdict, &findings), [Code::BindingMismatch]);
}

#[test]
fn each_binding_is_held_against_the_document() {
    let Some(folder) = vectors("nitro") else { return };
    // It has `public_key` and `user_data`, and no `nonce`.
    let genuine = Genuine::read(&folder, "ev_beta_debug.cose");
    let verdict = |user_data, nonce, public_key| {
        let bound = nitro::Bound { user_data, nonce, public_key };
        genuine.codes_bound(&bound, &genuine.document, &genuine.root, &format!("debug = true\n{ANY}"), genuine.now).0
    };
    let (data, key): (&[u8], &[u8]) = (b"hello, world!", b"my super secret key");
    assert_eq!(verdict(Some(data), b"any", key), []);
    assert_eq!(verdict(Some(b"hello, world?"), b"any", key), [Code::BindingMismatch]);
    assert_eq!(verdict(None, b"any", key), [Code::BindingMismatch]);
    assert_eq!(verdict(Some(data), b"any", b"another key"), [Code::BindingMismatch]);
    // It has a `nonce`, and no `user_data`.
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let verdict = |user_data, nonce| {
        let bound = nitro::Bound { user_data, nonce, public_key: b"any" };
        genuine.codes_bound(&bound, &genuine.document, &genuine.root, ANY, genuine.now).0
    };
    let nonce = genuine.bytes("nonce").unwrap();
    assert_eq!(verdict(None, nonce), []);
    assert_eq!(verdict(None, &nonce[1..]), [Code::BindingMismatch]);
    assert_eq!(verdict(Some(data), nonce), [Code::BindingMismatch], "`user_data` must be there");
}

#[test]
fn only_named_registers_are_known() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let named = |values: &[(&str, &[u8])]| {
        let one = |(register, value): &(&str, &[u8])| {
            format!("{{ register = \"{register}\", value = \"{}\", from = \"the test\" }}", hex::encode(value))
        };
        format!("measurements = [{}]", values.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let verdict = |values: &[(&str, &[u8])]| genuine.codes(&named(values), genuine.now);
    let (pcr0, pcr1, pcr8) = (genuine.pcr(0), genuine.pcr(1), genuine.pcr(8));
    assert_eq!(verdict(&[("pcr0", pcr0), ("pcr1", pcr1), ("pcr8", pcr8)]), []);
    assert_eq!(verdict(&[("pcr0", &[7; 48]), ("pcr0", pcr0)]), [], "alternatives");
    assert_eq!(verdict(&[("pcr0", pcr1)]), [Code::MeasurementUnknown]);
    assert_eq!(verdict(&[("pcr0", pcr0), ("pcr1", pcr0)]), [Code::MeasurementUnknown]);
    assert_eq!(verdict(&[("pcr0", pcr0), ("pcr31", pcr0)]), [Code::MeasurementUnknown]);
    assert_eq!(verdict(&[]), [Code::MeasurementUnknown]);
}

#[test]
fn time_outside_the_certificates_is_expired() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let (_, findings) = genuine.codes_of(&genuine.document, &genuine.root, ANY, genuine.now);
    let (from, until) = (findings.window.from, findings.window.until);
    for (now, expected) in [
        (from - 1, vec![Code::CertificateExpired]),
        (from, vec![]),
        (until, vec![]),
        (until + 1, vec![Code::CertificateExpired]),
        (0, vec![Code::CertificateExpired]),
        (4_000_000_000, vec![Code::CertificateExpired]),
    ] {
        assert_eq!(genuine.codes(ANY, now), expected, "{now}");
    }
}

#[test]
fn chains_end_in_the_root_that_is_pinned() {
    let Some(folder) = vectors("nitro") else { return };
    let Some(snp) = vectors("snp") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let ark = pem(&snp, "cert_chain_milan").remove(1);
    assert_eq!(genuine.codes_of(&genuine.document, &ark, ANY, genuine.now).0, [Code::RootUnpinned]);
}

/// Changes one field of the payload; the signature then is that of another payload.
fn changed(genuine: &Genuine, change: impl Fn(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let mut payload = genuine.payload.clone();
    change(payload.as_map_mut().unwrap());
    let mut bytes = vec![];
    ciborium::into_writer(&payload, &mut bytes).unwrap();
    let mut sign1: Value = ciborium::from_reader(genuine.document.as_slice()).unwrap();
    sign1.as_array_mut().unwrap()[2] = Value::Bytes(bytes);
    let mut bytes = vec![];
    ciborium::into_writer(&sign1, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_change_of_any_field_is_refused() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let names: Vec<String> =
        genuine.payload.as_map().unwrap().iter().map(|(key, _)| key.as_text().unwrap().to_string()).collect();
    assert_eq!(names.len(), 9);
    for name in names {
        for (what, with) in [
            ("null", Value::Null),
            ("bytes", Value::Bytes(vec![1; 48])),
            ("text", Value::Text("SHA384 ".into())),
            ("number", Value::Integer(1.into())),
            ("array", Value::Array(vec![Value::Bytes(vec![1]); 13])),
            ("map", Value::Map(vec![(Value::Integer(0.into()), Value::Bytes(vec![1; 48]))])),
        ] {
            let document = changed(&genuine, |map| {
                for (_, value) in map.iter_mut().filter(|(key, _)| key.as_text() == Some(&name)) {
                    *value = with.clone();
                }
            });
            if document == genuine.document {
                continue;
            }
            let (codes, _) = genuine.codes_of(&document, &genuine.root, ANY, genuine.now);
            let expected = [Code::SignatureInvalid, Code::EvidenceMalformed, Code::ChainInvalid];
            assert!(codes.len() == 1 && expected.contains(&codes[0]), "{name} is {what}: {codes:?}");
        }
        let document = changed(&genuine, |map| map.retain(|(key, _)| key.as_text() != Some(&name)));
        assert_ne!(genuine.codes_of(&document, &genuine.root, ANY, genuine.now).0, [], "without {name}");
        let document = changed(&genuine, |map| {
            let twice = map.iter().find(|(key, _)| key.as_text() == Some(&name)).cloned();
            map.extend(twice);
        });
        let (codes, _) = genuine.codes_of(&document, &genuine.root, ANY, genuine.now);
        assert_eq!(codes, [Code::EvidenceMalformed], "{name} twice");
    }
}

/// Every byte of headers and signature, and every seventh of the payload, most of which is certificates.
#[test]
fn a_flipped_byte_is_refused() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    let length = genuine.document.len();
    for at in (0..length).filter(|at| *at < 32 || *at > length - 104 || at % 7 == 0) {
        let mut document = genuine.document.clone();
        document[at] ^= 1 << (at % 8);
        let (codes, _) = genuine.codes_of(&document, &genuine.root, ANY, genuine.now);
        assert_ne!(codes, [], "byte {at}");
    }
}

#[test]
fn truncated_and_extended_documents_are_malformed() {
    let Some(folder) = vectors("nitro") else { return };
    let genuine = Genuine::read(&folder, "ev_beta_valid.cose");
    for length in 0..genuine.document.len() {
        let (codes, _) = genuine.codes_of(&genuine.document[..length], &genuine.root, ANY, genuine.now);
        assert_eq!(codes, [Code::EvidenceMalformed], "{length} bytes");
    }
    for more in [1, nitro::DOCUMENT_MAX] {
        let longer = [genuine.document.clone(), vec![0; more]].concat();
        let (codes, _) = genuine.codes_of(&longer, &genuine.root, ANY, genuine.now);
        assert_eq!(codes, [Code::EvidenceMalformed]);
    }
}

#[test]
fn hostile_cbor_is_malformed() {
    let root = b"no certificate";
    let deep = [vec![0x81; nitro::DOCUMENT_MAX - 1], vec![0]].concat();
    let huge = [&[0x84, 0x5b][..], &[0xff; 8]].concat();
    let many = [&[0x9b][..], &[0xff; 8]].concat();
    for document in [deep, huge, many, vec![0xbf; 1000], vec![0xd2; 1000], vec![0x84, 0xf6, 0xf6, 0xf6, 0xf6], vec![]] {
        let policy = policy(EvidenceKind::Nitro, root, ANY);
        let envelope = envelope(EvidenceKind::Nitro, document, vec![]);
        let mut findings = Findings::default();
        let verdict = verifier(EvidenceKind::Nitro).unwrap().verify(&given(&envelope, &policy, 0), &mut findings);
        assert_eq!(codes(&verdict, &findings), [Code::EvidenceMalformed]);
    }
}
