//! TDX: Intel's service, with what it has said in 2025 and in 2026 of one kind of platform.

use std::path::Path;

use eider_attest::Code;
use eider_attest_device::collateral::{FetchError, Renewal, Source};
use serde_json::Value;

use super::machine::{DAY, Machine};
use super::server::{Reply, Server};

/// In the month of the first collateral, and of the second.
const IN_2025: i64 = 1_750_414_563;
const IN_2026: i64 = 1_791_504_586;
const TCB: &str = "/tdx/certification/v4/tcb?fmspc=B0C06F000000&update=early";
const QE: &str = "/tdx/certification/v4/qe/identity?update=early";
const PCK_LIST: &str = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der";
const ROOT_LIST: &str = "/IntelSGXRootCA.der";
const ANY: &str = "statuses = [\"UpToDate\"]\nplatform = [\"dynamic\", \"cached-keys\", \"smt\"]";

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/vectors/tdx").join(name)).unwrap()
}

/// Collateral as members, as Intel's verifiers take it.
fn collateral(name: &str) -> Value {
    serde_json::from_slice(&vector(&format!("{name}_collateral.json"))).unwrap()
}

/// Bytes as in an address.
fn escaped(text: &str) -> String {
    let letter = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(letter).collect()
}

/// Has the service say what that collateral is made of.
fn serve(server: &Server, collateral: &Value) {
    let text = |name: &str| collateral[name].as_str().unwrap().to_string();
    let signed = |member: &str, name: &str, header: &'static str| {
        let (what, signature) = (text(name), text(&format!("{name}_signature")));
        let body = format!("{{\"{member}\":{what},\"signature\":\"{signature}\"}}");
        Reply::Good(vec![(header, escaped(&text(&format!("{name}_issuer_chain"))))], body.into())
    };
    server.reply(TCB, signed("tcbInfo", "tcb_info", "TCB-Info-Issuer-Chain"));
    server.reply(QE, signed("enclaveIdentity", "qe_identity", "SGX-Enclave-Identity-Issuer-Chain"));
    let issuers = escaped(&text("pck_crl_issuer_chain"));
    let list = hex::decode(text("pck_crl")).unwrap();
    server.reply(PCK_LIST, Reply::Good(vec![("sgx-pck-crl-issuer-chain", issuers)], list));
    server.reply(ROOT_LIST, Reply::body(&hex::decode(text("root_ca_crl")).unwrap()));
}

/// A service with genuine collateral of 2025, and a genuine quote of that time.
fn machine() -> (Server, Machine) {
    let server = Server::start();
    serve(&server, &collateral("tdx_quote"));
    let source = Source::Intel { service: server.host(), root: server.host() };
    (server, Machine::new(source, vector("tdx_quote"), vec![]))
}

/// Intel's root, of the chain in the collateral.
fn root() -> Vec<u8> {
    let chain = collateral("tdx_quote")["tcb_info_issuer_chain"].as_str().unwrap().to_string();
    pem::parse_many(chain).unwrap().pop().unwrap().into_contents()
}

#[test]
fn genuine_collateral_is_fetched_stapled_and_accepted_and_there_after_a_restart() {
    let (server, mut machine) = machine();
    assert_eq!(machine.judged(&root(), ANY, IN_2025), [Code::CollateralMissing]);
    assert_eq!(machine.renewed(IN_2025), 1_752_919_234, "the PCK list's next update, less a second");
    assert_eq!(server.asked(), [TCB, QE, PCK_LIST, ROOT_LIST]);
    assert_eq!(machine.judged(&root(), ANY, IN_2025), []);
    machine.restart();
    assert_eq!(machine.judged(&root(), ANY, IN_2025), []);
    assert!(matches!(machine.renew(IN_2025), Renewal::Fresh));
    assert_eq!(server.asked(), [""; 0]);
    assert!(
        matches!(machine.renew(IN_2025 + DAY), Renewal::Renewed { .. }),
        "a day later it is asked whether there is news"
    );
}

#[test]
fn it_is_renewed_by_what_intel_said_later_and_never_by_what_it_said_before() {
    let (server, mut machine) = machine();
    machine.renewed(IN_2025);
    let version = machine.keeper.version();
    // A year later the service still says the same.
    let why = machine.failed(IN_2026);
    assert!(matches!(why, FetchError::Refused(_)) && why.to_string().contains("collateral-stale"), "{why}");
    assert_eq!(machine.keeper.version(), version);
    serve(&server, &collateral("tdx_quote_td15ex"));
    let Renewal::Renewed { failures: 1, .. } = machine.renew(IN_2026 + 60) else { panic!("it is there again") };
    assert!(machine.keeper.version() > version);
    let held = machine.staple(IN_2026);
    assert!(!machine.judged(&root(), ANY, IN_2026).contains(&Code::CollateralStale));
    serve(&server, &collateral("tdx_quote"));
    assert!(matches!(machine.failed(IN_2026 + 2 * DAY), FetchError::Refused(_)));
    assert_eq!(machine.staple(IN_2026), held, "what is held stays");
    // By a clock that went wrong the old is in date; its evaluation number is still lower.
    machine.restart();
    let why = machine.failed(IN_2025);
    assert!(matches!(why, FetchError::Older(_)) && why.to_string().contains("17, and 20 is held"), "{why}");
    machine.restart();
    assert_eq!(machine.staple(IN_2026), held);
}

#[test]
fn what_the_owner_gives_is_used_for_as_long_as_it_is_good() {
    let (server, mut machine) = machine();
    machine.given = vec![vector("tdx_quote_collateral.json")];
    assert!(matches!(machine.renew(IN_2025), Renewal::Fresh));
    assert_eq!(machine.judged(&root(), ANY, IN_2025), []);
    assert_eq!(server.asked(), [""; 0]);
    serve(&server, &collateral("tdx_quote_td15ex"));
    machine.renewed(IN_2026);
    assert_ne!(machine.staple(IN_2026), machine.given);
    assert_eq!(machine.staple(IN_2025), machine.given);
}

#[test]
fn what_is_changed_of_another_platform_or_not_of_the_form_is_refused() {
    let genuine = collateral("tdx_quote");
    let changed = |name: &str, from: &str, to: &str| {
        let mut changed = genuine.clone();
        let text = changed[name].as_str().unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        changed[name] = text.replacen(from, to, 1).into();
        changed
    };
    for (what, collateral) in [
        ("TCB info with another status", changed("tcb_info", "OutOfDate", "UpToDate")),
        ("TCB info without a part", changed("tcb_info", "\"version\":3,", "")),
        ("TCB info of another platform", collateral("tdx_quote_outdated")),
        ("another signature", changed("qe_identity_signature", "0", "1")),
        ("issuers that are none", changed("tcb_info_issuer_chain", "CERTIFICATE", "CERTIFICATION")),
        ("another issuer of the list", changed("pck_crl_issuer_chain", "MII", "MIJ")),
        ("a list whose date was changed", changed("pck_crl", "323530363139", "323530363138")),
        ("a root's list whose date was changed", changed("root_ca_crl", "323530333230", "323530333231")),
    ] {
        let (server, machine) = machine();
        serve(&server, &collateral);
        let why = machine.failed(IN_2025);
        assert!(matches!(why, FetchError::Refused(_)), "{what}: {why}");
        assert_eq!(machine.staple(IN_2025), Vec::<Vec<u8>>::new(), "{what}");
        assert!(!machine.folder.path().join("tdx").exists(), "{what}");
    }
    for (what, path, reply) in [
        ("no JSON", TCB, Reply::body(b"<html>")),
        ("no signature", QE, Reply::body(b"{\"enclaveIdentity\":{}}")),
        ("a signature that is none", TCB, Reply::body(b"{\"tcbInfo\":{},\"signature\":\"xy\"}")),
        ("no issuers", TCB, Reply::body(b"{\"tcbInfo\":{},\"signature\":\"00\"}")),
        ("issuers that are no text", PCK_LIST, Reply::Good(vec![("SGX-PCK-CRL-Issuer-Chain", "%ff".into())], vec![])),
    ] {
        let (server, machine) = machine();
        server.reply(path, reply);
        let why = machine.failed(IN_2025);
        assert!(matches!(why, FetchError::Malformed { .. }), "{what}: {why}");
    }
    let (server, mut machine) = machine();
    machine.evidence = b"no quote".to_vec();
    assert!(matches!(machine.failed(IN_2025), FetchError::Unasked(_)));
    assert_eq!(server.asked(), [""; 0]);
}
