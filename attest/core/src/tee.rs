//! What the verifiers have in common.

use std::collections::BTreeSet;

use crate::{Accept, Code, EvidenceKind, Findings, Given, Image, Reason, Status, TrustVector};

/// What the policy wants of this kind.
pub(crate) fn accept<'a>(given: &Given<'a>, kind: EvidenceKind) -> Result<&'a Accept, Reason> {
    let none = || Reason::new(Code::KindNotAccepted, format!("the policy has no section for {kind}"));
    given.policy.accept(kind).ok_or_else(none)
}

/// Holds registers against the policy's reference values: each register that it names must have one of its values, one of its
/// images must hold, and it must name one or the other.
pub(crate) fn measured(accept: &Accept, registers: &[(String, &[u8])], findings: &mut Findings) {
    if accept.any_measurement {
        return;
    }
    let named: BTreeSet<&str> = accept.measurements.iter().map(|m| m.register.as_str()).collect();
    image(accept, registers, Code::MeasurementUnknown, findings);
    if named.is_empty() && accept.images.is_empty() {
        findings.reason(Code::MeasurementUnknown, "the policy names no measurement");
    }
    for register in named {
        let Some((_, value)) = registers.iter().find(|(name, _)| name == register) else {
            findings.reason(Code::MeasurementUnknown, format!("the evidence has no register {register}"));
            continue;
        };
        if !accept.measurements.iter().any(|m| m.register == register && m.value == *value) {
            let detail = format!("{register} is {}, which the policy does not name", hex::encode(value));
            findings.reason(Code::MeasurementUnknown, detail);
        }
    }
}

/// One of the policy's images must hold whole, if it names any. A reason, of the code that is given, names the nearest.
pub(crate) fn image(accept: &Accept, registers: &[(String, &[u8])], code: Code, findings: &mut Findings) {
    let differing = |image: &Image| {
        let is = |name: &str| registers.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        let wanted = image.registers.iter().filter(|(name, value)| is(name) != Some(&value.0[..]));
        let text = |name: &String| format!("{name} is {}", is(name).map_or("not there".into(), hex::encode));
        wanted.map(|(name, _)| text(name)).collect::<Vec<_>>()
    };
    let nearest = accept.images.iter().map(|image| (differing(image), image)).min_by_key(|(differs, _)| differs.len());
    match nearest {
        None => {}
        Some((differs, image)) if differs.is_empty() => findings.claim("image", &image.name),
        Some((differs, image)) => {
            let (count, all) = (differs.len(), image.registers.len());
            let name: String = image.name.chars().take(120).collect();
            let detail =
                format!("the nearest image is {name}; {count} of its {all} registers differ: {}", differs.join(", "));
            findings.reason(code, detail);
        }
    }
}

/// Sets the trust vector: what the evidence speaks of, less what the reasons say.
pub(crate) fn judge(findings: &mut Findings, spoken_of: TrustVector, verdict: &Result<(), Reason>) {
    let mut vector = if verdict.is_ok() { spoken_of } else { TrustVector::default() };
    for reason in findings.reasons.iter().chain(verdict.as_ref().err()) {
        match reason.code {
            Code::KindNotAccepted => {}
            Code::DebugEnabled | Code::VmplTooHigh | Code::GuestPolicyRefused => {
                vector.configuration = Status::Contraindicated;
            }
            Code::PlatformRefused => vector.configuration = vector.configuration.max(Status::Warning),
            Code::MeasurementUnknown | Code::LauncherUnknown => vector.executables = Status::Warning,
            Code::TcbTooOld | Code::ProductRefused => vector.hardware = Status::Contraindicated,
            Code::MachineUnknown => vector.hardware = vector.hardware.max(Status::Warning),
            _ => vector.instance_identity = Status::Contraindicated,
        }
    }
    findings.vector = vector;
}
