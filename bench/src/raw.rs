use crate::process::Runner;
use crate::scenario::Scenario;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long starting, programming rows and ending may take, beside what is measured.
const OVERHEAD: Duration = Duration::from_secs(45);

/// How `ion-loadtest raw` is run.
#[derive(Debug, Clone)]
pub struct RawRun {
    /// The `ion-loadtest` program.
    pub loadtest: PathBuf,
    /// The dataplane under test.
    pub dataplane: PathBuf,
    /// Further arguments for that, separated by spaces.
    pub args: String,
    /// Forwarding threads.
    pub workers: u16,
    /// Seconds that are measured.
    pub seconds: u64,
    /// Times real time; 0 is as fast as it goes.
    pub speed: f64,
    /// Viewers send transport-wide feedback, as browsers do.
    pub feedback: bool,
}

impl RawRun {
    /// Measures a scenario once; gives the JSON of the run.
    ///
    /// # Errors
    /// When a program is missing or fails, or nothing was delivered.
    pub fn measure(&self, runner: &Runner, scenario: &Scenario) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.loadtest);
        command
            .arg("raw")
            .arg("--json")
            .arg("--dataplane")
            .arg(&self.dataplane)
            .args(["--dataplane-args", &self.args])
            .args(["--workers", &self.workers.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .args(["--speed", &self.speed.to_string()])
            .args(scenario.raw_args())
            .args(self.feedback.then_some("--feedback"));
        // Workers take the last cores: the generator goes to the first.
        if let Some(core) = ion_io::affinity::allowed_cores()?.first() {
            command.args(["--core", &core.to_string()]);
        }
        let limit = Duration::from_secs(self.seconds) + OVERHEAD;
        let result = runner
            .json(command, limit)
            .with_context(|| format!("measuring {scenario} (build both with `make bench`)"))?;
        let received = result["packets_received"].as_u64().unwrap_or(0);
        ensure!(received > 0, "{scenario}: nothing was delivered");
        Ok(result)
    }
}
