use super::PacketReport;
use crate::time::Micros;

/// Loss is judged over at least so many packets ...
const PACKETS: u32 = 20;
/// ... and so long, microseconds ...
const LEAST_US: u64 = 200_000;
/// ... or over what there is after this long.
const MOST_US: u64 = 1_000_000;
/// The least loss is looked for over one to two such spans, microseconds.
const FLOOR_SPAN_US: u64 = 10_000_000;
/// Below this, loss hinders nothing.
const LOW: f64 = 0.02;
/// Above this, it means congestion.
const HIGH: f64 = 0.10;

/// What the loss says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// It speaks against nothing.
    Fine,
    /// Not more than now.
    Hold,
    /// Less: so much is lost.
    Lower(f64),
}

/// Loss, told from what the path loses whatever is sent: the least loss of the last
/// seconds is the path's own, only what is above that is congestion.
#[derive(Debug, Clone)]
pub(crate) struct LossMeter {
    lost: u32,
    total: u32,
    since: Micros,
    share: f64,
    floor: [f64; 2],
    floor_since: Micros,
    holds: bool,
}

impl LossMeter {
    pub(crate) fn new() -> Self {
        Self {
            lost: 0,
            total: 0,
            since: Micros(0),
            share: 0.0,
            // Until there is a span behind it, no loss is the path's own.
            floor: [1.0, 0.0],
            floor_since: Micros(0),
            holds: false,
        }
    }

    pub(crate) fn add(&mut self, packet: &PacketReport) {
        self.total += 1;
        self.lost += u32::from(packet.arrived.is_none());
    }

    /// Judges what came since the last time, if that is enough.
    pub(crate) fn judge(&mut self, now: Micros) -> Verdict {
        let held = if self.holds {
            Verdict::Hold
        } else {
            Verdict::Fine
        };
        if self.total == 0 {
            self.since = self.since.max(now);
            return held;
        }
        let passed = now.since(self.since);
        if passed < LEAST_US || (self.total < PACKETS && passed < MOST_US) {
            return held;
        }
        let share = f64::from(self.lost) / f64::from(self.total);
        (self.lost, self.total, self.since) = (0, 0, now);
        self.share += 0.5 * (share - self.share);
        if now.since(self.floor_since) > FLOOR_SPAN_US {
            self.floor_since = now;
            self.floor = [self.share, self.floor[0]];
        }
        self.floor[0] = self.floor[0].min(self.share);
        let own = self.own();
        let above = self.share.min(share) - own;
        self.holds = self.share > LOW && above > 0.2 * own + 0.01;
        if above > HIGH {
            Verdict::Lower(above)
        } else if self.holds {
            Verdict::Hold
        } else {
            Verdict::Fine
        }
    }

    /// What the path loses whatever is sent, 0 to 1.
    pub(crate) fn own(&self) -> f64 {
        self.floor[0].min(self.floor[1])
    }

    /// Loss as last seen, smoothed, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ecn;
    use super::*;

    fn verdict(meter: &mut LossMeter, at_ms: u64, lost: u32) -> Verdict {
        for packet in 0..100 {
            meter.add(&PacketReport {
                sent: Micros(0),
                arrived: (packet >= lost).then_some(0),
                bytes: 1_000,
                ecn: Ecn::NotEct,
                probe: None,
            });
        }
        meter.judge(Micros(at_ms * 1_000))
    }

    #[test]
    fn loss_that_comes_with_more_is_congestion_and_loss_that_stays_is_the_path() {
        let mut meter = LossMeter::new();
        assert_eq!(verdict(&mut meter, 250, 0), Verdict::Fine);
        assert_eq!(verdict(&mut meter, 500, 8), Verdict::Hold);
        assert_ne!(verdict(&mut meter, 750, 30), Verdict::Fine);
        assert!(matches!(verdict(&mut meter, 1_000, 30), Verdict::Lower(_)));
        let mut last = Verdict::Fine;
        for at in 5..200 {
            last = verdict(&mut meter, at * 250, 12);
        }
        assert_eq!(last, Verdict::Fine);
    }
}
