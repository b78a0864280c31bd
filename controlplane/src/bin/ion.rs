//! `ion`: launcher and command line.

#![expect(clippy::print_stdout, reason = "a command line prints its answers")]

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ion_api::client::{Client, ClientError};
use ion_api::token::Keys;
use ion_controlplane::launcher::remote::{self, KeysCommand, RoomsCommand};
use ion_controlplane::launcher::token::TokenArgs;
use ion_controlplane::launcher::{self, process, status, token};
use ion_controlplane::settings::{EX_CONFIG, Flags, Settings, SettingsError};

/// A WebRTC SFU: publish over WHIP, play over WHEP.
#[derive(Parser)]
#[command(name = "ion", version, arg_required_else_help = true)]
struct Cli {
    /// Print a commented settings file with the defaults, and end
    #[arg(long, global = true)]
    print_default_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start Ion and keep it running
    Run {
        #[command(flatten)]
        flags: Box<Flags>,
    },
    /// Access tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// API keys, which tokens are signed with
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show what a running Ion does
    Status(Remote),
    /// Show rooms, participants, workers and what XDP drops, live
    Top(Remote),
    /// See and govern the rooms of a running Ion
    Rooms {
        #[command(subcommand)]
        command: RoomsCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// API keys of a running Ion; `ion key create` makes one for the settings instead
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
        #[command(flatten)]
        remote: Remote,
    },
    /// Become a child process of the launcher
    #[command(name = "exec-child", hide = true)]
    ExecChild {
        launcher: u32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<OsString>,
    },
}

/// Which server to ask.
#[derive(clap::Args)]
struct Remote {
    /// Server to ask [default: the one that the settings describe]
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// Token to ask with [default: one made with the first configured key]
    #[arg(long, env = "ION_STATUS_TOKEN", hide_env = true, global = true)]
    token: Option<String>,
    #[command(flatten)]
    flags: Box<Flags>,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Print a JWT to send as `Authorization: Bearer`
    Create(Box<TokenArgs>),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Print a new key and secret as lines for ion.toml
    Create,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Some(command) = cli.command.filter(|_| !cli.print_default_config) else {
        print!("{}", Settings::default_file());
        return ExitCode::SUCCESS;
    };
    match command {
        // Warnings are left to the control plane, which loads the same settings and logs them.
        Command::Run { flags } => match Settings::load(&flags) {
            Ok(loaded) => launcher::run(&loaded.settings, &flags),
            Err(error) => refuse(&error),
        },
        Command::Token(TokenCommand::Create(args)) => token_create(&args),
        Command::Key(KeyCommand::Create) => answer(token::new_key()),
        Command::Status(remote) => ask(remote, status::fetch),
        Command::Top(_) if !std::io::stdout().is_terminal() => answer(Err(
            "`ion top` wants a terminal; `ion status` prints the same once".to_owned(),
        )),
        Command::Top(remote) => ask(remote, status::top),
        Command::Rooms { command, remote } => ask(remote, |server| remote::rooms(server, &command)),
        Command::Keys { command, remote } => ask(remote, |server| remote::keys(server, &command)),
        Command::ExecChild { launcher, program } => {
            eprintln!("ion: {}", process::exec_child(launcher, &program));
            ExitCode::from(EX_CONFIG)
        }
    }
}

/// Loads the settings; says what is wrong with them.
fn load(flags: &Flags) -> Result<Settings, ExitCode> {
    let loaded = Settings::load(flags).map_err(|error| refuse(&error))?;
    for warning in &loaded.warnings {
        eprintln!("ion: warning: {warning}");
    }
    Ok(loaded.settings)
}

fn refuse(error: &SettingsError) -> ExitCode {
    eprintln!("ion: {error}");
    ExitCode::from(EX_CONFIG)
}

fn answer(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("ion: {message}");
            ExitCode::FAILURE
        }
    }
}

fn token_create(args: &TokenArgs) -> ExitCode {
    let keys = if args.key.is_some() {
        Keys::default()
    } else {
        match load(&args.flags) {
            Ok(settings) => settings.keys,
            Err(code) => {
                eprintln!(
                    "ion: a token needs a key of its server: from the server's settings (--config), \
                     by --key and --secret, or with --dev that of `ion run --dev`"
                );
                return code;
            }
        }
    };
    answer(token::create(args, &keys))
}

/// Asks a server, and prints what is made of its answer.
fn ask(remote: Remote, question: impl FnOnce(&Client) -> Result<String, ClientError>) -> ExitCode {
    // Without settings that load, a URL and a token (or a server in dev mode) are enough.
    let settings = match remote.url {
        Some(_) => Settings::load(&remote.flags)
            .ok()
            .map(|loaded| loaded.settings),
        None => match load(&remote.flags) {
            Ok(settings) => Some(settings),
            Err(code) => return code,
        },
    };
    let base = match (remote.url, &settings) {
        (Some(url), _) => url,
        (None, Some(settings)) => format!("http://{}", remote::reachable(settings.http)),
        (None, None) => return answer(Err("no server is known".to_owned())),
    };
    let own = || token::for_holder(&settings.as_ref()?.keys);
    let token = remote.token.or_else(own);
    if base.starts_with("https://") {
        // Another part of the process may have chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    let server = Client::new(&base, token.as_deref());
    answer(question(&server).map_err(|error| remote::sentence(&base, &error)))
}
