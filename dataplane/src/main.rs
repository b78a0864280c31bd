//! `ion-dataplane`: the forwarding process. Everything is in the library.
#![forbid(unsafe_code)]

use clap::Parser;
use clap::error::ErrorKind;
use ion_dataplane::diagnostics::{EX_CONFIG, abort_on_panic, init_log};
use ion_dataplane::options::Options;
use ion_dataplane::process;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(asked)
            if matches!(
                asked.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            let _ = asked.print();
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            let _ = wrong.print();
            return EX_CONFIG.into();
        }
    };
    abort_on_panic();
    let result = init_log(&options.log, options.log_format).and_then(|()| process::run(&options));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Not a log line: it must be seen whatever the filter, as one line.
            let _ = writeln!(std::io::stderr(), "ion-dataplane: {failure}");
            failure.exit_code()
        }
    }
}
