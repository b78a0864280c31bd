use std::time::{SystemTime, UNIX_EPOCH};

fn line_of(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(
        line.rsplit_once(':')
            .map_or(line, |(_, value)| value)
            .trim()
            .to_owned(),
    )
}

/// The machine in one line: processor, cores, kernel, clock governor, when.
#[must_use]
pub fn describe() -> String {
    let cpu = line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = ion_io::affinity::allowed_cores().map_or(0, |cores| cores.len());
    let kernel = line_of("/proc/sys/kernel/osrelease", "").unwrap_or_default();
    let governor = line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "")
        .unwrap_or_else(|| "not said".into());
    let load = line_of("/proc/loadavg", "").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    format!(
        "{cpu}, {cores} cores, Linux {kernel}, governor {governor}, load {load} at the end, {} UTC",
        utc_stamp()
    )
}

/// The time as `20260131-235959`.
#[must_use]
pub fn utc_stamp() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    stamp(seconds)
}

fn stamp(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    format!(
        "{year}{month:02}{:02}-{:02}{:02}{:02}",
        days + 1,
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        assert_eq!(stamp(0), "19700101-000000");
        assert_eq!(stamp(951_782_399), "20000228-235959");
        assert_eq!(stamp(951_782_400), "20000229-000000");
        assert_eq!(stamp(951_868_800), "20000301-000000");
        assert_eq!(stamp(1_767_225_599), "20251231-235959");
    }
}
