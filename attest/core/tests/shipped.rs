//! What ships beside the code says what the code says.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use eider_attest::{AttestPolicy, AttestPolicyError, Class, Code, EvidenceKind, Tier};
use eider_protocol::DataClass;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn policy(name: &str) -> AttestPolicy {
    AttestPolicy::parse(&std::fs::read(project("policies/attest").join(name)).unwrap()).unwrap()
}

#[test]
fn each_reason_is_in_the_table_and_no_other() {
    let docs = std::fs::read_to_string(project("docs/attestation.md")).unwrap();
    let class = |c| match c {
        Class::Absent => "absent",
        Class::Invalid => "invalid",
        Class::Insufficient => "insufficient",
    };
    let rows: Vec<_> = Code::ALL.iter().map(|c| format!("| `{c}` | {} | {} |", class(c.class()), c.advice())).collect();
    let found: Vec<_> = docs.lines().filter(|l| l.starts_with("| `")).collect();
    assert_eq!(found, rows);
}

#[test]
fn the_shipped_policies_ask_for_what_their_class_needs() {
    for (name, class, minimum) in [
        ("public.toml", DataClass::Public, Tier::L0),
        ("internal.toml", DataClass::Internal, Tier::L1),
        ("sensitive.toml", DataClass::Sensitive, Tier::L2),
    ] {
        let policy = policy(name);
        assert_eq!((policy.class, policy.minimum, policy.development), (class, minimum, false), "{name}");
        for accept in EvidenceKind::ALL.into_iter().filter_map(|k| policy.accept(k)) {
            assert!(!accept.any_measurement && !accept.debug, "{name}");
        }
    }
    assert!(policy("development.toml").development);
    assert_eq!(policy("internal.toml").sev_snp, policy("sensitive.toml").sev_snp);
}

/// What `make guest-image` writes is of a commit that anybody can build again. For the other TEEs no value can be computed.
#[test]
fn sensitive_data_goes_to_no_guest_but_those_of_this_repository() {
    let policy = policy("sensitive.toml");
    for kind in EvidenceKind::ALL {
        for measurement in policy.accept(kind).map_or(&[][..], |accept| &accept.measurements) {
            assert_eq!(kind, EvidenceKind::SevSnp);
            assert_eq!((measurement.register.as_str(), measurement.value.len()), ("measurement", 48));
            let from = &measurement.from;
            let commit = from.strip_prefix("make guest-image of ").and_then(|rest| rest.split(':').next()).unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "not of a commit: {from}");
            assert!(
                from.contains("program ") && from.contains("initrd ") && from.contains("never seen on hardware"),
                "{from}"
            );
        }
    }
}

#[test]
fn a_policy_that_cannot_be_meant_is_refused_with_its_line() {
    let root = format!("roots = [{{ name = \"r\", sha256 = \"{}\", from = \"here\" }}]", "ab".repeat(32));
    let head = "name = \"p\"\nclass = \"internal\"\n";
    let floor = "boot_loader = 1\ntee = 1\nsnp = 1\nmicrocode = 1\nfrom = \"here\"\n";
    let products = "products = { genoa = { boot_loader = 1, tee = 1, snp = 1, microcode = 1, from = \"here\" } }\n";
    let (short, zeros) =
        ("{ value = \"ab\", from = \"here\" }", format!("{{ value = \"{}\", from = \"here\" }}", "0".repeat(128)));
    for (text, line, says) in [
        (format!("{head}minimum = \"L1\"\nminimun = 1\n"), "line 4", "minimun"),
        (format!("{head}minimum = \"L7\"\n"), "line 3", "L7"),
        (format!("{head}minimum = \"L1\"\n"), "line 3", "no kind of evidence"),
        (format!("{head}minimum = \"L2\"\n[tpm2]\n{root}\n"), "line 3", "no kind of evidence"),
        ("name = \"p\"\nclass = \"sensitive\"\nminimum = \"L1\"\n".into(), "line 3", "L2 alone"),
        (format!("{head}minimum = \"L1\"\n[tpm2]\nquoted = [0]\n"), "line 4", "without a pinned root"),
        (format!("{head}minimum = \"L1\"\n[tpm2]\n{root}\nany_measurement = true\n"), "line 4", "another kind"),
        (format!("{head}minimum = \"L2\"\n[nitro]\n{root}\nquoted = [0]\n"), "line 4", "another kind"),
        (format!("{head}minimum = \"L2\"\n[tdx]\n{root}\nvmpl = 1\n"), "line 4", "another kind"),
        (format!("{head}minimum = \"L2\"\n[nitro]\n{root}\nchips = []\n"), "line 4", "`chips`"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}ppids = []\n"), "line 4", "`ppids`"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n"), "line 4", "no `products`"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\ntcb = [3, 0, 20, 209]\n"), "line 6", "tcb"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}chips = []\n"), "line 7", "accepts nobody"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}id_keys = [{short}]\n"), "line 7", "96 hex"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}chips = [{zeros}]\n"), "line 7", "not all 0"),
        (
            format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}platform = [\"cached-keys\"]\n"),
            "line 7",
            "it knows",
        ),
        (format!("{head}minimum = \"L2\"\n[tdx]\n{root}\nppids = [{short}]\n"), "line 6", "32 hex"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n[sev-snp.products.turin]\n{floor}"), "line 6", "`fmc`"),
        (
            format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n[sev-snp.products.genoa]\nfmc = 1\n{floor}"),
            "line 6",
            "no `fmc`",
        ),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n[sev-snp.products.rome]\n{floor}"), "line 6", "rome"),
        (
            format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n[sev-snp.products.genoa]\nfmcc = 1\n{floor}"),
            "line 7",
            "fmcc",
        ),
        (
            "name = \"p\"\nclass = \"sensitive\"\nminimum = \"L2\"\ndevelopment = true\n".into(),
            "line 4",
            "remove `development`",
        ),
        (
            format!(
                "{head}minimum = \"L1\"\n[tpm2]\n{root}\nquoted = [1]\npcrs = [{{ index = 0, values = [\"{}\"], from = \"x\" }}]\n",
                "00".repeat(32)
            ),
            "line 6",
            "not in `quoted`",
        ),
    ] {
        let refused = AttestPolicy::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refused, AttestPolicyError::Parse(_) | AttestPolicyError::Contradiction { .. }));
        let words = refused.to_string();
        assert!(words.contains(line) && words.contains(says), "{text}\n{words}");
    }
    assert!(AttestPolicy::parse(&[0xff]).is_err());
    assert!(AttestPolicy::parse(&vec![b' '; AttestPolicy::MAX + 1]).is_err());
}
