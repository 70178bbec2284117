//! What ships beside the code says what the code says.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use eider_attest::{Accept, AttestPolicy, AttestPolicyError, Class, Code, EvidenceKind, Tier};
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
    // But for the guest that `make guest-image` has written into one of them.
    let processors = |name| policy(name).sev_snp.map(|accept| Accept { measurements: vec![], ..accept });
    assert_eq!(processors("internal.toml"), processors("sensitive.toml"));
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
        (format!("{head}minimum = \"L2\"\n[nitro]\n{root}\nevaluation = 20\n"), "line 4", "`evaluation`"),
        (format!("{head}minimum = \"L2\"\n[tdx]\n{root}\nevaluation = -1\n"), "line 6", "-1"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}ppids = []\n"), "line 4", "`ppids`"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n"), "line 4", "no `products`"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\ntcb = [3, 0, 20, 209]\n"), "line 6", "tcb"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}chips = []\n"), "line 7", "accepts nobody"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}id_keys = [{short}]\n"), "line 7", "96 hex"),
        (format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}chips = [{zeros}]\n"), "line 7", "not all 0"),
        (
            format!("{head}minimum = \"L2\"\n[sev-snp]\n{root}\n{products}platform = [\"cached-keys\"]\n"),
            "line 7",
            "it knows `smt` and `aliases-unchecked`",
        ),
        (format!("{head}minimum = \"L2\"\n[tdx]\n{root}\nppids = [{short}]\n"), "line 6", "32 hex"),
        (format!("{head}minimum = \"L2\"\n[nitro]\n{root}\nsecure_boot = true\n"), "line 4", "`secure_boot`"),
        (format!("{head}minimum = \"L2\"\n[nitro]\n{root}\nsigners = [{short}]\n"), "line 4", "`signers`"),
        (format!("{head}minimum = \"L1\"\n[tpm2]\n{root}\nsecure_bot = true\n"), "line 6", "secure_bot"),
        (format!("{head}minimum = \"L1\"\n[tpm2]\n{root}\nquoted = [0]\nsecure_boot = true\n"), "line 7", "register 7"),
        (
            format!("{head}minimum = \"L1\"\n[tpm2]\n{root}\nquoted = [7]\nsecure_boot = true\nsigners = [{short}]\n"),
            "line 8",
            "64 hex",
        ),
        (
            format!("{head}minimum = \"L1\"\n[tpm2]\n{root}\nquoted = [7]\nsecure_boot = true\nsigners = []\n"),
            "line 8",
            "accepts nobody",
        ),
        (
            format!(
                "{head}minimum = \"L1\"\n[tpm2]\n{root}\nquoted = [7]\nsigners = [{{ value = \"{}\", from = \"x\" }}]\n",
                "11".repeat(32)
            ),
            "line 7",
            "without `secure_boot",
        ),
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
    let image = |registers: &str| {
        let image = format!("[[nitro.images]]\nname = \"i\"\nfrom = \"x\"\nregisters = {{ {registers} }}\n");
        format!("{head}minimum = \"L2\"\n[nitro]\n{root}\n{image}")
    };
    let value = "00".repeat(48);
    assert!(AttestPolicy::parse(image(&format!("pcr0 = \"{value}\"")).as_bytes()).is_ok());
    for (registers, says) in [
        ("".to_string(), "without registers"),
        (format!("mrtd = \"{value}\""), "no register mrtd"),
        ("pcr0 = \"00\"".into(), "pcr0 of 1 bytes"),
    ] {
        let refused = AttestPolicy::parse(image(&registers).as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("line 7") && refused.contains(says), "{refused}");
    }
    let both = image(&format!("pcr0 = \"{value}\"")).replace("[nitro]", "[nitro]\nany_measurement = true");
    assert!(AttestPolicy::parse(both.as_bytes()).unwrap_err().to_string().contains("names measurements too"));
    assert!(AttestPolicy::parse(&[0xff]).is_err());
    assert!(AttestPolicy::parse(&vec![b' '; AttestPolicy::MAX + 1]).is_err());
}

#[test]
fn a_policy_that_pins_too_little_is_told_so() {
    let root = format!("roots = [{{ name = \"r\", sha256 = \"{}\", from = \"here\" }}]", "ab".repeat(32));
    let notes = |kind: &str, minimum: &str, lines: &str| {
        let evaluation = if kind == "tdx" && !lines.contains("evaluation") { "evaluation = 20\n" } else { "" };
        let head = format!("name = \"p\"\nclass = \"internal\"\nminimum = \"{minimum}\"\n");
        let text = format!("{head}[{kind}]\n{root}\n{evaluation}{lines}");
        AttestPolicy::parse(text.as_bytes()).unwrap().lint()
    };
    let pcr = |index: u8, values: &[u8]| {
        let values: Vec<_> = values.iter().map(|v| format!("\"{}\"", hex::encode([*v; 32]))).collect();
        format!("[[tpm2.pcrs]]\nindex = {index}\nvalues = [{}]\nfrom = \"x\"\n", values.join(", "))
    };
    let measured = |kind: &str, entries: &[(&str, u8)]| -> String {
        let entry = |(register, value): &(&str, u8)| {
            let value = hex::encode([*value; 48]);
            format!("[[{kind}.measurements]]\nregister = \"{register}\"\nvalue = \"{value}\"\nfrom = \"x\"\n")
        };
        entries.iter().map(entry).collect()
    };
    let signers = format!("secure_boot = true\nsigners = [{{ value = \"{}\", from = \"x\" }}]\n", "11".repeat(32));
    let all = measured("tdx", &[("mrtd", 1), ("rtmr0", 1), ("rtmr1", 1), ("rtmr2", 1)]);
    for (kind, minimum, lines, says) in [
        ("tpm2", "L1", "quoted = [0, 7]\n".to_string(), "any boot is accepted"),
        ("tpm2", "L1", format!("quoted = [0, 7]\n{}", pcr(7, &[1])), "registers [0] are quoted and have no value"),
        ("tpm2", "L1", format!("quoted = [16]\n{}", pcr(16, &[1])), "any software can reset register [16]"),
        ("tpm2", "L1", format!("quoted = [4, 7]\n{}{}", pcr(4, &[1, 2]), pcr(7, &[1, 2, 3])), "6 mixtures"),
        ("tpm2", "L1", format!("quoted = [7]\n{signers}"), "all that `signers` have signed"),
        ("tpm2", "L1", format!("quoted = [7]\nsecure_boot = true\n{}", pcr(7, &[1])), "trust a key of their own"),
        ("tdx", "L2", "any_measurement = true\n".into(), "any code is accepted"),
        ("tdx", "L2", format!("debug = true\n{all}"), "`debug`"),
        ("tdx", "L2", String::new(), "nobody is accepted"),
        ("tdx", "L2", measured("tdx", &[("mrtd", 1)]), "rtmr0, rtmr1, rtmr2 not pinned"),
        ("tdx", "L2", measured("tdx", &[("rtmr0", 1), ("rtmr1", 1), ("rtmr2", 1)]), "`mrtd` is not pinned"),
        ("tdx", "L2", format!("{all}{}", measured("tdx", &[("pcr0", 1)])), "can never hold"),
        ("tdx", "L2", format!("evaluation = 0\n{all}"), "an evaluation of Intel's that the worker chooses"),
        ("nitro", "L2", measured("nitro", &[("pcr1", 1)]), "parts of the image"),
        ("nitro", "L2", measured("nitro", &[("pcr0", 0)]), "debug mode"),
    ] {
        let found = notes(kind, minimum, &lines);
        assert!(found.len() == 1 && found[0].starts_with(kind) && found[0].contains(says), "{lines}: {found:?}");
    }
    assert_eq!(notes("tpm2", "L1", &format!("quoted = [0, 7]\n{}{}", pcr(0, &[1]), pcr(7, &[1]))), [""; 0]);
    assert_eq!(notes("tpm2", "L1", &format!("quoted = [0, 7]\n{signers}{}", pcr(0, &[1]))), [""; 0]);
    assert_eq!(notes("tdx", "L2", &all), [""; 0]);
    assert_eq!(notes("nitro", "L2", &measured("nitro", &[("pcr0", 1), ("pcr0", 2)])), [""; 0]);
    let snp = |words: &str| {
        let floor = "boot_loader = 1\ntee = 1\nsnp = 1\nmicrocode = 1\nfrom = \"here\"\n";
        let all = measured("sev-snp", &[("measurement", 1)]);
        notes("sev-snp", "L2", &format!("platform = [{words}]\n{all}[sev-snp.products.genoa]\n{floor}"))
    };
    assert_eq!(snp("\"smt\""), [""; 0]);
    let found = snp("\"smt\", \"aliases-unchecked\"");
    assert!(found.len() == 1 && found[0].contains("BadRAM is open"), "{found:?}");
    // What ships, and says so in its own text.
    assert!(policy("internal.toml").lint().iter().any(|note| note.starts_with("tpm2: no register has a value")));
    assert!(policy("internal.toml").lint().iter().any(|note| note.starts_with("tdx: no `evaluation`")));
    assert_eq!(policy("public.toml").lint(), [""; 0]);
    assert!(policy("development.toml").lint()[0].contains("software"));
}
