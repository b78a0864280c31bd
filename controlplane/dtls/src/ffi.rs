//! BoringSSL calls that `boring` does not wrap. The only `unsafe` of this crate.

use std::cell::Cell;
use std::time::Duration;

use boring::ssl::{SslContextBuilder, SslRef};
use boring_sys as sys;
use foreign_types::ForeignTypeRef;

/// Added to the clock, so that it never reads as zero or runs into anything's "before 1970".
const CLOCK_OFFSET_SECS: i64 = 1_000_000_000;

thread_local! {
    /// What BoringSSL takes for the present time on this thread.
    static CLOCK: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Sets the clock for the BoringSSL calls that follow on this thread, as time since any fixed moment of
/// the session's choice: timers are per session, and nothing compares times across sessions.
pub(crate) fn set_clock(since: Duration) {
    CLOCK.set(since);
}

unsafe extern "C" fn current_time(_ssl: *const sys::SSL, out: *mut sys::timeval) {
    let since = CLOCK.get();
    let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX - CLOCK_OFFSET_SECS);
    let time = sys::timeval {
        tv_sec: CLOCK_OFFSET_SECS.saturating_add(secs),
        tv_usec: i64::from(since.subsec_micros()),
    };
    // SAFETY: BoringSSL passes a pointer to a `timeval` of its own stack frame, aligned and writable.
    unsafe { out.write(time) };
}

/// Makes the sessions of this context take the time from [`set_clock`].
pub(crate) fn use_own_clock(context: &mut SslContextBuilder) {
    // SAFETY: the builder holds a valid context; the callback is a plain function without state of its
    // own and does not unwind: it calls nothing that panics.
    unsafe { sys::SSL_CTX_set_current_time_cb(context.as_ptr(), Some(current_time)) };
}

/// Bounds the certificate message of a peer, in bytes.
pub(crate) fn set_max_certificate_len(context: &mut SslContextBuilder, bytes: usize) {
    // SAFETY: the builder holds a valid context; the call stores a number.
    unsafe { sys::SSL_CTX_set_max_cert_list(context.as_ptr(), bytes) };
}

/// Time until the next retransmission or acknowledgement is due, if one is.
pub(crate) fn timeout(ssl: &SslRef) -> Option<Duration> {
    let mut left = sys::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    // SAFETY: `ssl` is a valid session, `left` a valid `timeval` for the length of the call.
    let is_set = unsafe { sys::DTLSv1_get_timeout(ssl.as_ptr(), &raw mut left) } == 1;
    let secs = u64::try_from(left.tv_sec).unwrap_or(0);
    let micros = u64::try_from(left.tv_usec).unwrap_or(0);
    is_set.then(|| Duration::from_secs(secs) + Duration::from_micros(micros))
}

/// Sends what is due; gives false when the engine gave up or could not.
pub(crate) fn handle_timeout(ssl: &mut SslRef) -> bool {
    // SAFETY: `ssl` is a valid session that nothing else uses during the call (`&mut`); what the call
    // writes goes through the session's own BIO.
    unsafe { sys::DTLSv1_handle_timeout(ssl.as_ptr()) >= 0 }
}

/// Overwrites secrets in a way that the compiler does not remove.
pub(crate) fn cleanse(bytes: &mut [u8]) {
    // SAFETY: pointer and length are of one valid, writable slice.
    unsafe { sys::OPENSSL_cleanse(bytes.as_mut_ptr().cast(), bytes.len()) };
}
