//! One supervised process.
//!
//! A process is started through this very program (`ion exec-child`), which asks the kernel for
//! SIGKILL at the launcher's death (`PR_SET_PDEATHSIG`, prctl(2)) and then becomes the process. That
//! needs no code between fork and exec, and so no `unsafe`. The request survives exec unless the
//! program has file capabilities or set-user-id.

use std::cell::Cell;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, kill_process,
    set_parent_process_death_signal, setrlimit,
};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::backoff::Backoff;
use crate::settings::EX_CONFIG;

/// The hidden command of `ion` that becomes a child process.
pub const EXEC_CHILD: &str = "exec-child";

/// Why a process is not started again.
#[derive(Debug)]
pub enum Refused {
    /// It says that its configuration is wrong, before Ion has been ready once.
    Configuration(&'static str),
    /// It cannot be started, or dies again and again and never came to work.
    Hopeless(&'static str, String),
}

/// A program, how to start it, and the child that runs it now.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    removed_env: Vec<String>,
    backoff: Backoff,
    child: Option<Child>,
}

impl Process {
    /// A process that has not been started.
    pub fn new(name: &'static str, program: PathBuf, backoff: Backoff) -> Self {
        Self {
            name,
            program,
            args: Vec::new(),
            env: Vec::new(),
            removed_env: Vec::new(),
            backoff,
            child: None,
        }
    }

    /// Adds a flag and its value.
    pub fn arg(&mut self, flag: &str, value: impl Into<String>) {
        self.args.extend([flag.to_owned(), value.into()]);
    }

    /// Sets a variable.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Keeps a variable of ours from the process.
    pub fn without_env(&mut self, name: &str) {
        self.removed_env.push(name.to_owned());
    }

    /// Starts the process, and starts it again whenever it dies. Returns only when that makes no
    /// sense any more. Dropping the future leaves the child to [`Process::stop`].
    pub async fn keep_running(&mut self, ready: &Cell<bool>) -> Refused {
        loop {
            let child = match self.command().spawn() {
                Ok(child) => self.child.insert(child),
                Err(error) => return Refused::Hopeless(self.name, error.to_string()),
            };
            let started = Instant::now();
            let ended = child.wait().await;
            self.child = None;
            let how = match ended {
                // Once Ion has been ready, media flows and must not end for what one process finds wrong
                // when it starts anew: a mistake in a file, a port taken meanwhile.
                Ok(status) if status.code() == Some(i32::from(EX_CONFIG)) => {
                    if !ready.get() {
                        return Refused::Configuration(self.name);
                    }
                    "ENDED BECAUSE OF ITS CONFIGURATION (its message is above; correct that, media goes \
                     on meanwhile)"
                        .to_owned()
                }
                Ok(status) => describe(status),
                Err(error) => error.to_string(),
            };
            let delay = self.backoff.died(started.elapsed());
            if self.backoff.is_hopeless() && !ready.get() {
                return Refused::Hopeless(self.name, format!("it {how} each time it was started"));
            }
            eprintln!(
                "ion: {} {how}; starting it again in {} ms",
                self.name,
                delay.as_millis()
            );
            tokio::time::sleep(delay).await;
        }
    }

    /// Asks the process to end, and waits until it has.
    pub async fn stop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It may have ended by itself in this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = child.wait().await;
        self.child = None;
    }

    /// Kills the process, if it still runs.
    pub async fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            eprintln!("ion: {} does not end; killing it", self.name);
            let _ = child.kill().await;
            self.child = None;
        }
    }

    fn command(&self) -> Command {
        // This very program, even when its file has been replaced by an upgrade.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(EXEC_CHILD)
            .arg(std::process::id().to_string())
            .arg(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // Ctrl-C goes to the launcher alone, which stops the processes in order.
            .process_group(0)
            .kill_on_drop(true);
        for name in &self.removed_env {
            command.env_remove(name);
        }
        command
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Becomes `args[0]` with the arguments after it, bound to die with the process `launcher`. Returns
/// only when that fails, with the reason.
pub fn exec_child(launcher: u32, args: &[std::ffi::OsString]) -> String {
    let Some((program, args)) = args.split_first() else {
        return "no program given".to_owned();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot tie the process to its launcher: {error}");
    }
    // The launcher may have died before the kernel knew of our wish.
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned());
    if parent != launcher {
        return "the launcher is gone".to_owned();
    }
    // Connections are descriptors, and the usual soft limit of 1024 dates from select(2).
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
    let error = std::process::Command::new(program).args(args).exec();
    format!("cannot start {}: {error}", program.to_string_lossy())
}
