use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::model::Permissions;
use super::server::Reason;
use crate::backend::Participant;
use crate::limits;
use crate::names::RoomName;

/// Somebody enters a room, and may.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Where to.
    pub room: RoomName,
    /// Who, as the token says, or the guest.
    pub participant: Participant,
    /// What it may do.
    pub permissions: Permissions,
    /// The application's own, from the token.
    pub metadata: String,
    /// Likewise, by key.
    pub attributes: BTreeMap<String, String>,
    /// Whether publications are subscribed as they come.
    pub auto_subscribe: bool,
}

/// What goes out on a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Text(String),
    Close(Reason),
}

/// The way to a socket: bounded, and never waits.
#[derive(Debug, Clone)]
pub struct Outbox {
    id: u64,
    sender: mpsc::Sender<Outgoing>,
    queued_bytes: Arc<AtomicUsize>,
}

/// The socket's end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Outgoing>,
    queued_bytes: Arc<AtomicUsize>,
}

/// The client does not read what is sent to it, or its socket is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the socket takes nothing more")]
pub struct Stuck;

impl Outbox {
    pub(crate) fn channel() -> (Self, Inbox) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (sender, receiver) = mpsc::channel(limits::OUTBOX_MESSAGES);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let outbox = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            sender,
            queued_bytes: Arc::clone(&queued_bytes),
        };
        let inbox = Inbox {
            receiver,
            queued_bytes,
        };
        (outbox, inbox)
    }

    /// Unlike that of any other.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// When too much waits already, or the socket is gone.
    pub fn send(&self, text: String) -> Result<(), Stuck> {
        let bytes = text.len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A message larger than the bound goes when nothing else waits.
        let is_full = queued > 0 && queued + bytes > limits::OUTBOX_BYTES;
        if is_full || self.sender.try_send(Outgoing::Text(text)).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Stuck);
        }
        Ok(())
    }

    /// Closes the socket after what was sent.
    pub fn close(self, reason: Reason) {
        // Where it is full, its end is what closes it.
        let _ = self.sender.try_send(Outgoing::Close(reason));
    }
}

impl Inbox {
    /// What goes out next; `None` when nothing can come any more.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        let next = self.receiver.recv().await;
        if let Some(Outgoing::Text(text)) = &next {
            self.queued_bytes.fetch_sub(text.len(), Ordering::Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_outbox_is_bounded_in_messages_and_in_bytes() {
        let (outbox, mut inbox) = Outbox::channel();
        for _ in 0..limits::OUTBOX_MESSAGES {
            outbox.send("x".to_owned()).unwrap();
        }
        assert_eq!(outbox.send("x".to_owned()), Err(Stuck));
        assert_eq!(inbox.next().await, Some(Outgoing::Text("x".to_owned())));
        outbox.send("y".to_owned()).unwrap();

        let (outbox, mut inbox) = Outbox::channel();
        let large = "x".repeat(limits::OUTBOX_BYTES + 1);
        outbox.send(large.clone()).unwrap();
        assert_eq!(outbox.send("x".to_owned()), Err(Stuck));
        assert_eq!(inbox.next().await, Some(Outgoing::Text(large)));
        outbox.send("x".to_owned()).unwrap();
        outbox.close(Reason::Left);
        assert_eq!(inbox.next().await, Some(Outgoing::Text("x".to_owned())));
        assert_eq!(inbox.next().await, Some(Outgoing::Close(Reason::Left)));
        assert_eq!(inbox.next().await, None);
    }
}
