//! A server of the Redis protocol that answers everything with PONG, in one write for all that a read brought: the floor
//! under every limiter that speaks it over tokio.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PONG: &[u8] = b"+PONG\r\n";

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = vec![0; 16 * 1024];
    let mut output = Vec::new();
    loop {
        let read = stream.read(&mut input).await?;
        if read == 0 {
            return Ok(());
        }
        // Each command is an array, and no word of theirs has a star.
        let asked = input[..read].iter().filter(|&&byte| byte == b'*').count();
        output.clear();
        for _ in 0..asked {
            output.extend_from_slice(PONG);
        }
        stream.write_all(&output).await?;
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream));
    }
}
