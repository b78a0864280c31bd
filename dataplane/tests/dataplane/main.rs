//! The built `ion-dataplane`, from outside: as a process, and as a forwarder of
//! packets between sockets.

mod forward;
mod process;
mod room;
mod support;
