//! How much one viewer's network carries: from what its feedback says of every packet.
//!
//! An [`Estimator`] belongs to one transport. It is told what became of packets, in the
//! order they were sent, and says which bitrate to send with and when to probe for
//! more. It knows no RTP, no sockets and no clock; [`SentPackets`] turns feedback
//! messages into what it takes. Ours is [`IonEstimator`]; another implementation can
//! take its place, and the simulator compares them.
//!
//! Nothing here allocates after creation, and all that feedback can say is bounded by
//! what was really sent: a report of a packet that was not is refused.

mod compete;
mod controller;
mod delay;
mod loss;
mod marking;
mod meter;
mod probe;
mod retreat;
mod scalable;
mod sent;

pub use controller::{Bounds, IonEstimator};
pub use ion_wire::rtcp::ccfb::Ecn;
pub(crate) use marking::Marking;
pub use probe::{Probe, Wanted};
pub use sent::{Refused, SentPackets};

use crate::time::Micros;

/// What became of a packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketReport {
    /// When it was sent, by our clock.
    pub sent: Micros,
    /// When it arrived, microseconds of the receiver's clock, whose zero is any point;
    /// `None` if it has not.
    pub arrived: Option<i64>,
    /// UDP payload bytes.
    pub bytes: u16,
    /// What the network made of its ECN bits; as sent where nobody says.
    pub ecn: Ecn,
    /// The probe that it was part of.
    pub probe: Option<u8>,
}

/// Says which bitrate a viewer's network carries.
pub trait Estimator: Send {
    /// Feedback came: what it newly says of packets, in the order they were sent.
    /// `rtt_us` is the time from sending the last of them until now.
    fn on_feedback(&mut self, now: Micros, packets: &[PacketReport]);

    /// The viewer's own idea of what it can take, bits per second (REMB). Bounds the
    /// target; the only signal where there is no feedback on packets.
    fn on_remb(&mut self, now: Micros, bitrate_bps: u64);

    /// Called every 100 ms or so while packets are being sent, with when the oldest
    /// packet was sent that nothing has been heard of: with no feedback at all, the
    /// target falls.
    fn on_timeout(&mut self, now: Micros, unheard: Option<Micros>);

    /// Bits per second of UDP payload to send at most.
    fn target_bps(&self) -> u64;

    /// Bits per second to choose layers for: what was carried for long, and will be again when a queue
    /// that is being drained is gone.
    fn sustained_bps(&self) -> u64 {
        self.target_bps()
    }

    /// The ECN bits to send with where feedback says what became of them.
    fn ecn(&self) -> Ecn {
        Ecn::NotEct
    }

    /// A probe to send now, if one is due. Called again and again while one could be sent.
    fn probe(&mut self, now: Micros, wanted: Wanted) -> Option<Probe>;

    /// Whether what is left of the last probe is still worth sending.
    fn is_probing(&self) -> bool {
        true
    }

    /// Whether nothing at present speaks against sending a burst as it is: no queue is
    /// seen, and less is sent than the network carries.
    fn is_unlimited(&self) -> bool {
        false
    }
}
