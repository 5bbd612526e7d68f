//! Who started a node and waits to hear from it: systemd, by the datagrams of `sd_notify(3)`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the socket.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET";

/// The service manager that started this process, if it asked to be told.
pub(crate) struct ServiceManager {
    socket: Option<OsString>,
}

impl ServiceManager {
    /// The one that listens at what [`VARIABLE`] has: a path, or `@` and a name that is no file.
    pub(crate) fn at(socket: Option<OsString>) -> Self {
        Self { socket }
    }

    /// The node serves. `line` is what it says of itself, which `systemctl status` shows.
    pub(crate) fn is_ready(&self, line: &str) {
        self.tell(&format!("READY=1\nSTATUS={line}"));
    }

    /// The node has been told to stop, and drains.
    pub(crate) fn is_stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// A node that cannot be heard goes on: what it does for its clients does not hang on who watches it.
    fn tell(&self, news: &str) {
        let Some(socket) = &self.socket else {
            return;
        };
        if let Err(error) = send(socket, news) {
            tracing::warn!(%error, "could not tell the service manager at NOTIFY_SOCKET");
        }
    }
}

fn send(socket: &OsStr, news: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    // Full means that nobody reads: no node waits for that.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(news.as_bytes(), &address(socket)?)?;
    Ok(())
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => without_file(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(target_os = "linux")]
fn without_file(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;

    SocketAddr::from_abstract_name(name)
}

/// Only Linux has sockets that are no files.
#[cfg(not(target_os = "linux"))]
fn without_file(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn it_hears_at_a_path() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(Some(path.into()));
        manager.is_ready("weir oskar ready");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=weir oskar ready");
        manager.is_stopping();
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=draining");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_hears_by_a_name_that_is_no_file() {
        let name = format!("weir-service-manager-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&without_file(name.as_bytes()).unwrap()).unwrap();
        ServiceManager::at(Some(format!("@{name}").into())).is_stopping();
        assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=draining");
    }

    #[test]
    fn nobody_has_to_listen() {
        ServiceManager::at(None).is_ready("weir oskar ready");
        ServiceManager::at(Some("/no/such/socket".into())).is_stopping();
        ServiceManager::at(Some("vsock:2:1234".into())).is_stopping();
    }
}
