use super::{Ecn, PacketReport};

/// Packets that are reported on before it is decided whether a path carries ECN.
const TRIAL: u32 = 32;

/// The ECN bits that a viewer's packets go out with: those of its estimator, until the path is
/// found to clear them, or to drop what has them (RFC 6679, 7.2).
#[derive(Debug, Clone)]
pub(crate) struct Marking {
    ecn: Ecn,
    /// Packets reported on while none was seen to keep its bits.
    tried: u32,
    works: bool,
}

impl Marking {
    pub(crate) fn new(ecn: Ecn) -> Self {
        Self {
            ecn,
            tried: 0,
            works: false,
        }
    }

    /// What to send with.
    pub(crate) fn ecn(&self) -> Ecn {
        self.ecn
    }

    /// Feedback came.
    pub(crate) fn judge(&mut self, packets: &[PacketReport]) {
        if self.works || self.ecn == Ecn::NotEct {
            return;
        }
        self.tried += u32::try_from(packets.len()).unwrap_or(TRIAL);
        self.works = packets
            .iter()
            .any(|packet| packet.arrived.is_some() && packet.ecn != Ecn::NotEct);
        if !self.works && self.tried >= TRIAL {
            self.ecn = Ecn::NotEct;
        }
    }

    /// Nothing at all was heard of what was sent for long.
    pub(crate) fn silent(&mut self) {
        if !self.works {
            self.ecn = Ecn::NotEct;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Micros;

    fn packets(ecn: Ecn, arrived: bool) -> Vec<PacketReport> {
        let packet = PacketReport {
            sent: Micros(0),
            arrived: arrived.then_some(0),
            bytes: 1_000,
            ecn,
            probe: None,
        };
        vec![packet; 20]
    }

    #[test]
    fn a_path_that_clears_or_drops_ends_it_and_one_that_carries_keeps_it() {
        for (ecn, arrived, after) in [
            (Ecn::NotEct, true, Ecn::NotEct),
            (Ecn::Ect1, false, Ecn::NotEct),
            (Ecn::Ect1, true, Ecn::Ect1),
            (Ecn::Ce, true, Ecn::Ect1),
        ] {
            let mut marking = Marking::new(Ecn::Ect1);
            marking.judge(&packets(ecn, arrived));
            assert_eq!(marking.ecn(), Ecn::Ect1, "too early to tell");
            marking.judge(&packets(ecn, arrived));
            assert_eq!(marking.ecn(), after);
            marking.silent();
            assert_eq!(marking.ecn(), after);
        }
    }
}
