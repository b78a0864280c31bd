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

/// Bytes that wait to be sent, to all clients of the process together.
#[derive(Debug, Clone)]
pub struct Backlog {
    bytes: Arc<AtomicUsize>,
    most: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::of(limits::QUEUED_BYTES)
    }
}

impl Backlog {
    /// One that has room for so much.
    pub fn of(most: usize) -> Self {
        let bytes = Arc::default();
        Self { bytes, most }
    }

    /// How much waits.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What one client will add to it.
    pub fn share(&self) -> Share {
        let (all, own) = (self.clone(), AtomicUsize::new(0));
        Share { all, own }
    }
}

/// What waits for one client; of the [`Backlog`] no more when this is dropped.
#[derive(Debug)]
pub struct Share {
    all: Backlog,
    own: AtomicUsize,
}

impl Share {
    /// How much waits for this client.
    pub fn bytes(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// Whether so much more has room beside what waits for all. A little has, always: nobody is cut
    /// off because others do not read.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.bytes() + bytes <= limits::QUEUED_BYTES_EACH
            || self.all.bytes() + bytes <= self.all.most
    }

    /// So much more waits.
    pub fn add(&self, bytes: usize) {
        self.own.fetch_add(bytes, Ordering::Relaxed);
        self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much waits no more.
    pub fn remove(&self, bytes: usize) {
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        self.all.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So much waits now.
    pub fn set(&mut self, bytes: usize) {
        self.remove(self.bytes());
        self.add(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
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
    queued: Arc<Share>,
}

/// The socket's end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Outgoing>,
    queued: Arc<Share>,
}

/// Why a socket takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The client does not read what is sent to it, or its socket is gone.
    #[error("too much waits for the client already, or its socket is gone")]
    Full,
    /// Too much waits for all clients together, and for this one more than a little.
    #[error("too much waits for all clients together")]
    AllFull,
}

impl Outbox {
    pub(crate) fn channel(backlog: &Backlog) -> (Self, Inbox) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (sender, receiver) = mpsc::channel(limits::OUTBOX_MESSAGES);
        let queued = Arc::new(backlog.share());
        let outbox = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            sender,
            queued: Arc::clone(&queued),
        };
        (outbox, Inbox { receiver, queued })
    }

    /// Unlike that of any other.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the socket is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a text message. One that is larger than any bound goes when nothing else waits.
    ///
    /// # Errors
    /// When too much waits already, or the socket is gone.
    pub fn send(&self, text: String) -> Result<(), Stuck> {
        let (bytes, waiting) = (text.len(), self.queued.bytes());
        if waiting > 0 && waiting + bytes > limits::OUTBOX_BYTES {
            return Err(Stuck::Full);
        }
        if waiting > 0 && !self.queued.has_room(bytes) {
            return Err(Stuck::AllFull);
        }
        // Before it can be taken out.
        self.queued.add(bytes);
        self.sender.try_send(Outgoing::Text(text)).map_err(|_| {
            self.queued.remove(bytes);
            Stuck::Full
        })
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
            self.queued.remove(text.len());
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_outbox_is_bounded_in_messages_and_in_bytes() {
        let backlog = Backlog::default();
        let (outbox, mut inbox) = Outbox::channel(&backlog);
        for _ in 0..limits::OUTBOX_MESSAGES {
            outbox.send("x".to_owned()).unwrap();
        }
        assert_eq!(outbox.send("x".to_owned()), Err(Stuck::Full));
        assert_eq!(inbox.next().await, Some(Outgoing::Text("x".to_owned())));
        outbox.send("y".to_owned()).unwrap();

        let (outbox, mut inbox) = Outbox::channel(&backlog);
        let large = "x".repeat(limits::OUTBOX_BYTES + 1);
        outbox.send(large.clone()).unwrap();
        assert_eq!(outbox.send("x".to_owned()), Err(Stuck::Full));
        assert_eq!(inbox.next().await, Some(Outgoing::Text(large)));
        outbox.send("x".to_owned()).unwrap();
        outbox.close(Reason::Left);
        assert_eq!(inbox.next().await, Some(Outgoing::Text("x".to_owned())));
        assert_eq!(inbox.next().await, Some(Outgoing::Close(Reason::Left)));
        assert_eq!(inbox.next().await, None);
    }

    #[tokio::test]
    async fn all_sockets_together_are_bounded_and_each_may_have_a_little() {
        let little = limits::QUEUED_BYTES_EACH;
        let backlog = Backlog::of(4 * little);
        let text = |bytes: usize| "x".repeat(bytes);
        let (slow, unread) = Outbox::channel(&backlog);
        for _ in 0..4 {
            slow.send(text(little)).unwrap();
        }
        assert_eq!(slow.send(text(1)), Err(Stuck::AllFull));
        // Others go on: with a little, and with one message of any size.
        let (other, mut read) = Outbox::channel(&backlog);
        other.send(text(1)).unwrap();
        other.send(text(little - 1)).unwrap();
        assert_eq!(other.send(text(1)), Err(Stuck::AllFull));
        let (third, _kept) = Outbox::channel(&backlog);
        third.send(text(2 * little)).unwrap();
        assert_eq!(backlog.bytes(), 7 * little);
        // What is taken out, and what ends with its socket, waits no more.
        assert_eq!(read.next().await, Some(Outgoing::Text(text(1))));
        assert_eq!(backlog.bytes(), 7 * little - 1);
        drop((slow, unread));
        assert_eq!(backlog.bytes(), 3 * little - 1);
        other.send(text(little)).unwrap();
    }
}
