//! The kernel's part of Ion: what comes in by the network card is judged before the kernel's
//! network stack sees it ([`xdp`]), and what goes through the stack reaches the right socket
//! ([`reuseport`]).
//!
//! Both share the flow map. Neither has a loop over what a peer sent, and neither touches a
//! datagram that is not for a media address in the settings.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

/// Maps, under the names that the loader knows.
mod maps;
/// A frame's bytes, within bounds that the verifier follows.
mod packet;
/// Token buckets in maps.
mod police;
/// Datagrams of the media port to sockets.
mod reuseport;
/// Frames to where they belong.
mod xdp;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here can panic, or the verifier would meet this loop and refuse the program.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"MIT\0";
