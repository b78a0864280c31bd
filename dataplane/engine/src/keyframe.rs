use crate::limits::KEYFRAME_THROTTLE_US;
use crate::time::Micros;

/// Keyframe requests of all viewers of an encoding, merged into few towards its
/// publisher.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyframeRequests {
    wanted: bool,
    sent: Option<Micros>,
}

impl KeyframeRequests {
    /// Somebody needs a keyframe.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Somebody still waits: it is asked for again if the last request had time to be answered.
    pub(crate) fn want_again(&mut self, now: Micros) {
        self.wanted |= self
            .sent
            .is_none_or(|at| now.since(at) >= KEYFRAME_THROTTLE_US);
    }

    /// A keyframe came.
    pub(crate) fn came(&mut self) {
        self.wanted = false;
    }

    /// When a request may be sent, if one is wanted.
    pub(crate) fn due(&self) -> Option<Micros> {
        let sent = self.sent.map_or(Micros(0), |at| at + KEYFRAME_THROTTLE_US);
        self.wanted.then_some(sent)
    }

    /// A request was sent.
    pub(crate) fn sent(&mut self, now: Micros) {
        self.sent = Some(now);
        self.wanted = false;
    }
}
