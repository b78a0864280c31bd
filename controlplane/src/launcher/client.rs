//! A small HTTP/1.1 client for a server on this machine: one GET, no TLS, no redirects, bounded in
//! time and size.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Largest answer, head included.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, decoded from chunks where it came in chunks.
    pub body: String,
}

/// Where to reach a server that listens on `address`: a wildcard is reached on loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address and path of `http://ADDR:PORT/…`.
///
/// # Errors
/// A sentence for the user when the URL is none that this client can fetch.
pub fn parse_url(url: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs as _;
    let rest = url.strip_prefix("http://").ok_or_else(|| {
        format!("{url}: expected http://host:port (there is no TLS in this client)")
    })?;
    let authority = rest.split('/').next().unwrap_or_default();
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, p)| p.parse::<u16>().is_ok());
    let authority = if has_port {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    authority
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| format!("{url}: the host cannot be found"))
}

/// Fetches `path`, with a bearer token where one is given.
///
/// # Errors
/// When the server cannot be reached, takes too long, or does not answer in HTTP.
pub fn get(server: SocketAddr, path: &str, token: Option<&str>) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let authorization = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{authorization}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other("the server does not answer in HTTP"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.")?
        .get(2..5)?
        .parse()
        .ok()?;
    let chunked = lines.any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let body = if chunked {
        unchunk(body)?
    } else {
        body.to_owned()
    };
    Some(Answer { status, body })
}

/// Joins the chunks of RFC 9112 §7.1.
fn unchunk(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(tail.get(..size)?);
        rest = tail.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Option<Answer> {
        Some(Answer {
            status,
            body: body.to_owned(),
        })
    }

    #[test]
    fn answers_with_and_without_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(parse(plain), answer(200, "ok"));
        let chunked =
            b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), answer(503, "abcde"));
    }

    #[test]
    fn what_is_no_http_is_none() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for bad in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
        for bad in [
            "zz\r\n",
            "ffffffffffffffff\r\nab",
            "5\r\nab\r\n0\r\n\r\n",
            "2\r\nabc",
        ] {
            assert_eq!(parse(format!("{chunked}{bad}").as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn wildcards_are_reached_on_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:7880"), "127.0.0.1:7880");
        assert_eq!(reach("[::]:7880"), "[::1]:7880");
        assert_eq!(reach("192.0.2.1:1"), "192.0.2.1:1");
    }

    #[test]
    fn urls() {
        assert_eq!(
            parse_url("http://127.0.0.1:7880/").unwrap().to_string(),
            "127.0.0.1:7880"
        );
        assert_eq!(parse_url("http://[::1]:9").unwrap().to_string(), "[::1]:9");
        assert_eq!(parse_url("http://127.0.0.1").unwrap().port(), 80);
        assert!(
            parse_url("https://127.0.0.1")
                .unwrap_err()
                .contains("no TLS")
        );
        assert!(parse_url("127.0.0.1:7880").is_err());
    }
}
