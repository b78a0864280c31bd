//! The server over real sockets on loopback: slow, large, many and cut-off requests.

use std::net::SocketAddr;
use std::time::Duration;

use ion_api::Config;
use ion_api::server::{ServerConfig, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake::*;

/// Longer than anything here takes; a hang fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(config: Config, server: ServerConfig) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Api::with(Fake::default(), config).router;
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, router, server, async {
        let _ = stopped.await;
    }));
    Running {
        address,
        stop,
        task,
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection reset after the answer is as good as its end.
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the server ends the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, length: usize, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/sdp\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_whole_request_is_answered() {
    let running = start(config(true), ServerConfig::default()).await;
    let answer = running.exchange(&post("/whip/a", 3, "v=0")).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nanswer"), "{answer}");
}

#[tokio::test]
async fn a_slow_body_is_408_and_disturbs_nobody() {
    let body_timeout = Duration::from_millis(200);
    let running = start(
        Config {
            body_timeout,
            ..config(true)
        },
        ServerConfig::default(),
    )
    .await;
    let mut slow = running.connect().await;
    slow.write_all(post("/whip/a", 100, "v=0\r\n").as_bytes())
        .await
        .unwrap();
    let quick = running.exchange(&post("/whip/a", 3, "v=0")).await;
    assert!(quick.starts_with("HTTP/1.1 201"), "{quick}");
    let answer = read_all(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("urn:ion:problem:body-timeout"), "{answer}");
}

#[tokio::test]
async fn a_slow_or_idle_head_loses_its_connection() {
    let header_timeout = Duration::from_millis(200);
    let running = start(
        config(true),
        ServerConfig {
            header_timeout,
            ..Default::default()
        },
    )
    .await;
    for start in ["", "POST /whip/a HTTP/1.1\r\nHost:"] {
        let mut stream = running.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_large_body_is_413_and_the_client_learns_it() {
    let running = start(config(true), ServerConfig::default()).await;
    // A client that sends everything before it listens.
    let megabyte = "a".repeat(1 << 20);
    for request in [
        post("/whip/a", megabyte.len(), &megabyte),
        post("/nothing/here", megabyte.len(), &megabyte),
    ] {
        let answer = running.exchange(&request).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("urn:ion:problem:too-large"), "{answer}");
    }
    // Without a length.
    let mut chunked = String::from(
        "POST /whip/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/sdp\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    chunked.push_str(&format!("4000\r\n{}\r\n", "a".repeat(0x4000)).repeat(5));
    chunked.push_str("0\r\n\r\n");
    let answer = running.exchange(&chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn what_is_far_too_large_is_not_waited_for() {
    let running = start(config(true), ServerConfig::default()).await;
    let answer = running.exchange(&post("/whip/a", 1 << 30, "v=0")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let asks = post("/whip/a", 1 << 20, "").replace("Host:", "Expect: 100-continue\r\nHost:");
    let answer = running.exchange(&asks).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn large_heads_are_431() {
    let running = start(config(true), ServerConfig::default()).await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    assert!(running.exchange(&long).await.starts_with("HTTP/1.1 431"));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "a: b\r\n".repeat(100)
    );
    assert!(running.exchange(&many).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_token_of_the_largest_size_fits_into_a_head() {
    let running = start(config(false), ServerConfig::default()).await;
    let token = "t".repeat(ion_api::limits::TOKEN_BYTES);
    let request = format!(
        "DELETE /whip/a/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    assert!(running.exchange(&request).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn who_asks_and_does_not_read_loses_the_connection() {
    let running = start(
        config(true),
        ServerConfig {
            connections: 1,
            unread_timeout: Duration::from_millis(300),
            ..Default::default()
        },
    )
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut deaf = socket.connect(running.address).await.unwrap();
    let asking = async move {
        let requests = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
        while deaf.write_all(&requests).await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("the server ends the connection");
    // And its place is free again.
    let answer = running
        .exchange("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn further_connections_wait_for_a_place() {
    let running = start(
        config(true),
        ServerConfig {
            connections: 1,
            ..Default::default()
        },
    )
    .await;
    let mut first = running.connect().await;
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0u8];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = running.connect().await;
    second
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut byte));
    assert!(early.await.is_err(), "the one place is taken");
    drop(first);
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_returns() {
    let running = start(config(true), ServerConfig::default()).await;
    let mut idle = running.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0u8];
    idle.read_exact(&mut byte).await.unwrap();
    running.stop.send(()).unwrap();
    assert!(read_all(&mut idle).await.starts_with("TTP/1.1 200"));
    tokio::time::timeout(PATIENCE, running.task)
        .await
        .expect("serve returns")
        .unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}
