//! `ion run` with shell scripts in the place of the two processes: start, restart, stop, refusal.
//! The test itself answers `/readyz`.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes; a hang fails the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until SIGTERM, and notes when it begins and ends.
const WELL: &str = "#!/bin/sh
trap 'echo \"$0 ends\" >> \"$0.log\"; echo \"${0##*/}\" >> \"${0%/*}/order\"; exit 0' TERM
echo $$ >> \"$0.pids\"
echo \"$@\" > \"$0.args\"
env > \"$0.env\"
mkdir -p \"${0%/*}/var\"
: > \"${0%/*}/var/dataplane.sock\"
while :; do sleep 0.02; done
";

const DEAF: &str = "#!/bin/sh
trap '' TERM
echo $$ >> \"$0.pids\"
while :; do sleep 0.02; done
";

struct Site {
    folder: PathBuf,
    http: TcpListener,
}

struct Launcher(Child);

impl Drop for Launcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// A folder with `ion` and the two scripts.
    fn new(name: &str, dataplane: &str, control: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("launcher-{name}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_ion"), folder.join("ion")).unwrap();
        for (script, text) in [("ion-dataplane", dataplane), ("ion-controlplane", control)] {
            let path = folder.join(script);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            folder,
            http: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn start(&self) -> Launcher {
        let mut command = Command::new(self.folder.join("ion"));
        command
            .args([
                "run",
                "--workers",
                "3",
                "--io",
                "socket",
                "--keys",
                "k: hidden-secret",
            ])
            .args(["--media", "127.0.0.1:1,[::1]:1", "--state-dir", "./var"])
            .current_dir(&self.folder)
            .env("ION_HTTP", self.http.local_addr().unwrap().to_string())
            .env("ION_KEYS", "e: hidden-secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Another test's child, forked while our copy was being written, may hold it open until it has its own program.
        loop {
            match command.spawn() {
                Ok(launcher) => return Launcher(launcher),
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Answers one look at `/readyz`.
    fn be_ready(&self) {
        let (mut stream, _) = self.http.accept().unwrap();
        let mut head = [0u8; 512];
        let length = stream.read(&mut head).unwrap();
        assert!(head[..length].starts_with(b"GET /readyz "));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }

    /// Process ids that a script has had so far, at least `count` of them.
    fn pids(&self, script: &str, count: usize) -> Vec<Pid> {
        let file = format!("{script}.pids");
        until(|| self.read(&file).lines().count() >= count);
        let number = |line: &str| Pid::from_raw(line.parse().unwrap()).unwrap();
        self.read(&file).lines().map(number).collect()
    }
}

impl Launcher {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn starts_both_says_where_and_stops_control_first() {
    let site = Site::new("order", WELL, WELL);
    let mut launcher = site.start();
    site.be_ready();
    let mut line = String::new();
    BufReader::new(launcher.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(
        line,
        format!(
            "Ion is running: http://{}/\n",
            site.http.local_addr().unwrap()
        )
    );
    let (dataplane, control) = (
        site.pids("ion-dataplane", 1),
        site.pids("ion-controlplane", 1),
    );

    until(|| !site.read("ion-dataplane.args").is_empty());
    assert_eq!(
        site.read("ion-dataplane.args").trim(),
        "--media 127.0.0.1:1 --media [::1]:1 --workers 3 --io socket --state-dir ./var"
    );
    until(|| site.read("ion-controlplane.env").contains("ION_KEYS"));
    let env = site.read("ion-controlplane.env");
    assert!(
        env.contains("ION_KEYS=k: hidden-secret") && env.contains("ION_WORKERS=3"),
        "{env}"
    );
    assert_eq!(
        site.read("ion-controlplane.args").trim(),
        "",
        "no secret in the process list"
    );
    assert!(!site.read("ion-dataplane.env").contains("hidden-secret"));

    launcher.signal(Signal::TERM);
    assert_eq!(launcher.wait().code(), Some(0));
    assert_eq!(site.read("order"), "ion-controlplane\nion-dataplane\n");
    assert!(!is_alive(dataplane[0]) && !is_alive(control[0]));
}

#[test]
fn what_dies_is_started_again_and_the_other_left_alone() {
    let site = Site::new("restart", WELL, WELL);
    let mut launcher = site.start();
    let dataplane = site.pids("ion-dataplane", 1);
    for deaths in 1..=3 {
        let control = site.pids("ion-controlplane", deaths);
        kill_process(control[deaths - 1], Signal::KILL).unwrap();
    }
    site.pids("ion-controlplane", 4);
    assert_eq!(site.pids("ion-dataplane", 1), dataplane);
    assert!(is_alive(dataplane[0]));
    launcher.signal(Signal::INT);
    assert_eq!(launcher.wait().code(), Some(0));
    let told = launcher.stderr();
    assert!(told.contains("ion-controlplane was ended by signal 9; starting it again in 0 ms"));
    assert!(
        told.contains("in 50 ms") && told.contains("in 100 ms"),
        "{told}"
    );
}

#[test]
fn nothing_outlives_a_launcher_that_is_killed() {
    let site = Site::new("orphans", WELL, DEAF);
    let mut launcher = site.start();
    let pids = [
        site.pids("ion-dataplane", 1),
        site.pids("ion-controlplane", 1),
    ]
    .concat();
    launcher.signal(Signal::KILL);
    launcher.wait();
    until(|| pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_second_signal_kills_what_does_not_listen() {
    let site = Site::new("deaf", WELL, DEAF);
    let mut launcher = site.start();
    let pids = [
        site.pids("ion-dataplane", 1),
        site.pids("ion-controlplane", 1),
    ]
    .concat();
    launcher.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(50));
    launcher.signal(Signal::TERM);
    assert_eq!(launcher.wait().code(), Some(1));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(launcher.stderr().contains("ion-controlplane does not end"));
}

#[test]
fn a_configuration_error_ends_everything_with_its_message() {
    let refusing = "#!/bin/sh\necho 'the media port 1 is in use' >&2\nexit 78\n";
    let site = Site::new("config", refusing, WELL);
    let mut launcher = site.start();
    assert_eq!(launcher.wait().code(), Some(78));
    let told = launcher.stderr();
    assert!(told.contains("the media port 1 is in use"), "{told}");
    assert!(
        told.contains("ion-dataplane cannot run with this configuration"),
        "{told}"
    );
    let control = site.read("ion-controlplane.pids");
    assert!(
        control
            .lines()
            .all(|pid| !is_alive(Pid::from_raw(pid.parse().unwrap()).unwrap()))
    );
}

#[test]
fn a_configuration_error_after_ion_was_ready_leaves_media_alone() {
    // Runs well the first time, and finds its configuration wrong the second.
    let control = format!(
        "#!/bin/sh\nif [ -e \"$0.pids\" ] && [ ! -e \"$0.refused\" ]; then : > \"$0.refused\"; exit 78; fi\n{}",
        WELL.trim_start_matches("#!/bin/sh\n")
    );
    let site = Site::new("config-later", WELL, &control);
    let mut launcher = site.start();
    site.be_ready();
    let mut line = String::new();
    BufReader::new(launcher.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let dataplane = site.pids("ion-dataplane", 1);
    kill_process(site.pids("ion-controlplane", 1)[0], Signal::KILL).unwrap();
    site.pids("ion-controlplane", 2);
    assert!(site.folder.join("ion-controlplane.refused").exists());
    assert_eq!(site.pids("ion-dataplane", 1), dataplane);
    assert!(is_alive(dataplane[0]));
    launcher.signal(Signal::TERM);
    assert_eq!(launcher.wait().code(), Some(0));
    let told = launcher.stderr();
    assert!(
        told.contains("ion-controlplane ENDED BECAUSE OF ITS CONFIGURATION"),
        "{told}"
    );
}

#[test]
fn one_launcher_for_a_state_folder() {
    let site = Site::new("twice", WELL, WELL);
    let _first = site.start();
    site.pids("ion-controlplane", 1);
    let mut second = site.start();
    assert_eq!(second.wait().code(), Some(78));
    assert!(second.stderr().contains("another ion runs in ./var"));
}

#[test]
fn a_missing_program_is_named() {
    let site = Site::new("missing", WELL, WELL);
    std::fs::remove_file(site.folder.join("ion-dataplane")).unwrap();
    let mut launcher = site.start();
    assert_eq!(launcher.wait().code(), Some(78));
    assert!(launcher.stderr().contains("ion-dataplane is not in "));
}
