//! `ion-controlplane`: ICE, DTLS, SDP, WHIP, WHEP, rooms, and the HTTP API.

#![expect(
    clippy::print_stdout,
    reason = "it prints the default settings when asked"
)]

use clap::Parser;
use ion_controlplane::serve::{init_log, serve};
use ion_controlplane::settings::{EX_CONFIG, Flags, Settings};
use std::process::ExitCode;

/// The control plane of Ion: negotiates; `ion-dataplane` forwards.
#[derive(Parser)]
#[command(name = "ion-controlplane", version, about)]
struct Cli {
    /// Print a commented settings file with the defaults, and end
    #[arg(long)]
    print_default_config: bool,
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.print_default_config {
        print!("{}", Settings::default_file());
        return ExitCode::SUCCESS;
    }
    let loaded = match Settings::load(&cli.flags) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("ion-controlplane: {error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    init_log(&loaded.settings);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(serve(&loaded.settings));
            // An attempt to attach may still be under way.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            if error.is_configuration() {
                ExitCode::from(EX_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
