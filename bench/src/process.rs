use anyhow::{Context, anyhow, bail};
use ion_io::Signals;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a program may take to end when it is asked to.
const END_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// Bytes of a program's output that are read at most.
const OUTPUT_BYTES: u64 = 64 << 20;

/// A program in a process group of its own, which ends with this value: whatever it has started ends too.
pub struct Background {
    child: Child,
    group: Pid,
    lines: Option<Receiver<String>>,
}

impl Background {
    /// Starts it. Its standard input stays open until it is to end.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            group: Pid::from_child(&child),
            child,
            lines: None,
        })
    }

    /// Its process group.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// The first line that it writes.
    ///
    /// # Errors
    /// When it writes none in time.
    pub fn first_line(&mut self, patience: Duration) -> anyhow::Result<String> {
        let lines = self.read_lines()?;
        lines
            .recv_timeout(patience)
            .map_err(|_| anyhow!("nothing was written in {} s", patience.as_secs()))
    }

    /// Keeps reading its output, so that it never waits for us.
    ///
    /// # Errors
    /// When that is done already.
    pub fn read_lines(&mut self) -> anyhow::Result<&Receiver<String>> {
        if self.lines.is_none() {
            let stdout = self.child.stdout.take().context("its output")?;
            let (sender, lines) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // Read on when nobody listens any more.
                    let _ = sender.send(line);
                }
            });
            self.lines = Some(lines);
        }
        self.lines.as_ref().context("its output")
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// With its status.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it ended with {status}"),
            None => Ok(()),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // A group that is gone is what is wanted.
        let _ = kill_process_group(self.group, Signal::TERM);
        let deadline = Instant::now() + END_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs programs one at a time and ends them when this one is to end.
pub struct Runner {
    signals: Signals,
}

impl Runner {
    /// Call it before there are other threads.
    ///
    /// # Errors
    /// When signals cannot be read.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            signals: Signals::block().context("reading signals")?,
        })
    }

    /// Fails if a signal asks for the end.
    ///
    /// # Errors
    /// Then.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.signals.take() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Runs a program to its end and returns what it wrote.
    ///
    /// # Errors
    /// When it does not exist, fails, takes longer than `limit`, or a signal asks for the end.
    pub fn output(&self, command: Command, limit: Duration) -> anyhow::Result<String> {
        let line = format!("{command:?}");
        let mut program = Background::start(command)?;
        let stdout = program.child.stdout.take().context("its output")?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.take(OUTPUT_BYTES).read_to_string(&mut text)?;
            std::io::Result::Ok(text)
        });
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = program.child.try_wait()? {
                break status;
            }
            self.check()?;
            if Instant::now() > deadline {
                bail!("it took longer than {} s: {line}", limit.as_secs());
            }
            std::thread::sleep(POLL);
        };
        if !status.success() {
            bail!("it ended with {status}: {line}");
        }
        // What it leaves behind would hold its output open.
        drop(program);
        let text = reader.join().map_err(|_| anyhow!("reading its output"))?;
        text.with_context(|| format!("reading the output of {line}"))
    }

    /// The same, for programs that write JSON.
    ///
    /// # Errors
    /// As [`Self::output`], and when it is no JSON.
    pub fn json(&self, command: Command, limit: Duration) -> anyhow::Result<serde_json::Value> {
        let line = format!("{command:?}");
        let text = self.output(command, limit)?;
        serde_json::from_str(&text).with_context(|| format!("what it wrote is no JSON: {line}"))
    }
}

/// CPU time of all processes of a group, nanoseconds.
///
/// # Errors
/// When the kernel has no `schedstat`.
pub fn group_cpu_ns(group: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        // Processes come and go meanwhile.
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else {
            continue;
        };
        if process_group(&stat) != Some(group) {
            continue;
        }
        let Ok(tasks) = std::fs::read_dir(path.join("task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let ns = text.split_whitespace().next();
            total += ns.and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(total)
}

/// The process group in a line of `/proc/PID/stat`: the third field behind the name, which is in
/// parentheses and may hold anything.
fn process_group(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_behind_any_name() {
        assert_eq!(process_group("12 (a) b) S 1 77 77 0 -1"), Some(77));
        assert_eq!(process_group("12 (a"), None);
        assert_eq!(process_group(""), None);
    }

    #[test]
    fn what_a_program_writes_comes_back_and_failures_are_told() {
        let runner = Runner::new().unwrap();
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let long = Duration::from_secs(20);
        let value = runner.json(shell("echo '{\"a\": 1}'"), long).unwrap();
        assert_eq!(value["a"], 1);
        assert!(runner.json(shell("echo no"), long).is_err());
        assert!(runner.output(shell("exit 3"), long).is_err());
        let late = runner.output(shell("sleep 60"), Duration::ZERO);
        assert!(late.unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn a_program_and_what_it_started_end_together() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]);
        let mut program = Background::start(command).unwrap();
        let pid = program.first_line(Duration::from_secs(20)).unwrap();
        program.check().unwrap();
        drop(program);
        // Gone, or a zombie that nobody has collected yet; who is killed on a busy machine dies when it next runs.
        let is_there = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
            state.is_some_and(|state| !state.starts_with('Z'))
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_there() {
            assert!(Instant::now() < deadline, "it lives on");
            std::thread::sleep(POLL);
        }
    }
}
