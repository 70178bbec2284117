//! A service of HTTP on this machine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eider_attest_device::collateral::Host;

/// What is said to a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status 200, headers, and a body of the length that is said.
    Good(Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, and the end.
    Raw(Vec<u8>),
    /// These bytes, and then these again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, and then one more every 50 ms.
    Drip(Vec<u8>),
    /// Nothing, and the connection stays.
    Hang,
}

impl Reply {
    pub(crate) fn body(body: &[u8]) -> Self {
        Self::Good(vec![], body.to_vec())
    }

    /// Another status.
    pub(crate) fn status(status: &str, headers: &str) -> Self {
        Self::Raw(format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n").into())
    }
}

/// It answers what begins so; everything else is not found.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), replies: Arc::default(), asked: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        server
    }

    pub(crate) fn host(&self) -> Host {
        Host::try_from(format!("http://{}", self.address)).unwrap()
    }

    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.into(), reply);
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Waits until something is asked for.
    pub(crate) fn wait(&self) {
        while self.asked.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut head = vec![];
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let Some(path) = head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) else { return };
        self.asked.lock().unwrap().push(path.into());
        let replies = self.replies.lock().unwrap().clone();
        let reply = replies.into_iter().find(|(begins, _)| path.starts_with(begins.as_str())).map(|(_, reply)| reply);
        // A client that has heard enough hangs up.
        let _ = match reply.unwrap_or(Reply::status("404 Not Found", "")) {
            Reply::Good(headers, body) => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let head =
                    format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat())
            }
            Reply::Raw(bytes) => stream.write_all(&bytes),
            Reply::Endless(first, again) => {
                let mut sent = stream.write_all(&first);
                while sent.is_ok() {
                    sent = stream.write_all(&again);
                }
                sent
            }
            Reply::Drip(first) => {
                let mut sent = stream.write_all(&first);
                while sent.is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                    sent = stream.write_all(b"x");
                }
                sent
            }
            Reply::Hang => {
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            }
        };
    }
}
