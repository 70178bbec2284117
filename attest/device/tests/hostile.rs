//! A TPM that answers with anything.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use eider_attest::tpm2::Credential;
use eider_attest_device::{Tpm, TpmError, read_log};

/// A server that answers every command of one connection with the next of these, and then hangs up.
fn answering(answers: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut command = [0; 4096];
        for answer in answers {
            match stream.read(&mut command) {
                Ok(read) if read > 0 && stream.write_all(&answer).is_ok() => {}
                _ => return,
            }
        }
    });
    address
}

fn response(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 10).unwrap();
    [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

/// All that asks a TPM for something.
fn ask(tpm: &mut Tpm) -> Vec<TpmError> {
    let [rsa, ecc] = [256, 68].map(|len| Credential { blob: vec![1; 68], secret: vec![2; len] });
    let answers = [
        tpm.ek_certificate().map(|_| ()),
        tpm.ak().map(|_| ()),
        tpm.pcrs(&[0]).map(|_| ()),
        tpm.quote(&[0], &[0; 32]).map(|_| ()),
        tpm.activate(&rsa).map(|_| ()),
        tpm.activate(&ecc).map(|_| ()),
    ];
    answers.into_iter().filter_map(Result::err).collect()
}

#[test]
fn no_answer_makes_it_panic_or_pass_for_a_quote() {
    // From a fixed seed: a linear congruential generator is random enough here.
    let mut state = 7_u32;
    let mut byte = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    for round in 0..200 {
        let body: Vec<u8> = (0..round % 60).map(|n| if n % 3 == 0 { byte() } else { 0 }).collect();
        let tag = if round % 2 == 0 { 0x8001 } else { 0x8002 };
        let mut tpm = Tpm::connect(answering(vec![response(tag, 0, &body); 12])).unwrap();
        for error in ask(&mut tpm) {
            assert!(!error.to_string().is_empty());
        }
        let mut tpm = Tpm::connect(answering(vec![response(tag, 0, &body); 12])).unwrap();
        assert!(tpm.quote(&[0], &[0; 32]).is_err());
    }
}

#[test]
fn lengths_that_lie_are_errors() {
    let short = [0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0];
    let long = [0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    for answer in [short, long] {
        let mut tpm = Tpm::connect(answering(vec![answer.to_vec()])).unwrap();
        assert!(matches!(tpm.pcrs(&[0]), Err(TpmError::Io { .. })));
    }
    let mut tpm = Tpm::connect(answering(vec![])).unwrap();
    assert!(matches!(tpm.pcrs(&[0]), Err(TpmError::Io { .. })), "it hangs up");
}

#[test]
fn a_busy_tpm_is_asked_again() {
    let value = [&[0, 0, 0, 9, 0, 0, 0, 1, 0, 11, 3, 1, 0, 0, 0, 0, 0, 1, 0, 32][..], &[6; 32]].concat();
    let busy = response(0x8001, 0x922, &[]);
    let mut tpm = Tpm::connect(answering(vec![busy.clone(), busy, response(0x8001, 0, &value)])).unwrap();
    assert_eq!(tpm.pcrs(&[0]).unwrap()[&0], [6; 32]);
}

#[test]
fn what_is_missing_is_told_with_its_fix() {
    // Neither of an RSA key nor of one of P-256.
    let address = answering(vec![response(0x8001, 0x18b, &[]); 2]);
    let error = Tpm::connect(address).unwrap().ek_certificate().unwrap_err();
    assert!(matches!(error, TpmError::NoCertificate { index: 0x01c0_000a, code: 0x18b }));
    assert!(error.to_string().contains("fetch it from the"), "{error}");
    let error = Tpm::open("/nonexistent/tpm".as_ref()).unwrap_err().to_string();
    assert!(error.contains("switch it on in the firmware"), "{error}");
    let error = read_log("/nonexistent/log".as_ref()).unwrap_err().to_string();
    assert!(error.contains("read it as root"), "{error}");
    assert!(read_log("/dev/zero".as_ref()).unwrap_err().to_string().contains("more than"));
}
