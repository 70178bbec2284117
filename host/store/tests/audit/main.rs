//! What an archive's record says, against what was signed: genuine records hold, and a requester that writes one thing
//! otherwise, with all that follows from it, and signs the archive again is found, or the audit lists it as that requester's
//! word alone.
#![allow(clippy::unwrap_used, missing_docs)]

mod grid;

use std::collections::{BTreeMap, BTreeSet};

use eider_protocol::{DataClass, Hash, Identity, Offer, OfferId, Outcome, Signed, Terms, Verdict, Version};
use eider_store::audit::{self, Archive, AuditError};
use eider_store::{Fate, JobEnd, JobRecord, Moment, What};
use grid::{ALL, Does, Grid, Scenario, requester};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

/// Evidence that software makes counts: it is appraised like any other.
const DEVELOPMENT: &str = "name = \"lab\"\nclass = \"internal\"\nminimum = \"L1\"\ndevelopment = true\n";
/// Asks for nothing, so that no Bid names it.
const OPEN: &str = "name = \"open\"\nclass = \"internal\"\nminimum = \"L0\"\n";

fn scenario(workers: &[Does], k: usize, quorum: usize) -> Scenario {
    Scenario {
        workers: workers.to_vec(),
        k,
        quorum,
        policy: None,
        fails: false,
        cancelled: None,
        input_changes: None,
        receipts_lost: 0,
        seed: 1,
    }
}

/// Jobs that end in each way, with workers of every kind among them.
fn scenarios() -> Vec<(&'static str, Scenario)> {
    use Does::*;
    let with = |policy: &str, s: Scenario| Scenario { policy: Some(policy.into()), ..s };
    let usual = [Agrees, Dissents, Agrees, Declines, Unreachable, AsksTooMuch, CouldStartLate, SameAs(0), Late(9_000)];
    vec![
        ("verified", Scenario { receipts_lost: 2, ..scenario(&usual, 4, 3) }),
        (
            "verified",
            with(OPEN, scenario(&[Late(300), Equivocates(3), Busy(1), RefusesOnce, Late(310), LeavesAfter], 4, 3)),
        ),
        ("verified", with(DEVELOPMENT, scenario(&[Agrees, Agrees, ShowsNothing, SaysNothing, OfLaterVersion], 2, 2))),
        ("verified", scenario(&[WrongBytes, BreaksAfter, Agrees, Stalls, GivesUp, Breaks, Agrees], 5, 3)),
        ("job-failed", Scenario { fails: true, ..scenario(&[Agrees, Agrees, Dissents], 3, 2) }),
        ("no-quorum", scenario(&[Agrees, Dissents, GivesUp], 3, 2)),
        ("no-delivery", scenario(&[WrongBytes, WrongBytes], 2, 2)),
        ("no-candidates", scenario(&[AsksTooMuch, Unreachable], 1, 1)),
        ("no-candidates", scenario(&[SaysNothing, Unreachable], 1, 1)),
        ("exceeds-capacity", scenario(&[Declines, Declines], 2, 2)),
        ("cancelled", Scenario { cancelled: Some(55), ..scenario(&[Agrees, Agrees, Stalls], 3, 3) }),
        ("input-failed", Scenario { input_changes: Some(40), ..scenario(&[Agrees, Stalls], 2, 2) }),
    ]
}

fn archive(scenario: &Scenario, record: &Value) -> Result<Archive, AuditError> {
    audit::open(&audit::export(&requester(), &record.to_string(), scenario.policy.as_deref())?)
}

fn json(record: &JobRecord) -> Value {
    serde_json::to_value(record).unwrap()
}

/// Whether an audit of this record finds nothing.
fn holds(scenario: &Scenario, record: &Value) -> bool {
    let Ok(archive) = archive(scenario, record) else { return false };
    archive.stands(archive.record.at).unwrap().iter().all(|s| s.then == s.recorded)
}

#[test]
fn genuine_records_of_every_end_hold() {
    for (end, scenario) in scenarios() {
        let record = Grid::run(&scenario);
        assert_eq!(record.end.word(), end, "{:?}: {}", scenario.workers, record.reason);
        let opened = archive(&scenario, &json(&record));
        assert!(opened.is_ok(), "{:?}: {}", scenario.workers, opened.unwrap_err());
        assert!(holds(&scenario, &json(&record)));
    }
}

/// What an earlier program has archived is read by this one; fuzzing starts from it.
#[test]
fn the_golden_archive_holds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/archive.tar");
    let does = [Does::Agrees, Does::Agrees, Does::ShowsNothing, Does::Dissents];
    let scenario = Scenario { policy: Some(DEVELOPMENT.into()), ..scenario(&does, 3, 2) };
    if std::env::var_os("EIDER_WRITE_GOLDEN").is_some() {
        let record = json(&Grid::run(&scenario)).to_string();
        std::fs::write(path, audit::export(&requester(), &record, scenario.policy.as_deref()).unwrap()).unwrap();
    }
    let archive = audit::open(&std::fs::read(path).unwrap()).unwrap();
    let stands = archive.stands(archive.record.at).unwrap();
    assert!(stands.len() >= 2 && stands.iter().all(|s| s.then == s.recorded));
}

#[test]
fn genuine_records_hold_whatever_workers_do() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut ends = BTreeMap::<&str, u32>::new();
    for seed in 0..4_000 {
        let n = rng.random_range(1..9);
        let mut worker = |p: usize| match ALL[rng.random_range(0..ALL.len())] {
            Does::SameAs(_) if p > 0 => Does::SameAs(rng.random_range(0..p)),
            Does::SameAs(_) | Does::Stalls => Does::Agrees,
            Does::Equivocates(_) => Does::Equivocates(rng.random_range(0..60)),
            _ if rng.random_ratio(1, 3) => Does::Agrees,
            does => does,
        };
        let workers: Vec<_> = (0..n).map(&mut worker).collect();
        let k = rng.random_range(1..5);
        let quorum = rng.random_range(k / 2 + 1..=k);
        let policy = [None, Some(OPEN), Some(DEVELOPMENT)][rng.random_range(0..3)].map(String::from);
        let scenario = Scenario {
            policy,
            fails: rng.random_ratio(1, 5),
            cancelled: rng.random_ratio(1, 20).then(|| rng.random_range(0..200)),
            input_changes: rng.random_ratio(1, 20).then(|| rng.random_range(0..200)),
            receipts_lost: rng.random_range(0..4),
            seed,
            ..scenario(&workers, k, quorum)
        };
        let record = Grid::run(&scenario);
        *ends.entry(record.end.word()).or_default() += 1;
        if let Err(e) = archive(&scenario, &json(&record)) {
            panic!("seed {seed}, {workers:?}, {quorum} of {k}: {e}\n{record:#?}");
        }
        assert!(holds(&scenario, &json(&record)), "seed {seed}");
    }
    eprintln!("{ends:?}");
    assert!(ends.len() >= 8, "{ends:?}");
}

/// Another value at one place of a record: where, and the whole record then.
type Change = (String, Value);

/// Values that stand under each name in genuine records: what a liar would put there.
type Donors = BTreeMap<String, BTreeSet<String>>;

fn donate(name: &str, value: &Value, donors: &mut Donors) {
    donors.entry(name.into()).or_default().insert(value.to_string());
    match value {
        Value::Array(all) => all.iter().for_each(|v| donate(&format!("{name}[]"), v, donors)),
        Value::Object(all) => all.iter().for_each(|(key, v)| donate(key, v, donors)),
        _ => {}
    }
}

/// Other values for one value.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![],
        Value::Bool(b) => vec![Value::from(!b)],
        Value::Number(n) if n.is_f64() => vec![Value::from(n.as_f64().unwrap() + 0.125)],
        Value::Number(n) => {
            let n = n.as_i64().unwrap_or_default();
            vec![Value::from(n.wrapping_add(1)), Value::from(n.wrapping_sub(1))]
        }
        Value::String(text) => {
            let flipped = |c: char| if c == '0' { '1' } else { '0' };
            match text.chars().last() {
                Some(c) if text.len() >= 32 && c.is_ascii_hexdigit() => {
                    vec![Value::from(format!("{}{}", &text[..text.len() - 1], flipped(c)))]
                }
                _ => vec![Value::from(format!("{text}x"))],
            }
        }
        Value::Array(all) => {
            let without =
                |i: usize| Value::from_iter(all.iter().enumerate().filter(|(n, _)| *n != i).map(|(_, v)| v.clone()));
            let twice = |i: usize| Value::from_iter(all[..=i].iter().chain(&all[i..]).cloned());
            let swapped = |i: usize| {
                let mut all = all.clone();
                all.swap(i, i + 1);
                Value::from(all)
            };
            let each = (0..all.len()).flat_map(|i| [without(i), twice(i)]);
            each.chain((1..all.len()).map(|i| swapped(i - 1))).chain([Value::Array(vec![])]).collect()
        }
        Value::Object(_) => vec![Value::Null],
    }
}

/// Each change of one place at or below `at`, handed to `found` with the place's name.
fn change(root: &Value, at: &str, name: &str, donors: &Donors, found: &mut Vec<Change>) {
    let here = root.pointer(at).unwrap();
    let path = at.trim_start_matches('/').replace('/', ".");
    // An element of the two long lists that goes, comes twice or changes places is told by its place.
    let one_by_one = matches!(at, "/peers" | "/timeline");
    if !at.is_empty() {
        let mut values: Vec<Value> = if one_by_one { vec![] } else { others(here) };
        let given = donors.get(name).into_iter().flatten().map(|v| serde_json::from_str(v).unwrap());
        values.extend(given.filter(|_| !one_by_one).take(8));
        values.extend([Value::Null].into_iter().filter(|_| !here.is_null() && !one_by_one));
        for value in values.into_iter().filter(|v| v != here) {
            let mut changed = root.clone();
            *changed.pointer_mut(at).unwrap() = value;
            found.push((path.clone(), changed));
        }
    }
    if let (true, Value::Array(all)) = (one_by_one, here) {
        for i in 0..all.len() {
            for twice in [false, true] {
                let mut changed = root.clone();
                let all = changed.pointer_mut(at).unwrap().as_array_mut().unwrap();
                if twice {
                    all.insert(i, all[i].clone())
                } else {
                    drop(all.remove(i))
                }
                found.push((format!("{path}.{i}"), changed));
            }
        }
    }
    match here {
        Value::Array(all) => {
            let name = format!("{name}[]");
            (0..all.len()).for_each(|i| change(root, &format!("{at}/{i}"), &name, donors, found));
        }
        Value::Object(all) => {
            all.keys().for_each(|key| change(root, &format!("{at}/{key}"), key, donors, found));
        }
        _ => {}
    }
}

/// The part of moments that two timelines of one length differ in, if it is one.
fn only_in(one: &Value, other: &Value) -> Option<&'static str> {
    let without = |record: &Value, part: &str| {
        let mut timeline = record["timeline"].clone();
        for moment in timeline.as_array_mut()? {
            let place = if part == "ms" { "/ms" } else { "/what/dispatch/among" };
            moment.pointer_mut(place).map(Value::take);
        }
        Some(timeline)
    };
    let same = |part| one["timeline"] != other["timeline"] && without(one, part) == without(other, part);
    let among = same("among").then_some("timeline.what.dispatch.among");
    among.or(same("ms").then_some("timeline.ms"))
}

/// What a liar also writes otherwise, so that one part of the record does not give the other away.
fn consistent(changed: &Value) -> Option<Value> {
    let mut record: JobRecord = serde_json::from_value(changed.clone()).ok()?;
    for peer in &mut record.peers {
        peer.at_fault = peer.fate.is_fault();
        if peer.appraisal.is_none() {
            peer.known = None;
        }
    }
    if let Some(outcome) = &record.outcome {
        record.digest = Some(outcome.digest());
    }
    if let Some(told) = record.told() {
        record.reason = told;
    }
    Some(json(&record))
}

/// `peers.3.fate.why` is `peers.fate.why` of the third.
fn field_of(path: &str) -> (String, Option<usize>) {
    let field: Vec<_> = path.split('.').filter(|p| p.parse::<usize>().is_err()).collect();
    (field.join("."), path.split('.').find_map(|p| p.parse().ok()))
}

#[test]
fn whatever_a_requester_writes_otherwise_is_found_or_listed_as_its_word_alone() {
    let all: Vec<_> = scenarios().into_iter().map(|(_, s)| (json(&Grid::run(&s)), s)).collect();
    let mut donors = Donors::new();
    all.iter().for_each(|(record, _)| donate("", record, &mut donors));
    for class in ["public", "internal", "sensitive"] {
        donors.entry("class".into()).or_default().insert(Value::from(class).to_string());
    }
    // Field: found, listed.
    let (mut listed, mut used) = (BTreeSet::new(), BTreeSet::new());
    let (mut table, mut missed) = (BTreeMap::<String, (u32, u32)>::new(), BTreeMap::<String, u32>::new());
    for (record, scenario) in &all {
        let mut changes = vec![];
        change(record, "", "", &donors, &mut changes);
        let chunk = changes.len().div_ceil(4).max(1);
        let judged: Vec<_> = std::thread::scope(|scope| {
            let judge = |(path, changed): &Change| {
                let (mut field, index) = field_of(path);
                if let (Some(part), true) = (only_in(record, changed), field.starts_with("timeline")) {
                    field = part.into();
                }
                let again = consistent(changed).filter(|c| c != record);
                let survives = holds(scenario, changed) || again.is_some_and(|c| holds(scenario, &c));
                (field, index, !survives)
            };
            let run = |part| scope.spawn(move || <[Change]>::iter(part).map(judge).collect::<Vec<_>>());
            let running: Vec<_> = changes.chunks(chunk).map(run).collect();
            running.into_iter().flat_map(|r| r.join().unwrap()).collect()
        });
        let alone = archive(scenario, record).unwrap().alone().unwrap();
        listed.extend(alone.iter().map(|a| a.field));
        for (field, index, found) in judged {
            let entry = alone.iter().find(|a| {
                let below = a.field != "peers" && field.starts_with(&format!("{}.", a.field));
                let of = a.of.is_empty() || a.field == "split" || index.is_some_and(|i| a.of.contains(&i));
                a.field == "record" || (a.field == field || below) && of
            });
            match (found, entry) {
                (true, _) => table.entry(field).or_default().0 += 1,
                (false, Some(alone)) => {
                    used.insert(alone.field);
                    table.entry(field).or_default().1 += 1;
                }
                (false, None) => *missed.entry(field).or_default() += 1,
            }
        }
    }
    for (field, (found, listed)) in &table {
        eprintln!("{field}: {found} found, {listed} listed");
    }
    assert!(missed.is_empty(), "changed and not found: {missed:#?}");
    let docs = include_str!("../../../../docs/attestation.md");
    let untold: Vec<_> = listed.iter().filter(|field| !docs.contains(&format!("`{field}`"))).collect();
    assert!(untold.is_empty(), "not in docs/attestation.md: {untold:?}");
    // A list that claims too much is no better than a check that is missing. What is left takes more than one change.
    let idle: Vec<_> = listed.difference(&used).copied().collect();
    assert!(idle.iter().all(|field| ["deliverer", "peers.known"].contains(field)), "listed for nothing: {idle:?}");
}

#[test]
fn a_commit_that_is_written_down_twice_is_no_second_one() {
    let mut tried = 0;
    for (_, scenario) in scenarios() {
        let record = json(&Grid::run(&scenario));
        for p in 0..record["peers"].as_array().unwrap().len() {
            let mut twice = record.clone();
            let peer = &mut twice["peers"][p];
            if peer["signed_commit"].is_string() && peer["second_commit"].is_null() {
                peer["second_commit"] = peer["signed_commit"].clone();
                tried += 1;
                assert!(!holds(&scenario, &twice), "{p}: {}", record["peers"][p]["fate"]);
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn an_offer_that_is_signed_again_is_convicted_by_whatever_one_worker_signed() {
    type Lie = fn(&mut Offer, &mut JobRecord);
    let lies: [Lie; 7] = [
        |o, r| (o.class, r.class) = (DataClass::Sensitive, DataClass::Sensitive),
        |o, r| (o.engine, r.engine) = (Hash::from_bytes([9; 32]), Hash::from_bytes([9; 32])),
        |o, r| (o.profile, r.profile) = ("p9".into(), "p9".into()),
        |o, _| o.limits.memory += 1,
        |o, _| o.valid_s += 1,
        |o, r| (o.issued_at, r.at) = (o.issued_at + 1, r.at + 1),
        |o, r| {
            r.quorum += 1;
            let seed = hex::decode(&r.draw).unwrap().try_into().unwrap();
            let (k, quorum, executions) = (r.k as u64, r.quorum as u64, r.executions as u64);
            o.draw = Terms { seed, k, quorum, executions, policy: r.policy }.commitment();
        },
    ];
    let mut nobody = 0;
    for (end, scenario) in scenarios() {
        let record = Grid::run(&scenario);
        let genuine = archive(&scenario, &json(&record)).unwrap();
        let alone = genuine.alone().unwrap().iter().any(|a| a.field == "record");
        nobody += u32::from(alone);
        let payload = hex::decode(&record.offer).unwrap();
        let offer = Signed::<Offer>::open(&payload, Version::LATEST, requester().node_id()).unwrap().message().clone();
        for (n, lie) in lies.iter().enumerate() {
            let (mut offer, mut record) = (offer.clone(), record.clone());
            lie(&mut offer, &mut record);
            let signed = Signed::sign(&requester(), Version::LATEST, offer);
            record.job = OfferId::from_bytes(*signed.content_hash().as_bytes());
            record.offer = hex::encode(signed.to_payload());
            let record = consistent(&json(&record)).unwrap();
            assert_eq!(holds(&scenario, &record), alone, "{end}, lie {n}");
        }
    }
    assert_eq!(nobody, 1);
}

/// Lies of several words that fit each other: what is found is what they are about.
#[test]
fn a_result_without_a_quorum_and_a_seat_out_of_turn_are_found() {
    use Does::*;
    let lone = scenario(&[Agrees, GivesUp, GivesUp], 3, 2);
    let mut record = Grid::run(&lone);
    assert_eq!(record.end, JobEnd::NoQuorum);
    let who = record.peers.iter().position(|p| p.commit.is_some()).unwrap();
    record.end = JobEnd::Verified;
    record.outcome = record.peers[who].commit.clone();
    record.digest = record.outcome.as_ref().map(Outcome::digest);
    record.deliverer = record.peers[who].node;
    record.agreed = record.deliverer.into_iter().collect();
    record.peers[who].fate = Fate::Settled { verdict: Verdict::Delivered };
    record.timeline.retain(|m| m.peer != Some(who) || !matches!(m.what, What::Reset(_)));
    let (done, ms) = (record.timeline.len() - 1, record.timeline.last().unwrap().ms);
    assert_eq!(record.timeline[done].what, What::Done);
    record.timeline.insert(done, Moment { ms, peer: Some(who), what: What::Quorum });
    let found = archive(&lone, &consistent(&json(&record)).unwrap()).unwrap_err().to_string();
    assert!(found.contains("fewer agreed than the quorum"), "{found}");

    let many = scenario(&[GivesUp; 8], 1, 1);
    let mut record = Grid::run(&many);
    let seat = |p| move |m: &Moment| m.peer == Some(p) && matches!(m.what, What::Dispatch { .. });
    let (at, given) =
        record.timeline.iter().enumerate().find_map(|(i, m)| Some((i, m.peer.filter(|p| seat(*p)(m))?))).unwrap();
    let other = (0..8).find(|p| !record.timeline.iter().any(seat(*p))).expect("there are more candidates than seats");
    let swapped = |p: usize| {
        if p == given {
            other
        } else if p == other {
            given
        } else {
            p
        }
    };
    for (i, moment) in record.timeline.iter_mut().enumerate().skip(at) {
        moment.peer = moment.peer.map(swapped);
        if let What::Dispatch { among, .. } = &mut moment.what
            && i > at
        {
            among.iter_mut().for_each(|(p, _)| *p = swapped(*p));
            among.sort_unstable();
        }
    }
    let fate = record.peers[given].fate.clone();
    record.peers[given].fate = std::mem::replace(&mut record.peers[other].fate, fate);
    let found = archive(&many, &consistent(&json(&record)).unwrap()).unwrap_err().to_string();
    assert!(found.contains("another candidate than the draw gives it to"), "{found}");
}

#[test]
fn who_was_given_the_task_has_a_verdict() {
    use Does::*;
    let scenario = Scenario { policy: Some(DEVELOPMENT.into()), ..scenario(&[Agrees, Agrees, Dissents], 3, 2) };
    for p in 0..3 {
        let mut record = Grid::run(&scenario);
        (record.peers[p].appraisal, record.peers[p].known) = (None, None);
        let found = archive(&scenario, &json(&record)).unwrap_err().to_string();
        assert!(found.contains("was given the task, and has not proven enough"), "{found}");
    }
}

#[test]
fn a_log_that_was_made_long_hides_no_seat() {
    use Does::*;
    let scenario = scenario(&[Agrees, Agrees, Agrees], 2, 2);
    let genuine = Grid::run(&scenario);
    let longer = |keeps: fn(&What) -> bool| {
        let mut record = genuine.clone();
        record.timeline.retain(|m| keeps(&m.what));
        let first = record.timeline.iter().find(|m| m.what == What::Offer).unwrap().clone();
        let more = JobRecord::MOMENTS_MAX - record.timeline.len();
        record.timeline.splice(0..0, std::iter::repeat_n(first, more));
        record.peers.iter_mut().for_each(|p| p.input_bytes = 0);
        archive(&scenario, &json(&record)).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(longer(|_| true), Ok(()), "whom it asked, and how often, is its word");
    let found = longer(|what| !matches!(what, What::Dispatch { .. }));
    assert!(found.as_ref().is_err_and(|why| why.contains("before it had the task")), "{found:?}");
    let found = longer(|what| matches!(what, What::Offer | What::Bid | What::Reset(_) | What::Done));
    assert!(found.as_ref().is_err_and(|why| why.contains("more or less often than it signed")), "{found:?}");
}

#[test]
fn a_record_says_nothing_that_an_audit_does_not_know() {
    let (_, scenario) = scenarios().remove(0);
    let record = json(&Grid::run(&scenario));
    for place in ["", "/peers/0", "/timeline/0"] {
        let mut more = record.clone();
        more.pointer_mut(place).unwrap()["certified"] = Value::from(true);
        assert!(matches!(audit::export(&requester(), &more.to_string(), None), Err(AuditError::Form(_))), "{place}");
    }
}

#[test]
fn an_archive_of_another_requester_is_told_from_the_one_that_was_wanted() {
    let (_, scenario) = scenarios().remove(0);
    let opened = archive(&scenario, &json(&Grid::run(&scenario))).unwrap();
    assert!(opened.by(requester().node_id()).is_ok());
    let other = Identity::from_seed([1; 32]);
    assert!(matches!(opened.by(other.node_id()), Err(AuditError::Requester { .. })));
    // Nor is it another's that another signs.
    let text = json(&opened.record).to_string();
    let stolen = audit::export(&other, &text, None).unwrap();
    assert!(matches!(audit::open(&stolen), Err(AuditError::Record(why)) if why.contains("another requester")));
}
