use clap::Parser;

use super::values::*;
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn plan(line: &str) -> anyhow::Result<Plan> {
    let line = ["ion-loadtest"].into_iter().chain(line.split_whitespace());
    Line::try_parse_from(line)?.options.plan()
}

const WHEP: &str = "--whep http://127.0.0.1/whep/{room}";

#[test]
fn viewers_alone_are_spread_over_rooms() {
    let plan = plan(&format!(
        "{WHEP} --viewers 5 --rooms 2 --ramp 120/min --duration 1.5m"
    ))
    .unwrap();
    assert_eq!(
        (plan.publishers.len(), plan.duration),
        (0, Duration::from_secs(90))
    );
    assert_eq!(
        plan.viewers
            .iter()
            .map(|viewer| viewer.room)
            .collect::<Vec<_>>(),
        [0, 1, 0, 1, 0]
    );
    assert!((plan.ramp_hz - 2.0).abs() < 1e-9);
    assert_eq!(plan.viewers[0].source(&plan), None);
}

#[test]
fn participants_play_all_the_others_of_their_room() {
    let line = "--signal ws://127.0.0.1/v1/signal --publishers 3 --viewers 2 --rooms 2 --mix audio";
    let folder = std::env::temp_dir().join(format!("ion-loadtest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("opus.ogg"), "").unwrap();
    let plan = plan(&format!("{line} --media {}", folder.display())).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let listens = |number: usize, room| ViewerSpec {
        number,
        room,
        publisher: None,
    };
    assert_eq!(plan.viewers, [listens(0, 0), listens(1, 1)]);
    assert_eq!(
        plan.viewers
            .iter()
            .map(|viewer| plan.tracks_for(viewer))
            .collect::<Vec<_>>(),
        [2, 1]
    );
    // The publishers' own numbers follow: the first of room 0 hears the other, that of room 1 nobody.
    assert_eq!(
        (
            plan.tracks_for(&listens(2, 0)),
            plan.tracks_for(&listens(3, 1))
        ),
        (1, 0)
    );
    assert_eq!(
        (plan.publisher(0, "pub-1"), plan.publisher(1, "pub-1")),
        (Some(2), None)
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_says_why() {
    for (line, why) in [
        ("", "--whip"),
        ("--whep ftp://x", "http://"),
        (&format!("{WHEP} --viewers 0"), "nobody"),
        (&format!("{WHEP} --publishers 1"), "--whip"),
        (&format!("{WHEP} --threads 0"), "--threads"),
        (&format!("{WHEP} --duration 0s"), "--duration"),
        (&format!("{WHEP} --duration 25h"), "24h"),
        (&format!("{WHEP} --ramp 0/s"), "--ramp"),
        (&format!("{WHEP} --ramp fast"), "50/s"),
        (&format!("{WHEP} --viewers 100001"), "100000"),
        (&format!("{WHEP} --viewers 2 --rooms 3"), "empty"),
        (
            &format!("{WHEP} --churn 6000/min --duration 24h"),
            "sessions",
        ),
        ("--whep http://x/whep/live --viewers 4 --rooms 2", "{room}"),
        (
            &format!("--whip http://x/{{room}} {WHEP} --publishers 2"),
            "{publisher}",
        ),
        (
            &format!("--whip http://x/{{room}} {WHEP} --mix meeting"),
            "{publisher}",
        ),
        (&format!("{WHEP} --mix meeting"), "both"),
        ("--signal http://x/v1/signal", "ws://"),
        (&format!("{WHEP} --signal ws://x"), "--whep"),
        (&format!("{WHEP} --rate 7"), "bitrate"),
        (&format!("{WHEP} --fail-if los>1%"), "los"),
    ] {
        let error = plan(line)
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(
            error.contains(why),
            "{line}: {error:?} does not say {why:?}"
        );
    }
}

#[test]
fn units_are_understood() {
    assert_eq!(rate("1.5M"), Ok(1_500_000));
    assert_eq!(rate("500k"), Ok(500_000));
    assert!(rate("NaNk").is_err() && rate("1e30M").is_err());
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert!(duration("-1s").is_err() && duration("infs").is_err() && duration("5").is_err());
    assert!(
        per_second("inf/s").is_err() && per_second("-1/s").is_err() && per_second("1/h").is_err()
    );
    assert_eq!((sample("1/10"), sample("3")), (Ok(10), Ok(3)));
    assert!(sample("1/0").is_err() && sample("2/3").is_err());
}
