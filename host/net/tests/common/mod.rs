//! Two nodes and a connection of theirs.

use eider_net::{Connection, Endpoint};
use eider_protocol::Identity;

pub(crate) struct Pair {
    /// Its streams arrive at `accepted`.
    pub(crate) dialled: Connection,
    pub(crate) accepted: Connection,
    _endpoints: [Endpoint; 2],
}

pub(crate) async fn pair() -> Pair {
    let bind = |seed| Endpoint::bind("127.0.0.1:0".parse().unwrap(), &Identity::from_seed([seed; 32])).unwrap();
    let (server, client) = (bind(1), bind(2));
    let address = server.local_addr().unwrap();
    let accepting = async { Endpoint::finish(server.accept().await.unwrap()).await.unwrap() };
    let (dialled, accepted) = tokio::join!(client.connect(address, None), accepting);
    Pair { dialled: dialled.unwrap(), accepted, _endpoints: [server, client] }
}
