use crate::compare::Comparison;
use crate::cpu::float;
use crate::metric::SERVER;
use crate::process::{Background, Runner, group_cpu_ns};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a server may take until its HTTP port answers.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a run may take beside its duration.
const OVERHEAD: Duration = Duration::from_secs(120);

/// One server: how it is started, and where it is then.
#[derive(Debug, Clone)]
pub struct Server {
    /// A shell command that runs it in the foreground; empty if it runs already.
    pub start: String,
    /// WHIP address; `{room}` stands for the room.
    pub whip: String,
    /// WHEP address.
    pub whep: String,
}

/// What is run against each.
#[derive(Debug, Clone)]
pub struct ServerRun {
    /// The `ion-loadtest` program.
    pub loadtest: PathBuf,
    /// Arguments of `ion-loadtest run` besides addresses and files, such as `--viewers 50`.
    pub args: Vec<String>,
    /// Seconds that all viewers are there.
    pub seconds: u64,
}

impl ServerRun {
    /// Starts a server, runs the load and ends it; gives the JSON of the run, with `cpu_ns_per_packet` and
    /// `cpu_share` of the server's processes if we have started them.
    ///
    /// # Errors
    /// When the server does not start, or the run fails.
    pub fn measure(&self, runner: &Runner, server: &Server) -> anyhow::Result<Value> {
        let mut started = None;
        if !server.start.is_empty() {
            let mut command = Command::new("sh");
            command.args(["-c", &server.start]);
            let mut background = Background::start(command)?;
            background.read_lines()?;
            started = Some(background);
        }
        wait_for(runner, &server.whip, started.as_mut())
            .with_context(|| format!("waiting for {}", server.whip))?;
        let cpu = |server: &Option<Background>| -> anyhow::Result<Option<u64>> {
            server.as_ref().map(|s| group_cpu_ns(s.group())).transpose()
        };
        let file = std::env::temp_dir().join(format!("ion-bench-{}.json", std::process::id()));
        let (before, since) = (cpu(&started)?, Instant::now());
        let mut command = Command::new(&self.loadtest);
        command
            .arg("run")
            .args(["--whip", &server.whip, "--whep", &server.whep])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(&self.args)
            .arg("--json")
            .arg(&file);
        let limit = Duration::from_secs(self.seconds) + OVERHEAD;
        let outcome = runner.output(command, limit);
        let text = std::fs::read_to_string(&file);
        let _ = std::fs::remove_file(&file);
        outcome?;
        let mut result: Value = serde_json::from_str(&text.context("the run wrote no JSON")?)?;
        if let (Some(before), Some(after)) = (before, cpu(&started)?) {
            let used = float(after.saturating_sub(before));
            let received = result["packets_received"].as_f64().unwrap_or(0.0);
            result["cpu_ns_per_packet"] = json!(used / received.max(1.0));
            result["cpu_share"] = json!(used / since.elapsed().as_secs_f64() / 1e9);
        }
        Ok(result)
    }
}

/// Waits until the server's HTTP port answers.
fn wait_for(runner: &Runner, url: &str, mut server: Option<&mut Background>) -> anyhow::Result<()> {
    let authority = authority(url).context("an address is http://HOST[:PORT]/…")?;
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        runner.check()?;
        if let Some(server) = &mut server {
            server.check()?;
        }
        let mut addresses = authority.to_socket_addrs()?;
        if addresses.any(|a| TcpStream::connect_timeout(&a, Duration::from_secs(1)).is_ok()) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "nothing answers at {authority} after {} s",
            START_PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Host and port of an address.
fn authority(url: &str) -> Option<String> {
    let (rest, port) = match url.split_once("://")? {
        ("http", rest) => (rest, 80),
        ("https", rest) => (rest, 443),
        _ => return None,
    };
    let host = rest
        .split(['/', '?'])
        .next()
        .filter(|host| !host.is_empty())?;
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    })
}

/// Runs two servers in turn, A B A B.
///
/// # Errors
/// When a run fails.
pub fn compare(
    runner: &Runner,
    run: &ServerRun,
    servers: &[Server; 2],
    rounds: u32,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<Comparison> {
    let mut results = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (name, (server, results)) in ["A", "B"].iter().zip(servers.iter().zip(&mut results)) {
            let result = run.measure(runner, server)?;
            progress(&format!(
                "round {round} of {rounds}, {name}: {} packets, loss {}",
                result["packets_received"], result["loss"]
            ));
            results.push(result);
        }
    }
    let [a, b] = &results;
    Ok(Comparison::of(&run.args.join(" "), SERVER, a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_come_from_the_address() {
        let cases = [
            ("http://127.0.0.1:7880/whip/{room}", "127.0.0.1:7880"),
            ("https://example.org/whip?x", "example.org:443"),
            ("http://[::1]:80", "[::1]:80"),
            ("http://[::1]/x", "[::1]:80"),
        ];
        for (url, expected) in cases {
            assert_eq!(authority(url).as_deref(), Some(expected));
        }
        for bad in ["", "127.0.0.1:80", "ftp://x/", "http:///x"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }
}
