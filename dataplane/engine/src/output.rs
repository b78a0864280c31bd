use crate::time::Micros;
use crate::transmit::TransmitBatch;
use std::ops::DerefMut;

/// What the engine's owner gives it to put results into: the worker loop, a test
/// or the simulator.
pub trait Output {
    /// What crosses from one worker to another (`ion_engine::peer::PeerMessage`).
    type Message;
    /// What the batch is made of, if it is made of frames.
    type Frame: DerefMut<Target = [u8]>;

    /// The batch that datagrams are written to.
    fn batch(&mut self) -> &mut TransmitBatch<Self::Frame>;

    /// Sends what is in the batch now and empties it: the batch is full.
    fn transmit(&mut self);

    /// What time it is in a turn that began at `turn`. A picture for a thousand viewers takes milliseconds to send, and
    /// each of them should be taken to have been sent theirs when they were, or our own work looks like a queue in
    /// their networks.
    fn time(&self, turn: Micros) -> Micros {
        turn
    }

    /// Gives a message to another worker.
    ///
    /// # Errors
    /// The message comes back when that worker's ring is full.
    fn to_worker(&mut self, worker: usize, message: Self::Message) -> Result<(), Self::Message>;
}
