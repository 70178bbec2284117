//! Genuine AMD SEV-SNP reports.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{binding, codes, envelope, file, floor, given, pem, policy, vectors};
use eider_attest::{Code, Envelope, EvidenceKind, Findings, snp, verifier};

const NOW: i64 = 1_740_000_000;
const ANY: &str = "any_measurement = true\nvmpl = 1";
/// Of firmware from before AMD-SB-3015, which does not search memory for aliases.
const OLD: &str = "platform = [\"smt\", \"aliases-unchecked\"]";

/// A report and its certificates.
struct Genuine {
    report: Vec<u8>,
    leaf: Vec<u8>,
    issuers: Vec<Vec<u8>>,
}

impl Genuine {
    fn read(snp: &Path, report: &str, leaf: &str, issuers: &str) -> Self {
        let bytes = file(snp, report);
        let report = if report.ends_with(".hex") { hex::decode(bytes.trim_ascii()).unwrap() } else { bytes };
        Self { report, leaf: file(snp, leaf), issuers: pem(snp, issuers) }
    }

    fn all(snp: &Path) -> [Self; 4] {
        [
            Self::read(snp, "report_milan.hex", "vcek_milan.der", "cert_chain_milan"),
            Self::read(snp, "coco_test-report.bin", "coco_test-vcek.der", "cert_chain_milan"),
            Self::vlek(snp),
            Self::debug(snp),
        ]
    }

    fn vlek(snp: &Path) -> Self {
        Self::read(snp, "coco_test-vlek-report.bin", "coco_test-vlek.der", "gsg_ask_ark_milan_vlek.pem")
    }

    fn debug(snp: &Path) -> Self {
        Self::read(snp, "gsg_attestation.bin", "gsg_vcek.der", "cert_chain_milan")
    }

    fn milan(snp: &Path) -> Self {
        Self::read(snp, "report_milan.hex", "vcek_milan.der", "cert_chain_milan")
    }

    fn ark(&self) -> &[u8] {
        self.issuers.last().unwrap()
    }

    fn report_data(&self) -> [u8; 64] {
        self.report[0x50..0x90].try_into().unwrap()
    }

    fn envelope(&self, report: &[u8]) -> Envelope {
        let endorsements = [vec![self.leaf.clone()], self.issuers.clone()].concat();
        envelope(EvidenceKind::SevSnp, report.to_vec(), endorsements)
    }

    /// The verdict on it, if it had been asked for with its own report data.
    fn codes(&self, lines: &str, now: i64) -> Vec<Code> {
        self.codes_with(self.ark(), lines, now)
    }

    fn codes_with(&self, root: &[u8], lines: &str, now: i64) -> Vec<Code> {
        self.codes_of(&self.report, root, lines, now).0
    }

    fn codes_of(&self, report: &[u8], root: &[u8], lines: &str, now: i64) -> (Vec<Code>, Findings) {
        let lines = if lines.contains("platform =") { lines.into() } else { format!("{OLD}\n{lines}") };
        let (envelope, policy) = (self.envelope(report), policy(EvidenceKind::SevSnp, root, &lines));
        let mut findings = Findings::default();
        let verdict = snp::verify(&self.report_data(), &given(&envelope, &policy, now), &mut findings);
        (codes(&verdict, &findings), findings)
    }
}

#[test]
fn genuine_reports_are_accepted() {
    let Some(folder) = vectors("snp") else { return };
    for genuine in Genuine::all(&folder) {
        let lines = format!("debug = true\n{ANY}");
        assert_eq!(genuine.codes(&lines, NOW), []);
        let (_, findings) = genuine.codes_of(&genuine.report, genuine.ark(), &lines, NOW);
        assert!(findings.window.from < NOW && NOW < findings.window.until);
        assert_eq!(findings.claims["chip-id"].len(), 128);
        assert_eq!(findings.claims["measurement"], hex::encode(&genuine.report[0x90..0xc0]));
    }
}

#[test]
fn genuine_reports_of_a_cloud_are_accepted() {
    let (Some(folder), Some(azure)) = (vectors("snp"), vectors("azure")) else { return };
    for (report, leaf) in [("snp2_report.bin", "snp2_vcek.der"), ("snp_report.bin", "snp_vcek.der")] {
        let issuers = pem(&folder, "cert_chain_milan");
        let genuine = Genuine { report: file(&azure, report), leaf: file(&azure, leaf), issuers };
        assert_eq!(genuine.codes(ANY, NOW), [], "{report}");
    }
}

#[test]
fn genuine_reports_say_whether_memory_was_found_free_of_aliases() {
    let Some(folder) = vectors("snp") else { return };
    let codes = |genuine: &Genuine| genuine.codes(&format!("debug = true\n{ANY}\nplatform = [\"smt\"]"), NOW);
    assert_eq!(codes(&Genuine::vlek(&folder)), [], "of version 3, with firmware that has looked");
    assert_eq!(codes(&Genuine::milan(&folder)), [Code::PlatformRefused]);
    assert_eq!(codes(&Genuine::debug(&folder)), [Code::PlatformRefused]);
}

#[test]
fn a_genuine_report_is_not_about_our_binding() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::milan(&folder);
    let lines = format!("{OLD}\nany_measurement = true");
    let (envelope, policy) = (genuine.envelope(&genuine.report), policy(EvidenceKind::SevSnp, genuine.ark(), &lines));
    let mut findings = Findings::default();
    let verdict = verifier(EvidenceKind::SevSnp).unwrap().verify(&given(&envelope, &policy, NOW), &mut findings);
    assert_eq!(codes(&verdict, &findings), [Code::BindingMismatch]);
    let digest = binding(EvidenceKind::SevSnp, &policy).digest();
    assert_ne!(digest, genuine.report_data());
}

#[test]
fn a_flip_of_any_byte_is_refused() {
    let Some(folder) = vectors("snp") else { return };
    for (n, genuine) in Genuine::all(&folder).iter().enumerate() {
        let lines = format!("debug = true\n{ANY}");
        for at in 0..snp::REPORT {
            let mut report = genuine.report.clone();
            report[at] ^= 1 << (at % 8);
            let (codes, findings) = genuine.codes_of(&report, genuine.ark(), &lines, NOW);
            let expected = [Code::SignatureInvalid, Code::EvidenceMalformed];
            assert!(codes.len() == 1 && expected.contains(&codes[0]), "report {n}, byte {at:#x}: {codes:?}");
            assert_eq!(findings.vector.executables, eider_attest::Status::None);
        }
    }
}

#[test]
fn reports_of_another_length_are_malformed() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::milan(&folder);
    for length in 0..=snp::REPORT + 1 {
        let mut report = genuine.report.clone();
        report.resize(length, 0);
        let (codes, _) = genuine.codes_of(&report, genuine.ark(), ANY, NOW);
        assert_eq!(codes, if length == snp::REPORT { vec![] } else { vec![Code::EvidenceMalformed] });
    }
}

#[test]
fn time_outside_the_certificates_is_expired() {
    let Some(folder) = vectors("snp") else { return };
    for genuine in [Genuine::milan(&folder), Genuine::vlek(&folder)] {
        let (_, findings) = genuine.codes_of(&genuine.report, genuine.ark(), ANY, NOW);
        let (from, until) = (findings.window.from, findings.window.until);
        for (now, expected) in [
            (from - 1, vec![Code::CertificateExpired]),
            (from, vec![]),
            (until, vec![]),
            (until + 1, vec![Code::CertificateExpired]),
            (i64::MIN, vec![Code::CertificateExpired]),
            (i64::MAX, vec![Code::CertificateExpired]),
        ] {
            assert_eq!(genuine.codes(ANY, now), expected, "{now}");
        }
    }
}

#[test]
fn chains_end_in_the_root_that_is_pinned() {
    let Some(folder) = vectors("snp") else { return };
    let Some(nitro) = vectors("nitro") else { return };
    let mut genuine = Genuine::milan(&folder);
    let (genoa, aws) = (pem(&folder, "gsg_ask_ark_genoa.pem"), pem(&nitro, "aws_nitro_root_G1.pem"));
    assert_eq!(genuine.codes_with(&genoa[1], ANY, NOW), [Code::RootUnpinned]);
    assert_eq!(genuine.codes_with(&aws[0], ANY, NOW), [Code::RootUnpinned]);
    let ark = genuine.ark().to_vec();
    genuine.issuers = genoa;
    assert_eq!(genuine.codes_with(&ark, ANY, NOW), [Code::ChainInvalid]);
    genuine.issuers = vec![];
    assert_eq!(genuine.codes_with(&ark, ANY, NOW), [Code::ChainInvalid]);
    genuine.leaf = ark.clone();
    assert_eq!(genuine.codes_with(&ark, ANY, NOW), [Code::ChainInvalid]);
}

#[test]
fn another_chips_certificate_has_not_signed_the_report() {
    let Some(folder) = vectors("snp") else { return };
    let (mut genuine, other) = (Genuine::milan(&folder), Genuine::debug(&folder));
    genuine.leaf = other.leaf;
    assert_eq!(genuine.codes(ANY, NOW), [Code::SignatureInvalid]);
}

#[test]
fn a_guest_that_can_be_debugged_is_refused() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::debug(&folder);
    assert_eq!(genuine.codes(ANY, NOW), [Code::DebugEnabled]);
    assert_eq!(genuine.codes(&format!("debug = true\n{ANY}"), NOW), []);
}

#[test]
fn a_report_for_a_less_privileged_level_is_refused() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::vlek(&folder);
    assert_eq!(genuine.codes("any_measurement = true", NOW), [Code::VmplTooHigh]);
    assert_eq!(genuine.codes("any_measurement = true\nvmpl = 1", NOW), []);
}

#[test]
fn chips_and_clouds_and_simultaneous_threads_are_accepted_by_name() {
    let Some(folder) = vectors("snp") else { return };
    let (milan, cloud) = (Genuine::milan(&folder), Genuine::vlek(&folder));
    let chips = |id: &[u8]| format!("{ANY}\nchips = [{{ value = \"{}\", from = \"the test\" }}]", hex::encode(id));
    let chip = &milan.report[0x1a0..0x1e0];
    assert_eq!(milan.codes(&chips(chip), NOW), []);
    assert_eq!(milan.codes(&chips(&[7; 64]), NOW), [Code::MachineUnknown]);
    assert_eq!(milan.codes(&chips(&chip[..8]), NOW), [Code::MachineUnknown], "a beginning is not the id");
    // Reports that a cloud's key has signed name no chip.
    assert_eq!(cloud.codes(&chips(chip), NOW), [Code::MachineUnknown]);
    let clouds = |name: &str| format!("{ANY}\nvlek_providers = [{name}]");
    assert_eq!(cloud.codes(&clouds("\"CN=cc-us-east-2.amazonaws.com\""), NOW), []);
    assert_eq!(cloud.codes(&clouds("\"CN=cc-us-east-1.amazonaws.com\""), NOW), [Code::MachineUnknown]);
    assert_eq!(cloud.codes(&clouds(""), NOW), [Code::MachineUnknown]);
    assert_eq!(milan.codes(&clouds(""), NOW), [], "a chip's own key");
    assert_eq!(milan.codes(&format!("{ANY}\nplatform = []"), NOW), [Code::PlatformRefused]);
    let (_, findings) = cloud.codes_of(&cloud.report, cloud.ark(), ANY, NOW);
    assert_eq!(findings.claims["vlek-provider"], "CN=cc-us-east-2.amazonaws.com");
    assert_eq!(findings.claims["product"], "milan");
}

#[test]
fn a_cloud_that_signs_for_its_guests_is_accepted_by_its_key() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::read(&folder, "coco_test-report.bin", "coco_test-vcek.der", "cert_chain_milan");
    let keys = |name: &str, key: &[u8]| {
        format!("{ANY}\n{name} = [{{ value = \"{}\", from = \"the test\" }}]", hex::encode(key))
    };
    let key = &genuine.report[0xe0..0x110];
    assert_eq!(genuine.codes(&keys("id_keys", key), NOW), []);
    assert_eq!(genuine.codes(&keys("id_keys", &[7; 48]), NOW), [Code::LauncherUnknown]);
    assert_eq!(genuine.codes(&keys("author_keys", key), NOW), [Code::LauncherUnknown], "nobody has signed that key");
    assert_eq!(Genuine::milan(&folder).codes(&keys("id_keys", key), NOW), [Code::LauncherUnknown], "no identity block");
}

#[test]
fn only_named_measurements_are_known() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::milan(&folder);
    let named = |register: &str, value: &[u8]| {
        let value = hex::encode(value);
        format!("measurements = [{{ register = \"{register}\", value = \"{value}\", from = \"the test\" }}]")
    };
    let measurement = &genuine.report[0x90..0xc0];
    assert_eq!(genuine.codes(&named("measurement", measurement), NOW), []);
    assert_eq!(genuine.codes(&named("measurement", &[0; 48]), NOW), [Code::MeasurementUnknown]);
    assert_eq!(genuine.codes(&named("measurement", &measurement[..47]), NOW), [Code::MeasurementUnknown]);
    assert_eq!(genuine.codes(&named("mrtd", measurement), NOW), [Code::MeasurementUnknown]);
    assert_eq!(genuine.codes("", NOW), [Code::MeasurementUnknown]);
}

#[test]
fn each_security_version_has_a_minimum() {
    let Some(folder) = vectors("snp") else { return };
    // Boot loader 3, TEE 0, SNP 8, microcode 0x73.
    let genuine = Genuine::milan(&folder);
    for (least, expected) in [
        ([3, 0, 8, 0x73], vec![]),
        ([4, 0, 0, 0], vec![Code::TcbTooOld]),
        ([0, 1, 0, 0], vec![Code::TcbTooOld]),
        ([0, 0, 9, 0], vec![Code::TcbTooOld]),
        ([0, 0, 0, 0x74], vec![Code::TcbTooOld]),
    ] {
        assert_eq!(genuine.codes(&(ANY.to_string() + &floor("milan", &least)), NOW), expected, "{least:?}");
    }
    // Where another product alone is accepted, this one is not, however new its firmware.
    assert_eq!(genuine.codes(&(ANY.to_string() + &floor("genoa", &[0; 4])), NOW), [Code::ProductRefused]);
}

#[test]
fn revocation_lists_can_be_asked_for() {
    let Some(folder) = vectors("snp") else { return };
    let genuine = Genuine::milan(&folder);
    assert_eq!(genuine.codes(&format!("{ANY}\nrevocation = true"), NOW), [Code::CollateralMissing]);
}

/// `sev` checks neither dates, roots, debugging nor TCB: what it refuses must be refused here.
#[test]
fn the_sev_crate_accepts_the_same_genuine_reports() {
    use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
    use sev::parser::ByteParser;
    let Some(folder) = vectors("snp") else { return };
    for genuine in Genuine::all(&folder) {
        let certificate = |der: &[u8]| Certificate::from_der(der).unwrap();
        let ca = ca::Chain { ask: certificate(&genuine.issuers[0]), ark: certificate(&genuine.issuers[1]) };
        let chain = Chain { ca, vek: certificate(&genuine.leaf) };
        let theirs = |report: &[u8]| {
            let parsed = sev::firmware::guest::AttestationReport::from_bytes(report);
            parsed.is_ok_and(|parsed| (&chain, &parsed).verify().is_ok())
        };
        let lines = format!("debug = true\n{ANY}");
        let ours = |report: &[u8]| genuine.codes_of(report, genuine.ark(), &lines, NOW).0.is_empty();
        assert!(theirs(&genuine.report) && ours(&genuine.report));
        for at in [0x04, 0x50, 0x90, 0x180, 0x1a0, snp::SIGNED, snp::SIGNED + 72] {
            let mut report = genuine.report.clone();
            report[at] ^= 1;
            assert!(!theirs(&report) && !ours(&report), "byte {at:#x}");
        }
    }
}
