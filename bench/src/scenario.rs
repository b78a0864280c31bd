use std::fmt;
use std::str::FromStr;

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// One video of 235 packets a second.
    Video,
    /// The same, and two smaller encodings of it.
    Simulcast,
    /// One audio of 50 packets a second.
    Audio,
    /// Both, by one publisher to viewers of both.
    Broadcast,
    /// Both, by everybody to all others.
    Meeting,
}

impl Mix {
    const ALL: [Self; 5] = [
        Self::Video,
        Self::Simulcast,
        Self::Audio,
        Self::Broadcast,
        Self::Meeting,
    ];

    /// As `ion-loadtest` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Simulcast => "simulcast",
            Self::Audio => "audio",
            Self::Broadcast => "broadcast",
            Self::Meeting => "meeting",
        }
    }
}

/// Rooms, and how many there get what is published. Written `MIX-RxV`: `video-1x50` is one publisher and
/// 50 viewers, `video-1000x1` a thousand calls, `meeting-20x10` twenty meetings of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// What is published.
    pub mix: Mix,
    /// Rooms.
    pub rooms: u32,
    /// Viewers of each room's publisher, or participants of each meeting.
    pub viewers: u32,
}

/// Why a scenario is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadScenario(String);

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no scenario: write MIX-ROOMSxVIEWERS, such as video-1x50, audio-1x500 or meeting-20x10",
            self.0
        )
    }
}

impl std::error::Error for BadScenario {}

impl FromStr for Scenario {
    type Err = BadScenario;

    fn from_str(text: &str) -> Result<Self, BadScenario> {
        let parse = || {
            let (mix, size) = text.split_once('-')?;
            let (rooms, viewers) = size.split_once('x')?;
            Some(Self {
                mix: Mix::ALL.into_iter().find(|known| known.name() == mix)?,
                rooms: rooms.parse().ok().filter(|&n| n > 0)?,
                viewers: viewers.parse().ok().filter(|&n| n > 0)?,
            })
        };
        parse().ok_or_else(|| BadScenario(text.to_owned()))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}x{}", self.mix.name(), self.rooms, self.viewers)
    }
}

impl Scenario {
    /// Arguments of `ion-loadtest raw`.
    #[must_use]
    pub fn raw_args(&self) -> Vec<String> {
        let Self {
            mix,
            rooms,
            viewers,
        } = self;
        vec![
            "--mix".to_owned(),
            mix.name().to_owned(),
            "--rooms".to_owned(),
            rooms.to_string(),
            "--viewers".to_owned(),
            viewers.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["video-1x50", "audio-1x500", "meeting-20x10", "video-1000x1"] {
            assert_eq!(name.parse::<Scenario>().unwrap().to_string(), name);
        }
        let meeting: Scenario = "meeting-20x10".parse().unwrap();
        assert_eq!(
            meeting.raw_args(),
            ["--mix", "meeting", "--rooms", "20", "--viewers", "10"]
        );
    }

    #[test]
    fn what_is_no_scenario_is_refused() {
        for bad in [
            "",
            "video",
            "video-1",
            "film-1x1",
            "video-0x1",
            "video-1x0",
            "video-1x-1",
            "video-1x2x3",
        ] {
            assert!(bad.parse::<Scenario>().is_err(), "{bad}");
        }
    }
}
