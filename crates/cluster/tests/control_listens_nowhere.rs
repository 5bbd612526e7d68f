//! `ractor_cluster` insists on a listener of its own. It must not stay open. Alone in its process, so that
//! no other test listens meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster::control::{Control, GatewayHandler};
use transport::cookie::Cookie;
use transport::handshake::Hello;
use transport::{Transport, TransportConfig};

struct Mute;

impl GatewayHandler for Mute {
    async fn asked(&self, _: Hello, question: Vec<u8>) -> Vec<u8> {
        question
    }

    fn told(&self, _: Hello, _: Vec<u8>) {}
}

#[tokio::test]
async fn the_control_plane_listens_nowhere() {
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = TransportConfig {
        listen,
        advertise: None,
        cookie: Cookie::new("cookie"),
    };
    let supervisor = supervisor::Supervisor::start();
    let transport = Transport::bind(config, &supervisor).await.unwrap();
    let before = listening();
    assert_eq!(
        before,
        BTreeSet::from([format!(":{:04X}", transport.address().port())])
    );
    let _control = Control::start(&transport, &supervisor, Arc::new(Mute))
        .await
        .unwrap();
    assert_eq!(listening(), before);
}

/// The ports that this process listens on.
fn listening() -> BTreeSet<String> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let sockets: BTreeSet<_> = links
        .filter_map(|entry| {
            Some(
                std::fs::read_link(entry.ok()?.path())
                    .ok()?
                    .to_str()?
                    .to_owned(),
            )
        })
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| {
            fields.get(3) == Some(&"0A")
                && fields.get(9).is_some_and(|inode| sockets.contains(*inode))
        })
        .map(|fields| fields[1][fields[1].len() - 5..].to_owned())
        .collect()
}
