//! Connections: how many, how slow, how long, and how they end.

use coordinator::{FailMode, Policy, Strategy};
use limiter::Front;
use quota::{Algorithm, Limit, Nanos};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use fake_node::FakeNode;

/// A front on a port of its own.
struct Served {
    address: std::net::SocketAddr,
    node: Arc<FakeNode>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Served {
    async fn start() -> Self {
        let login = Policy {
            namespace: "default".into(),
            name: "login".into(),
            limit: Limit::new(Algorithm::Gcra, 100_000, Nanos::from_secs(60)).unwrap(),
            strategy: Strategy::Owner,
            on_failure: FailMode::Deny,
            top_keys: false,
        };
        let node = Arc::new(FakeNode::new());
        let limiter = Limiter::new(Arc::clone(&node), "default".into(), [login], Front::Resp);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, limiter, RespConfig::default(), async {
            let _dropped = stopped.await;
        }));
        Self {
            address,
            node,
            stop: Some(stop),
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

async fn read_until(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    let whole = tokio::time::timeout(PATIENCE, stream.read_exact(&mut read));
    whole.await.expect("it is answered in time").unwrap();
    read
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let whole = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read));
    whole.await.expect("it ends in time").unwrap();
    String::from_utf8(read).unwrap()
}

/// One small write for each reply would make a client wait 40 ms for what its kernel acknowledges late.
#[tokio::test]
async fn replies_of_a_pipeline_leave_in_one_write() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    client
        .write_all(&b"WEIR.CHECK login ada\r\n".repeat(16))
        .await
        .unwrap();
    client.readable().await.unwrap();
    let mut read = vec![0; 64 * 1024];
    let bytes = client.read(&mut read).await.unwrap();
    assert_eq!(
        read[..bytes].iter().filter(|&&byte| byte == b'*').count(),
        16
    );
    assert_eq!(*served.node.batches.lock().unwrap(), [16]);
}

#[tokio::test]
async fn a_command_in_single_bytes_is_answered() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    for byte in b"*3\r\n$10\r\nWEIR.CHECK\r\n$5\r\nlogin\r\n$3\r\nada\r\n" {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_until(&mut client, 8).await, b"*6\r\n:1\r\n");
}

#[tokio::test]
async fn what_is_no_command_is_told_and_the_connection_ends() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    // More than is read: a kernel that has unread bytes takes back what it was to send.
    let mut input = b"PING\r\n*1\r\n$65537\r\n".to_vec();
    input.extend_from_slice(&[b'x'; 60_000]);
    client.write_all(&input).await.unwrap();
    let told = read_to_end(&mut client).await;
    assert_eq!(
        told,
        "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"
    );
}

#[tokio::test]
async fn who_quits_or_closes_has_his_answers() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    client.write_all(b"PING\r\nQUIT\r\nPING\r\n").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "+PONG\r\n+OK\r\n");
    let mut client = served.connect().await;
    client.write_all(b"PING\r\nPING\r\nPI").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "+PONG\r\n+PONG\r\n");
}

#[tokio::test]
async fn the_largest_command_is_echoed() {
    let served = Served::start().await;
    let mut client = served.connect().await;
    let message = "x".repeat(64 * 1024);
    let bulk = format!("$65536\r\n{message}\r\n");
    client
        .write_all(format!("*2\r\n$4\r\nECHO\r\n{bulk}").as_bytes())
        .await
        .unwrap();
    assert_eq!(read_until(&mut client, bulk.len()).await, bulk.as_bytes());
}

/// Of 300 that begin a large command at once, 256 have the memory for it, whichever these are.
#[tokio::test]
async fn who_finds_all_memory_taken_is_told_so_and_the_connection_ends() {
    let served = Served::start().await;
    let bulk = format!("$60000\r\n{}\r\n", "x".repeat(60_000));
    let command = format!("PING\r\n*2\r\n$4\r\nECHO\r\n{bulk}");
    let (begun, rest) = command.split_at(10_000);
    let go_on = Arc::new(Semaphore::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..300 {
        let mut client = served.connect().await;
        let (begun, rest, length) = (begun.to_owned(), rest.to_owned(), bulk.len());
        let go_on = Arc::clone(&go_on);
        clients.spawn(async move {
            client.write_all(begun.as_bytes()).await.unwrap();
            assert_eq!(read_until(&mut client, 7).await, b"+PONG\r\n");
            tokio::select! {
                told = read_to_end(&mut client) => told,
                _ = go_on.acquire() => {
                    client.write_all(rest.as_bytes()).await.unwrap();
                    let echo = read_until(&mut client, length).await;
                    String::from_utf8(echo).unwrap()
                }
            }
        });
    }
    for _ in 256..300 {
        let told = clients.join_next().await.unwrap().unwrap();
        assert_eq!(
            told,
            "-ERR requests and answers in flight take all the memory that they may; nothing was counted\r\n"
        );
    }
    go_on.add_permits(256);
    assert!(clients.join_all().await.iter().all(|echo| *echo == bulk));
}

/// A client that asks and does not read makes the front hold no more than one share of its replies.
#[tokio::test]
async fn who_does_not_read_is_not_read() {
    let served = Served::start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut client = socket.connect(served.address).await.unwrap();
    let pipeline = b"WEIR.CHECK login ada\r\n".repeat(1_000);
    // Sent until nothing is taken any more: what the buffers of two kernels hold, some MiB.
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), client.write(&pipeline)).await
    {
        sent += written.unwrap();
        assert!(sent < 64 * 1024 * 1024, "it is read for ever");
    }
    let asked: usize = served.node.batches.lock().unwrap().iter().sum();
    assert!(asked < sent / 22, "{asked} of {} were asked", sent / 22);
    // Nobody else waits.
    let mut other = served.connect().await;
    other.write_all(b"PING\r\n").await.unwrap();
    assert_eq!(read_until(&mut other, 7).await, b"+PONG\r\n");
    // And it goes on where it was, once it reads.
    let mut stars = 0;
    let mut read = vec![0; 64 * 1024];
    while stars < asked + 100 {
        let bytes = tokio::time::timeout(PATIENCE, client.read(&mut read))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(bytes, 0);
        stars += read[..bytes].iter().filter(|&&byte| byte == b'*').count();
    }
}

/// What has arrived is answered, then connections end, those first that wait for nothing.
#[tokio::test]
async fn a_drain_answers_who_has_asked() {
    let mut served = Served::start().await;
    let mut idle = served.connect().await;
    let mut partial = served.connect().await;
    let mut asking = served.connect().await;
    for client in [&mut idle, &mut partial, &mut asking] {
        client.write_all(b"PING\r\n").await.unwrap();
        read_until(client, 7).await;
    }
    partial.write_all(b"PIN").await.unwrap();
    served.stop.take().unwrap().send(()).unwrap();
    asking
        .write_all(&b"WEIR.CHECK login ada\r\n".repeat(600))
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut asking).await.matches('*').count(), 600);
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut partial).await, "");
    tokio::time::timeout(PATIENCE, served.serving)
        .await
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
