//! SEV-SNP: AMD's service, with a laboratory's certificates.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use eider_attest::{AttestPolicy, Code, EvidenceKind};
use eider_attest_device::collateral::{FetchError, Host, Hosts, Renewal, RootHash, Source};
use sha2::{Digest, Sha256};

use super::lab::{Lab, Leaf, NOW};
use super::machine::{DAY, Machine, amd};
use super::server::{Reply, Server};

const CHIP: [u8; 64] = [0xc1; 64];
/// Boot loader 4, TEE 1, SNP 20, microcode 200.
const TCB: [u8; 8] = [4, 1, 0, 0, 0, 0, 20, 200];
pub(crate) const VCEK: &str = "/vcek/v1/Genoa/c1c1";
pub(crate) const ISSUERS: &str = "/vcek/v1/Genoa/cert_chain";
pub(crate) const LIST: &str = "/vcek/v1/Genoa/crl";
/// A policy that wants revocation lists, and one that does not.
pub(crate) const LISTS: &str = "revocation = true\nplatform = [\"smt\"]\n[sev-snp.products.genoa]\nboot_loader = 0\n\
     tee = 0\nsnp = 0\nmicrocode = 0\nfrom = \"the test\"";
const NO_LISTS: &str = "platform = [\"smt\"]\n[sev-snp.products.genoa]\nboot_loader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\nfrom = \"the test\"";

fn number(n: u8) -> Vec<u8> {
    if n < 128 { vec![2, 1, n] } else { vec![2, 2, 0, n] }
}

/// The security versions of [`TCB`], and what is given.
fn extensions<'a>(product: &str, own: &[(&'a [u64], Vec<u8>)]) -> Vec<(&'a [u64], Vec<u8>)> {
    let product = [&[0x16, u8::try_from(product.len()).unwrap()], product.as_bytes()].concat();
    let versions: [(&[u64], Vec<u8>); 5] =
        [(&[2], product), (&[3, 1], number(4)), (&[3, 2], number(1)), (&[3, 3], number(20)), (&[3, 8], number(200))];
    [&versions[..], own].concat()
}

/// A key's certificate with these.
fn leaf(lab: &Lab, product: &str, own: &[(&[u64], Vec<u8>)]) -> Leaf {
    lab.leaf(&extensions(product, own))
}

fn vcek(lab: &Lab) -> Leaf {
    leaf(lab, "Genoa-B1", &[(&[4], CHIP.to_vec())])
}

/// What another vendor says of that one's key, which is genuine and public.
fn lied(liar: &Lab, leaf: &Leaf) -> Vec<u8> {
    liar.certify(leaf, &extensions("Genoa-B1", &[(&[4], CHIP.to_vec())]))
}

/// A report of version 3 of a Genoa.
fn report(leaf: &Leaf) -> Vec<u8> {
    leaf.report(&[(0, &[3]), (0x180, &TCB), (0x1a0, &CHIP)])
}

fn pem(certificates: &[Vec<u8>]) -> Vec<u8> {
    let all: Vec<_> = certificates.iter().map(|der| pem::Pem::new("CERTIFICATE", der.clone())).collect();
    pem::encode_many(&all).into_bytes()
}

/// Has the service say these.
fn serve(server: &Server, leaf: &[u8], issuers: &[Vec<u8>], list: &[u8]) {
    server.reply(VCEK, Reply::body(leaf));
    server.reply(ISSUERS, Reply::body(&pem(issuers)));
    server.reply(LIST, Reply::body(list));
}

/// A laboratory, its service with a list of that number for days of February 2025, and a machine to which the host gives nothing.
pub(crate) fn machine(list: u64, days: (u8, u8)) -> (Lab, Server, Machine) {
    let (lab, server, _, machine) = machine_and_key(list, days);
    (lab, server, machine)
}

/// The same, with the machine's key.
fn machine_and_key(list: u64, days: (u8, u8)) -> (Lab, Server, Leaf, Machine) {
    let (lab, server) = (Lab::new(), Server::start());
    let leaf = vcek(&lab);
    let list = lab.list(list, &[], days);
    serve(&server, &leaf.der, &lab.issuers, &list);
    let machine = Machine::new(amd(server.host(), lab.root()), report(&leaf), vec![]);
    (lab, server, leaf, machine)
}

#[test]
fn where_the_host_gives_nothing_all_is_fetched_stapled_and_there_after_a_restart() {
    let (lab, server, mut machine) = machine(5, (10, 28));
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), [Code::ChainInvalid], "nothing is at hand yet");
    let until = machine.renewed(NOW);
    assert_eq!(until, 1_740_700_800, "the list's next update, 28 February");
    let chip = "c1".repeat(64);
    let certificate = format!("/vcek/v1/Genoa/{chip}?blSPL=4&teeSPL=1&snpSPL=20&ucodeSPL=200");
    assert_eq!(server.asked(), [certificate.as_str(), ISSUERS, LIST]);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), [], "revocation lists and all");
    let file = machine.folder.path().join("sev-snp");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(machine.folder.path().read_dir().unwrap().count(), 1, "and no half of one");
    machine.restart();
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), []);
    assert!(matches!(machine.renew(NOW), Renewal::Fresh));
    assert_eq!(server.asked(), [""; 0], "what is not due is not asked for after a restart");
}

#[test]
fn what_the_host_gives_is_not_fetched() {
    let (lab, server, mut machine) = machine(5, (10, 28));
    let leaf = vcek(&lab);
    machine.evidence = report(&leaf);
    machine.given = [vec![leaf.der.clone()], lab.issuers.clone()].concat();
    machine.renewed(NOW);
    assert_eq!(server.asked(), [LIST], "its table has certificates and no list");
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), []);

    let (lab, server, mut machine) = self::machine(5, (10, 28));
    let (leaf, lasting) = (vcek(&lab), lab.list(5, &[], (10, 28)));
    server.reply(LIST, Reply::body(&lasting));
    machine.evidence = report(&leaf);
    machine.given = [vec![leaf.der.clone()], lab.issuers.clone(), vec![lab.list(4, &[], (10, 21))]].concat();
    assert!(matches!(machine.renew(NOW), Renewal::Fresh), "all of it, and good until the 21st");
    assert_eq!(server.asked(), [""; 0]);
    machine.renewed(NOW + DAY);
    assert_eq!(server.asked(), [LIST], "less than a day before its list's end");
    let stapled = machine.staple(NOW + DAY);
    assert_eq!(stapled.last(), Some(&lasting), "of two that are whole the one that lasts");
}

#[test]
fn a_turin_is_asked_for_by_its_short_id_and_five_versions_and_a_cloud_key_is_never_asked_for() {
    let (lab, server) = (Lab::new(), Server::start());
    let turin_leaf = lab.leaf(&[
        (&[2], [&[0x16, 5][..], b"Turin"].concat()),
        (&[3, 9], number(1)),
        (&[3, 1], number(4)),
        (&[3, 2], number(2)),
        (&[3, 3], number(20)),
        (&[3, 8], number(200)),
        (&[4], vec![0xc1; 8]),
    ]);
    let fields: [(usize, &[u8]); 4] =
        [(0, &[5]), (0x180, &[1, 4, 2, 20, 0, 0, 0, 200]), (0x188, &[0x1a, 0x02, 1]), (0x1a0, &[0xc1; 8])];
    server.reply("/vcek/v1/Turin/c1", Reply::body(&turin_leaf.der));
    server.reply("/vcek/v1/Turin/cert_chain", Reply::body(&pem(&lab.issuers)));
    server.reply("/vcek/v1/Turin/crl", Reply::body(&lab.list(5, &[], (10, 28))));
    let turin = Machine::new(amd(server.host(), lab.root()), turin_leaf.report(&fields), vec![]);
    turin.renewed(NOW);
    assert_eq!(server.asked()[0], "/vcek/v1/Turin/c1c1c1c1c1c1c1c1?blSPL=4&teeSPL=2&snpSPL=20&ucodeSPL=200&fmcSPL=1");

    // A cloud's key: its certificate is the host's to give.
    let vlek = leaf(&lab, "Genoa", &[(&[5], [&[0x16, 3][..], b"lab"].concat())]);
    let signed = vlek.report(&[(0, &[3]), (0x48, &[4]), (0x180, &TCB)]);
    server.reply("/vlek/v1/Genoa/cert_chain", Reply::body(&pem(&lab.issuers)));
    server.reply("/vlek/v1/Genoa/crl", Reply::body(&lab.list(5, &[], (10, 28))));
    let mut cloud = Machine::new(amd(server.host(), lab.root()), signed, vec![]);
    assert!(matches!(cloud.failed(NOW), FetchError::CloudsKey));
    assert_eq!(server.asked(), [""; 0]);
    cloud.given = vec![vlek.der.clone()];
    cloud.staple(NOW);
    cloud.renewed(NOW + 60);
    assert_eq!(server.asked(), ["/vlek/v1/Genoa/cert_chain", "/vlek/v1/Genoa/crl"]);
    assert_eq!(cloud.judged(lab.root(), &format!("vlek_providers = [\"lab\"]\n{LISTS}"), NOW), []);
}

#[test]
fn a_report_that_does_not_say_whose_it_is_has_nothing_fetched_for_it() {
    let (lab, server) = (Lab::new(), Server::start());
    let leaf = vcek(&lab);
    /// Bytes of a report from these places on, and what is said of it.
    type Case<'a> = (&'a [(usize, &'a [u8])], &'a str);
    let cases: [Case<'_>; 4] = [
        (&[(0, &[3]), (0x180, &TCB)], "MASK_CHIP_ID"),
        (&[(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)], "which processor"),
        (&[(0, &[3]), (0x188, &[0x30, 1, 1]), (0x1a0, &CHIP)], "which processor"),
        (&[(0, &[9])], "version 9"),
    ];
    for (fields, word) in cases {
        let machine = Machine::new(amd(server.host(), lab.root()), leaf.report(fields), vec![]);
        let why = machine.failed(NOW);
        assert!(matches!(why, FetchError::Unasked(_)) && why.to_string().contains(word), "{why}");
    }
    let machine = Machine::new(amd(server.host(), lab.root()), vec![], vec![]);
    let why = match machine.keeper.renew(NOW, || Err("no such device".into())) {
        Renewal::Failed { why, .. } => why.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(why.contains("no such device"), "{why}");
    assert_eq!(server.asked(), [""; 0]);
    // The certificate of the host says it for a report of version 2.
    let mut old =
        Machine::new(amd(server.host(), lab.root()), leaf.report(&[(0, &[2]), (0x180, &TCB), (0x1a0, &CHIP)]), vec![]);
    old.given = [vec![leaf.der.clone()], lab.issuers.clone()].concat();
    server.reply(LIST, Reply::body(&lab.list(5, &[], (10, 28))));
    old.renewed(NOW);
}

#[test]
fn it_is_renewed_each_day_and_before_half_of_a_short_life_and_never_by_what_is_older() {
    let (lab, server, machine) = machine(5, (10, 28));
    machine.renewed(NOW);
    let version = machine.keeper.version();
    server.asked();
    assert!(matches!(machine.renew(NOW + DAY - 1), Renewal::Fresh));
    server.reply(LIST, Reply::body(&lab.list(6, &[], (19, 28))));
    machine.renewed(NOW + DAY);
    assert_eq!(server.asked(), [LIST], "certificates are held");
    assert!(machine.keeper.version() > version, "evidence from before is made anew");

    // A lower number, and a shorter life with the same one.
    for (older, word, now) in [
        (lab.list(5, &[], (19, 28)), "6 is held", NOW + 3 * DAY),
        (lab.list(6, &[], (19, 27)), "good until", NOW + 3 * DAY + 60),
    ] {
        server.reply(LIST, Reply::body(&older));
        let before = machine.staple(NOW);
        let why = machine.failed(now);
        assert!(matches!(why, FetchError::Older(_)) && why.to_string().contains(word), "{why}");
        assert_eq!(machine.staple(NOW), before, "what is held stays");
    }

    // A list that lives three hours is renewed after half of that.
    let (lab, server, machine) = self::machine(5, (10, 20));
    machine.renewed(NOW);
    let end = 1_740_009_600;
    assert!(matches!(machine.renew(NOW + (end - NOW) / 2 - 1), Renewal::Fresh));
    server.reply(LIST, Reply::body(&lab.list(5, &[], (19, 28))));
    machine.renewed(NOW + (end - NOW) / 2);
}

#[test]
fn other_firmware_has_its_certificate_fetched_at_once() {
    let (lab, server, mut machine) = machine(5, (10, 28));
    machine.renewed(NOW);
    server.asked();
    let newer = vcek(&lab);
    server.reply(VCEK, Reply::body(&newer.der));
    machine.evidence = report(&newer);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + 60), [Code::ChainInvalid], "no certificate is at hand for it");
    machine.renewed(NOW + 61);
    assert_eq!(server.asked().len(), 3);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + 61), []);
}

#[test]
fn certificates_are_kept_where_the_list_cannot_be_had_and_a_list_out_of_date_spoils_nothing() {
    let (lab, server, machine) = machine(5, (10, 28));
    server.reply(LIST, Reply::status("429 Too Many Requests", ""));
    assert!(matches!(machine.failed(NOW), FetchError::Status { .. }));
    server.asked();
    assert_eq!(machine.judged(lab.root(), NO_LISTS, NOW), []);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), [Code::CollateralMissing]);
    server.reply(LIST, Reply::body(&lab.list(5, &[], (10, 28))));
    machine.renewed(NOW + 60);
    assert_eq!(server.asked(), [LIST], "the certificate of the chip is asked for once");
    // Long without a network.
    let late = NOW + 30 * DAY;
    assert_eq!(machine.judged(lab.root(), NO_LISTS, late), []);
    assert_eq!(machine.judged(lab.root(), LISTS, late), [Code::CollateralMissing]);
}

#[test]
fn what_does_not_hold_for_this_machine_is_refused_and_nothing_of_it_is_kept() {
    let other = Lab::new();
    let foreign = vcek(&other);
    let (lab, server, machine) = machine(5, (10, 28));
    let again = vcek(&lab);
    let is_refused = |what: &str, n: i64| {
        // Each when the wait after the one before is over.
        let why = machine.failed(NOW + n);
        assert!(matches!(why, FetchError::Refused(_) | FetchError::Malformed { .. }), "{what}: {why}");
        assert!(why.to_string().contains("`[collateral]`"), "{why}");
        assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new(), "{what}");
        assert!(!machine.folder.path().join("sev-snp").exists(), "{what}");
    };
    server.reply(VCEK, Reply::body(&again.der));
    is_refused("the certificate of another key", 0);
    server.reply(VCEK, Reply::body(&foreign.der));
    is_refused("another vendor's certificate", 60);
    server.reply(VCEK, Reply::body(b"garbage"));
    is_refused("garbage", 180);
    server.reply(VCEK, Reply::body(&[]));
    is_refused("nothing", 420);
    server.reply(VCEK, Reply::body(&[0x30; 100 << 10]));
    is_refused("a large one", 900);
    server.reply(ISSUERS, Reply::body(b"-----BEGIN CERTIFICATE-----\n???"));
    is_refused("issuers that are no PEM", 1860);

    let (lab, server, machine) = self::machine(5, (10, 28));
    for (n, (what, list)) in [
        ("forged", lab.forged_list(9, (10, 28))),
        ("of another issuer", other.list(9, &[], (10, 28))),
        ("out of date", lab.list(9, &[], (1, 10))),
        ("not yet in date", lab.list(9, &[], (21, 28))),
        ("garbage", b"garbage".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        server.reply(LIST, Reply::body(&list));
        let why = machine.failed(NOW + 60 * ((1 << n) - 1));
        assert!(matches!(why, FetchError::Refused(_)), "{what}: {why}");
        assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new(), "{what}");
    }
}

#[test]
fn a_service_that_lied_once_is_forgotten_when_the_vendor_answers() {
    let (lab, server, key, mut machine) = machine_and_key(5, (10, 28));
    let liar = Lab::new();
    let lie = (lied(&liar, &key), liar.list(9, &[], (10, 28)));
    serve(&server, &lie.0, &liar.issuers, &lie.1);
    let why = machine.failed(NOW);
    assert!(matches!(why, FetchError::Refused(_)) && why.to_string().contains("root-unpinned"), "{why}");
    assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new());
    assert!(!machine.folder.path().join("sev-snp").exists());
    serve(&server, &key.der, &lab.issuers, &lab.list(5, &[], (10, 28)));
    machine.renewed(NOW + 60);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + 60), []);

    // What is on the disk may be from before anybody looked at roots; what the host gives may be the lie, too.
    for given in [vec![], [vec![lie.0.clone()], liar.issuers.clone(), vec![lie.1.clone()]].concat()] {
        serve(&server, &lie.0, &liar.issuers, &lie.1);
        let source = std::mem::replace(&mut machine.source, amd(server.host(), liar.root()));
        std::fs::remove_file(machine.folder.path().join("sev-snp")).unwrap();
        machine.restart();
        machine.renewed(NOW);
        machine.source = source;
        machine.restart();
        machine.given = given;
        serve(&server, &key.der, &lab.issuers, &lab.list(5, &[], (10, 28)));
        server.asked();
        for day in 1..4 {
            machine.renewed(NOW + day * DAY);
            assert_eq!(machine.judged(lab.root(), LISTS, NOW + day * DAY), [], "day {day}");
        }
        assert_eq!(server.asked().len(), 5, "all of it, and then a list each day");
    }
}

/// Of nobody, each by another name.
fn certificate(n: u8) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, n.to_string());
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn no_more_is_kept_than_an_envelope_may_have() {
    let (lab, server, key, mut machine) = machine_and_key(5, (10, 28));
    let list = lab.list(5, &[], (10, 28));
    let with = |extra: usize| [lab.issuers.clone(), vec![list.clone(); extra]].concat();
    serve(&server, &key.der, &with(14), &list);
    let why = machine.failed(NOW);
    assert!(matches!(why, FetchError::Refused(_)) && why.to_string().contains("at most 16"), "{why}");
    assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new());
    serve(&server, &key.der, &with(12), &list);
    machine.renewed(NOW + 60);
    assert_eq!(machine.staple(NOW).len(), 16);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), []);
    // A file that has more is fetched anew.
    let file = machine.folder.path().join("sev-snp");
    let mut content: ciborium::Value = ciborium::from_reader(&std::fs::read(&file).unwrap()[..]).unwrap();
    let fields = content.as_map_mut().unwrap();
    let endorsements = fields.iter_mut().find(|(name, _)| name.as_text() == Some("endorsements")).unwrap();
    endorsements.1.as_array_mut().unwrap().push(ciborium::Value::Bytes(list.clone()));
    let mut bytes = vec![];
    ciborium::into_writer(&content, &mut bytes).unwrap();
    std::fs::write(&file, bytes).unwrap();
    machine.restart();
    assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new());
    machine.renewed(NOW);

    // Certificates that leave no room for a list are not kept for want of one, and then for good.
    let (lab, server, key, machine) = machine_and_key(5, (10, 28));
    let others: Vec<_> = (0..13).map(certificate).collect();
    serve(&server, &key.der, &[lab.issuers.clone(), others].concat(), &lab.list(5, &[], (10, 28)));
    server.reply(LIST, Reply::status("429 Too Many Requests", ""));
    machine.failed(NOW);
    serve(&server, &key.der, &lab.issuers, &lab.list(5, &[], (10, 28)));
    machine.renewed(NOW + 60);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + 60), []);
}

#[test]
fn a_list_of_an_emergency_is_kept_though_it_lives_shorter() {
    let (lab, server, mut machine) = machine(5, (10, 28));
    machine.renewed(NOW);
    let lasting = machine.staple(NOW);
    server.reply(LIST, Reply::body(&lab.list(6, &[super::lab::INTERMEDIATE], (20, 24))));
    machine.renewed(NOW + DAY);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + DAY), [Code::CertificateRevoked]);
    // Of two that are whole the newer is stapled, though the host's lasts longer.
    machine.given = lasting;
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + DAY), [Code::CertificateRevoked]);
    // It is not followed by the one before it, which lives longer.
    server.reply(LIST, Reply::body(&lab.list(5, &[], (10, 28))));
    assert!(matches!(machine.failed(NOW + 3 * DAY), FetchError::Older(_)));
}

#[test]
fn amds_roots_are_built_in_and_a_policy_may_name_others_in_their_place() {
    let host = || Host::try_from("https://kdsintf.amd.com".to_string()).unwrap();
    let of = |hosts: Hosts| match hosts.source(EvidenceKind::SevSnp).unwrap() {
        Source::Amd { roots, .. } => roots.iter().map(|root| root.sha256).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let built_in = of(Hosts { amd: Some(host()), ..Hosts::default() });
    assert_eq!(built_in.len(), 3);
    // The roots of genuine chains, and those of the shipped policy.
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for chain in ["cert_chain_milan", "cert_chain_turin"] {
        let chain = std::fs::read(project.join("attest/core/tests/vectors/snp").join(chain)).unwrap();
        let ark = pem::parse_many(chain).unwrap().pop().unwrap().into_contents();
        assert!(built_in.contains(&Sha256::digest(ark).into()));
    }
    let policy = std::fs::read(project.join("policies/attest/sensitive.toml")).unwrap();
    let policy = AttestPolicy::parse(&policy).unwrap();
    let pinned = &policy.accept(EvidenceKind::SevSnp).unwrap().roots;
    assert!(pinned.len() == 2 && pinned.iter().all(|root| built_in.contains(&root.sha256)));
    let named = Hosts { amd: Some(host()), amd_roots: Some(vec![RootHash([7; 32])]), ..Hosts::default() };
    assert_eq!(of(named.clone()), [[7; 32]]);
    let none = Hosts { amd_roots: Some(vec![]), ..named };
    assert!(none.source(EvidenceKind::SevSnp).unwrap_err().contains("`amd_roots`"));
}

#[test]
fn a_list_that_revokes_this_machine_is_stapled_too() {
    let (lab, server, machine) = machine(5, (10, 28));
    machine.renewed(NOW);
    server.reply(LIST, Reply::body(&lab.list(6, &[super::lab::INTERMEDIATE], (19, 28))));
    machine.renewed(NOW + DAY);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW + DAY), [Code::CertificateRevoked]);
}

#[test]
fn a_bid_does_not_wait_for_a_fetch_that_hangs() {
    let (lab, server, machine) = machine(5, (10, 28));
    machine.renewed(NOW);
    server.asked();
    server.reply(LIST, Reply::Hang);
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| machine.failed(NOW + DAY));
        server.wait();
        let started = Instant::now();
        assert_eq!(machine.judged(lab.root(), LISTS, NOW + DAY), [], "what is at hand");
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        assert!(!fetching.is_finished());
        assert!(matches!(fetching.join().unwrap(), FetchError::Unreachable { .. }));
    });
}

#[test]
fn failures_are_told_once_and_tried_again_after_growing_waits() {
    let (_, server, machine) = machine(5, (10, 28));
    server.reply(VCEK, Reply::status("503 Service Unavailable", ""));
    let (mut now, mut waits) = (NOW, vec![]);
    for n in 0..12 {
        let Renewal::Failed { first, again, .. } = machine.renew(now) else { panic!("it failed") };
        assert_eq!(first, n == 0, "told once");
        assert!(matches!(machine.renew(again - 1), Renewal::Fresh));
        // A Bid in between asks for nothing.
        machine.staple(now);
        assert!(matches!(machine.renew(again - 1), Renewal::Fresh));
        waits.push(again - now);
        now = again;
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600, 21600]);
    assert_eq!(server.asked().len(), 12);
    // A clock that went back by years does not put it off for years.
    assert!(matches!(machine.renew(NOW - 1000 * DAY), Renewal::Failed { first: false, .. }));
}

#[test]
fn a_file_that_is_damaged_is_fetched_anew_and_one_that_cannot_be_written_is_told() {
    let (lab, _server, mut machine) = machine(5, (10, 28));
    machine.renewed(NOW);
    let file = machine.folder.path().join("sev-snp");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(machine.folder.path().join("sev-snp.new"), b"of one that was killed").unwrap();
    let too_long = [&whole[..], &vec![0; 1 << 20]].concat();
    for damaged in [&whole[..whole.len() - 1], b"", b"garbage", &[0xff; 1000], &[0xbb; 8], &whole[40..]] {
        std::fs::write(&file, damaged).unwrap();
        machine.restart();
        assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new());
        machine.renewed(NOW);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
    }
    // What is behind its end is not read.
    std::fs::write(&file, too_long).unwrap();
    machine.restart();
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), []);
    // Each byte, turned: what is held of it is no better than what comes from the network.
    for at in (0..whole.len()).step_by(7) {
        let mut turned = whole.clone();
        turned[at] ^= 0x40;
        std::fs::write(&file, turned).unwrap();
        machine.restart();
        machine.staple(NOW);
    }
    std::fs::remove_dir_all(machine.folder.path()).unwrap();
    machine.restart();
    let Renewal::Renewed { unsaved: Some(why), .. } = machine.renew(NOW) else { panic!("it is told") };
    assert_eq!(why.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(machine.judged(lab.root(), LISTS, NOW), [], "and it is used");
}
