use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// Datagrams that the engine may have outstanding; a handshake flight is four at most.
pub(crate) const MAX_QUEUED: usize = 64;

/// The two ends of the wire as BoringSSL sees them: at most one datagram to read, a queue to write.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// The datagram under way to the engine.
    pub(crate) incoming: Option<Vec<u8>>,
    /// Datagrams of the engine, oldest first.
    pub(crate) outgoing: VecDeque<Vec<u8>>,
    /// Datagrams that found the queue full.
    pub(crate) overflows: u64,
}

impl Read for Pipe {
    /// Gives one datagram whole, never end of file: that would be fatal to the engine.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Pipe {
    /// Takes one datagram whole. A full queue loses it, as a network would.
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if self.outgoing.len() < MAX_QUEUED {
            self.outgoing.push_back(datagram.to_vec());
        } else {
            self.overflows += 1;
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
