use super::*;

fn load(file: &str, env: &[(&str, &str)], flags: Flags) -> Result<Loaded, String> {
    let env: Vec<(String, String)> = env
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    let file = (!file.is_empty()).then_some(("ion.toml", file));
    Settings::from_sources(file, &env, &flags).map_err(|e| e.to_string())
}

fn error(file: &str) -> String {
    load(file, &[good_key()], Flags::default()).expect_err(file)
}

fn good_key() -> (&'static str, &'static str) {
    ("ION_KEYS", "k:0123456789abcdef0123456789abcdef")
}

#[test]
fn defaults() {
    let settings = load("", &[good_key()], Flags::default()).unwrap().settings;
    assert_eq!(settings.http.to_string(), "0.0.0.0:7880");
    let media: Vec<String> = settings.media.iter().map(ToString::to_string).collect();
    assert_eq!(media, ["0.0.0.0:7882", "[::]:7882"]);
    assert!(settings.public_ip.is_empty());
    assert_eq!(settings.io, Io::Auto);
    assert_eq!(
        settings.dataplane_socket(),
        PathBuf::from("./var/dataplane.sock")
    );
    assert!(!settings.dev);
}

#[test]
fn dev_listens_here_and_has_a_key() {
    let flags = Flags {
        dev: true,
        ..Flags::default()
    };
    let loaded = load("", &[], flags).unwrap();
    assert_eq!(loaded.settings.http.to_string(), "127.0.0.1:7880");
    assert_eq!(loaded.settings.keys.first(), Some(DEV_KEY));
    assert!(loaded.warnings.is_empty());

    let open = load("http = \"0.0.0.0:1\"\ndev = true", &[], Flags::default()).unwrap();
    assert!(
        open.warnings[0].contains("without a token"),
        "{:?}",
        open.warnings
    );
}

#[test]
fn without_keys_it_refuses_and_says_how_to_make_one() {
    let message = load("", &[], Flags::default()).unwrap_err();
    assert!(
        message.contains("ion key create") && message.contains("--dev"),
        "{message}"
    );
}

#[test]
fn flags_go_before_environment_before_file() {
    let file = "workers = 2\nio = \"socket\"\nlog = \"warn\"\n";
    let flags = Flags {
        workers: Some("4".into()),
        ..Flags::default()
    };
    let env = [
        good_key(),
        ("ION_WORKERS", "3"),
        ("ION_IO", "uring"),
        ("ION_LOG", ""),
    ];
    let settings = load(file, &env, flags).unwrap().settings;
    assert_eq!((settings.workers, settings.io), (4, Io::Uring));
    assert_eq!(settings.log, "warn", "an empty variable is not set");
}

#[test]
fn lists_from_all_sources() {
    let env = [
        good_key(),
        ("ION_MEDIA", "127.0.0.1:1, [::1]:1"),
        ("ION_PUBLIC_IP", "192.0.2.1"),
    ];
    let from_env = load("", &env, Flags::default()).unwrap().settings;
    assert_eq!(from_env.media.len(), 2);
    assert_eq!(from_env.public_ip.len(), 1);
    let from_file = load("media = \"127.0.0.1:1\"", &[good_key()], Flags::default()).unwrap();
    assert_eq!(from_file.settings.media.len(), 1);
    let media = vec![
        "127.0.0.1:2".to_owned(),
        "127.0.0.2:2,127.0.0.3:2".to_owned(),
    ];
    let flags = Flags {
        media,
        ..Flags::default()
    };
    assert_eq!(load("", &env, flags).unwrap().settings.media.len(), 3);
}

#[test]
fn keys_from_a_table_keep_their_order() {
    let file = "[keys]\nzeta = \"s1\"\nalpha = \"s2\"\n";
    let loaded = load(file, &[], Flags::default()).unwrap();
    assert_eq!(loaded.settings.keys.first(), Some(("zeta", "s1")));
    assert!(
        loaded.warnings[0].contains("shorter than 32"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn errors_name_line_key_value_and_what_is_right() {
    assert_eq!(
        error("\n# how many\nworkers = \"many\"\n"),
        "ion.toml:3: workers = \"many\": expected a whole number from 1 to 64"
    );
    assert_eq!(
        error("io = \"xdpp\""),
        "ion.toml:1: io = \"xdpp\": expected auto, uring, xdp or socket"
    );
    assert_eq!(
        error("http = 7880"),
        "ion.toml:1: http = 7880: expected an IP address and a port that is not 0, such as 127.0.0.1:7880 or \
         [::]:7880"
    );
    assert_eq!(
        error("io = \"auto\"\nwrokers = 3\n"),
        "ion.toml:2: wrokers = 3: there is no such setting. Did you mean workers? Settings are: \
         http, media, public_ip, workers, io, interface, xdp_mode, \
         xdp_copy, busy_poll, state_dir, log, log_format, rate_burst, \
         rate_per_second, max_connections, dev, keys"
    );
    assert_eq!(
        error("media = [\n  \"0.0.0.0:1\",\n  \"[::]:2\",\n]"),
        "ion.toml:1: media = [ \"0.0.0.0:1\", \"[::]:2\", ]: expected one to eight different IP \
         addresses, all with the same port, such as 0.0.0.0:7882"
    );
    let syntax = error("workers = 2\nio = auto\n");
    assert!(
        syntax.starts_with("ion.toml:2: this is no TOML: "),
        "{syntax}"
    );
}

#[test]
fn errors_in_variables_and_flags_read_alike() {
    let env = load("", &[("ION_WORKERS", "0")], Flags::default()).unwrap_err();
    assert_eq!(env, "ION_WORKERS=0: expected a whole number from 1 to 64");
    let flags = Flags {
        log_format: Some("xml".into()),
        ..Flags::default()
    };
    assert_eq!(
        load("", &[], flags).unwrap_err(),
        "--log-format xml: expected text or json"
    );
}

#[test]
fn values_that_look_right_and_are_not() {
    for bad in [
        "workers = 65",
        "workers = -1",
        "workers = 1.5",
        "workers = [1, 2]",
        "http = \"localhost:7880\"",
        "http = \"127.0.0.1:0\"",
        "media = []",
        "media = [\"0.0.0.0:1\", \"0.0.0.0:1\"]",
        "public_ip = \"0.0.0.0\"",
        "public_ip = \"192.0.2.1:80\"",
        "public_ip = \"224.0.0.1\"",
        "log = \"ion=loud\"",
        "log = \"\"",
        "state_dir = \"\"",
        &format!("state_dir = \"/{}\"", "x".repeat(90)),
        "dev = \"yes\"",
        "rate_burst = 0",
        "rate_per_second = 4294967296",
        "max_connections = 0",
        "http.port = 1",
        "workers = 2\nworkers = 3",
        "workers = 1979-05-27",
    ] {
        assert!(error(bad).starts_with("ion.toml:"), "{bad}");
    }
}

#[test]
fn secrets_are_never_shown() {
    for bad in [
        "[keys]\na = \"hunter two\"",
        "keys = \"hunter2\"",
        "[kyes]\na = \"hunter2\"",
        "secret = \"hunter2\"",
        "[keys]\na = \"hunter2\"\nb = [\"hunter2\", \"hunter2\"]",
    ] {
        let message = error(bad);
        assert!(!message.contains("hunter"), "{message}");
    }
    let flags = Flags {
        keys: vec!["hunter2".into()],
        ..Flags::default()
    };
    assert!(!load("", &[], flags).unwrap_err().contains("hunter2"));
    assert!(!format!("{:?}", load("", &[good_key()], Flags::default())).contains("0123456789"));
}

#[test]
fn unknown_variables_are_warned_about() {
    let env = [
        good_key(),
        ("ION_WROKERS", "3"),
        ("ION_PORT", "tcp://10.0.0.1:80"),
        ("ION_CONFIG", "x"),
    ];
    let warnings = load("", &env, Flags::default()).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("did you mean ION_WORKERS?"),
        "{warnings:?}"
    );
}

#[test]
fn the_default_file_holds_the_defaults() {
    let text = Settings::default_file();
    // Uncommented, each example must be accepted, and mean the default.
    let open: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = ") && !line.contains(','))
        .filter(|line| !line.starts_with("mykey") && !line.starts_with("public_ip"))
        .filter(|line| !line.starts_with("workers"))
        .filter(|line| !line.starts_with("interface") && !line.starts_with("busy_poll"))
        .collect();
    assert!(open.len() >= 11, "{open:?}");
    let shown = load(&open.join("\n"), &[good_key()], Flags::default()).unwrap();
    assert_eq!(shown, load("", &[good_key()], Flags::default()).unwrap());
    // As it is, it says nothing at all.
    assert_eq!(shown, load(&text, &[good_key()], Flags::default()).unwrap());
}

#[test]
fn one_core_in_many_is_left_to_control() {
    let workers: Vec<usize> = [1, 2, 3, 8, 500].map(spec::workers_for).into();
    assert_eq!(workers, [1, 2, 2, 7, 64]);
}

#[test]
fn flags_reach_a_child_through_its_environment() {
    let flags = Flags {
        dev: true,
        media: vec!["127.0.0.1:1".into(), "[::1]:1".into()],
        keys: vec!["k: s".into()],
        rate_burst: Some("7".into()),
        ..Flags::default()
    };
    let here = load("", &[], flags.clone()).unwrap();
    let env = flags.to_env();
    let env: Vec<(&str, &str)> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(load("", &env, Flags::default()).unwrap(), here);
}

#[test]
fn every_setting_is_shown_and_no_secret() {
    let secret = "a-secret-that-nobody-may-see-0123456";
    let env = [("ION_KEYS".to_owned(), format!("mykey: {secret}"))];
    let loaded = Settings::from_sources(None, &env, &Flags::default()).unwrap();
    let shown = loaded.settings.shown();
    let names: std::collections::BTreeSet<&str> =
        super::spec::SPECS.iter().map(|spec| spec.key).collect();
    let seen = shown
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, seen);
    let text = shown.to_string();
    assert!(text.contains("mykey") && !text.contains(secret), "{text}");
}
