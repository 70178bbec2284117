//! Services that hang, flood, lie and send elsewhere.

use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use eider_attest_device::collateral::{FetchError, Host};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::lab::NOW;
use super::machine::{Machine, PATIENCE, amd};
use super::server::{Reply, Server};
use super::snp::{LIST, VCEK, machine};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// One fetch: it fails in time, says of which address, and nothing is kept.
fn fails(what: &str, server: &Server, machine: &Machine) -> FetchError {
    let started = Instant::now();
    let why = machine.failed(NOW);
    assert!(started.elapsed() < 2 * PATIENCE, "{what}: {:?}", started.elapsed());
    assert!(why.to_string().contains(&server.address.to_string()), "{what}: {why}");
    assert!(why.to_string().contains("`[collateral]`") || why.to_string().contains("again later"), "{what}: {why}");
    assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new(), "{what}");
    assert!(!machine.folder.path().join("sev-snp").exists(), "{what}");
    why
}

#[test]
fn a_service_that_hangs_drips_or_floods_ends_in_time_and_size() {
    let raw = |text: &str| format!("{OK}{text}").into_bytes();
    let flood = vec![b'x'; 64 << 10];
    let chunk = [&b"10000\r\n"[..], &flood, b"\r\n"].concat();
    for (what, reply, word) in [
        ("hangs", Reply::Hang, "timeout"),
        ("drips its headers", Reply::Drip(raw("x: ")), "timeout"),
        ("drips its body", Reply::Drip(raw("content-length: 100000\r\n\r\n")), "timeout"),
        ("sends a body without end", Reply::Endless(raw("\r\n"), flood.clone()), "limit"),
        ("sends chunks without end", Reply::Endless(raw("transfer-encoding: chunked\r\n\r\n"), chunk), "limit"),
        ("says a length beyond all bounds", Reply::Endless(raw("content-length: 99999999999\r\n\r\n"), flood), "limit"),
        ("sends headers without end", Reply::Endless(raw(""), b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".to_vec()), ""),
    ] {
        let (_, server, machine) = machine(5, (10, 28));
        server.reply(VCEK, reply);
        let why = fails(what, &server, &machine);
        assert!(matches!(why, FetchError::Unreachable { .. }), "{what}: {why}");
        assert!(why.to_string().contains(word), "{what}: {why}");
    }
}

#[test]
fn a_service_that_breaks_off_or_speaks_something_else_is_refused() {
    for (what, bytes) in [
        ("says nothing", String::new()),
        ("breaks off", format!("{OK}content-length: 1000\r\n\r\nshort")),
        ("breaks off in its headers", format!("{OK}content-le")),
        ("speaks SSH", "SSH-2.0-OpenSSH_9.2\r\n".into()),
        ("says no number for a length", format!("{OK}content-length: many\r\n\r\nx")),
        ("breaks off in a chunk", format!("{OK}transfer-encoding: chunked\r\n\r\nff\r\nshort")),
        ("says no number for a chunk", format!("{OK}transfer-encoding: chunked\r\n\r\nzz\r\nshort\r\n")),
    ] {
        let (_, server, machine) = machine(5, (10, 28));
        server.reply(VCEK, Reply::Raw(bytes.into()));
        let why = fails(what, &server, &machine);
        assert!(matches!(why, FetchError::Unreachable { .. }), "{what}: {why}");
    }
    // A length that is too short cuts a certificate.
    let (lab, server, machine) = machine(5, (10, 28));
    let list = lab.list(5, &[], (10, 28));
    server.reply(LIST, Reply::Raw([format!("{OK}content-length: 20\r\n\r\n").as_bytes(), &list].concat()));
    assert!(matches!(machine.failed(NOW), FetchError::Refused(_)));
    assert_eq!(machine.staple(NOW), Vec::<Vec<u8>>::new());
}

#[test]
fn no_redirect_is_followed_and_errors_of_a_service_say_what_to_do() {
    let elsewhere = Server::start();
    let location = format!("location: http://{}/certificate\r\n", elsewhere.address);
    for (status, headers, word) in [
        ("301 Moved Permanently", location.as_str(), "redirect"),
        ("302 Found", &location, "redirect"),
        ("307 Temporary Redirect", "location: /elsewhere\r\n", "redirect"),
        ("308 Permanent Redirect", &location, "redirect"),
        ("204 No Content", "", "204"),
        ("403 Forbidden", "", "vendor's service"),
        ("404 Not Found", "", "does not know this machine"),
        ("429 Too Many Requests", "", "asked too often"),
        ("500 Internal Server Error", "", "fault of the service"),
    ] {
        let (_, server, machine) = machine(5, (10, 28));
        server.reply(VCEK, Reply::status(status, headers));
        let why = fails(status, &server, &machine);
        assert!(matches!(why, FetchError::Status { .. }) && why.to_string().contains(word), "{status}: {why}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
    assert_eq!(elsewhere.asked(), [""; 0]);
}

#[test]
fn a_service_of_https_shows_a_certificate_of_a_public_authority_or_is_told_nothing() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certified.cert.der().to_vec())], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut heard = vec![];
        let _ = rustls::Stream::new(&mut tls, &mut stream).read_to_end(&mut heard);
        heard
    });
    let (lab, plain, laboratory) = machine(5, (10, 28));
    let source = |address: &str| amd(Host::try_from(format!("https://{address}")).unwrap(), lab.root());
    let machine = Machine::new(source(&address.to_string()), laboratory.evidence.clone(), vec![]);
    let why = machine.failed(NOW);
    assert!(matches!(why, FetchError::Unreachable { .. }) && why.to_string().contains("certificate"), "{why}");
    assert_eq!(heard.join().unwrap(), b"", "no request");
    // Who speaks no TLS is not spoken to without.
    let machine = Machine::new(source(&plain.address.to_string()), laboratory.evidence, vec![]);
    assert!(matches!(machine.failed(NOW), FetchError::Unreachable { .. }));
    assert_eq!(plain.asked(), [""; 0]);
}
