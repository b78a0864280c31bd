//! Requests per client address.
//!
//! Addresses (an IPv6 client counts as its /64) are hashed with a secret into a fixed number of
//! buckets, so memory is bounded whatever the network sends, and nobody can choose to share a
//! bucket with somebody else.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;

use crate::limits;

const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How many requests one client may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// At once.
    pub burst: NonZeroU32,
    /// On average.
    pub per_second: NonZeroU32,
}

impl Default for Quota {
    fn default() -> Self {
        const BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
        Self {
            burst: BURST,
            per_second: PER_SECOND,
        }
    }
}

/// Tells which requests come too fast.
#[derive(Debug)]
pub struct RateLimiter<C: Clock = DefaultClock> {
    limiter: governor::RateLimiter<
        u32,
        DashMapStateStore<u32>,
        C,
        governor::middleware::NoOpMiddleware<C::Instant>,
    >,
    hasher: RandomState,
    clock: C,
    swept: Mutex<Instant>,
}

impl RateLimiter {
    /// A limiter on the system's clock.
    pub fn new(quota: Quota) -> Self {
        Self::with_clock(quota, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimiter<C> {
    /// A limiter on a clock of the caller's.
    pub fn with_clock(quota: Quota, clock: C) -> Self {
        let governed = governor::Quota::per_second(quota.per_second).allow_burst(quota.burst);
        Self {
            limiter: governor::RateLimiter::new(
                governed,
                DashMapStateStore::default(),
                clock.clone(),
            ),
            hasher: RandomState::new(),
            clock,
            swept: Mutex::new(Instant::now()),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// When it comes too fast: the seconds to wait, at least one.
    pub fn check(&self, client: IpAddr) -> Result<(), u32> {
        self.sweep_now_and_then();
        self.limiter
            .check_key(&self.bucket(client))
            .map_err(|not_until| {
                let wait = not_until.wait_time_from(self.clock.now());
                u32::try_from(wait.as_millis().div_ceil(1000))
                    .unwrap_or(u32::MAX)
                    .max(1)
            })
    }

    /// Forgets clients that have been quiet long enough to start afresh anyway.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// Buckets in use.
    pub fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Whether no bucket is in use.
    pub fn is_empty(&self) -> bool {
        self.limiter.is_empty()
    }

    fn sweep_now_and_then(&self) {
        let Ok(mut swept) = self.swept.try_lock() else {
            return;
        };
        if swept.elapsed() >= SWEEP_INTERVAL {
            *swept = Instant::now();
            drop(swept);
            self.sweep();
        }
    }

    fn bucket(&self, client: IpAddr) -> u32 {
        let hash = self.hasher.hash_one(ClientNet::of(client));
        u32::try_from(hash % u64::from(limits::RATE_BUCKETS)).unwrap_or(0)
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, since whoever has one IPv6 address
/// has at least that many to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientNet {
    V4(u32),
    V6(u64),
}

impl ClientNet {
    pub(crate) fn of(client: IpAddr) -> Self {
        match client.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6(u64::try_from(v6.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn limiter(burst: u32, per_second: u32) -> (RateLimiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let quota = Quota {
            burst: NonZeroU32::new(burst).unwrap(),
            per_second: NonZeroU32::new(per_second).unwrap(),
        };
        (RateLimiter::with_clock(quota, clock.clone()), clock)
    }

    #[test]
    fn burst_then_rate_then_recovery() {
        let (limiter, clock) = limiter(3, 1);
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(limiter.check(client), Ok(()));
        }
        assert_eq!(limiter.check(client), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(limiter.check(client), Ok(()));
        assert_eq!(limiter.check(client), Err(1));
    }

    #[test]
    fn one_ipv6_network_and_mapped_addresses_are_one_client() {
        let (limiter, _) = limiter(1, 1);
        assert_eq!(limiter.check("2001:db8::1".parse().unwrap()), Ok(()));
        assert_eq!(limiter.check("2001:db8::ffff:2".parse().unwrap()), Err(1));
        assert_eq!(limiter.check("192.0.2.7".parse().unwrap()), Ok(()));
        assert_eq!(limiter.check("::ffff:192.0.2.7".parse().unwrap()), Err(1));
    }

    #[test]
    fn many_addresses_stay_bounded_and_are_forgotten() {
        let (limiter, clock) = limiter(1, 1);
        for n in 0..200_000u32 {
            let _ = limiter.check(IpAddr::V4(n.into()));
        }
        assert!(limiter.len() <= limits::RATE_BUCKETS as usize);
        clock.advance(Duration::from_secs(10));
        limiter.sweep();
        assert!(limiter.is_empty());
    }
}
