use super::header::{LinkHeader, Template};
use ion_engine::transmit::Path;
use std::net::IpAddr;

/// Entries that a path may be in.
const WAYS: usize = 4;
/// What a frame told of is asked anew of the kernel after this long without another, ms.
const LEARNED_MS: u32 = 30_000;
/// What the kernel said is asked again after this long, milliseconds.
const RESOLVED_MS: u32 = 5_000;
/// That the kernel knew no way is asked again after this long, milliseconds.
const UNKNOWN_MS: u32 = 1_000;

/// How a path can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the ring, with these headers.
    Ring(Template),
    /// By the socket: there are no headers for it.
    Socket,
}

/// Where an entry's headers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A frame that came from there.
    Frame,
    /// The kernel's routes and neighbours.
    Kernel,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    path: Path,
    origin: Origin,
    /// When it was last confirmed, milliseconds.
    seen_ms: u32,
    way: Way,
}

/// Where a path is kept, until another one is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// What is known of the way to each client. It has a fixed size: a path that finds all its
/// places taken gets the one that was confirmed longest ago.
pub(crate) struct Paths {
    /// Of each entry, a part of its hash, so that a look-up reads one line; zero is empty.
    tags: Box<[[u32; WAYS]]>,
    entries: Box<[Option<Entry>]>,
    seeds: [u64; 2],
}

impl Paths {
    /// Room for about so many paths.
    pub(crate) fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        Self {
            tags: vec![[0; WAYS]; sets].into_boxed_slice(),
            entries: vec![None; sets * WAYS].into_boxed_slice(),
            seeds: seeds(),
        }
    }

    /// A frame came on this path by this link. Returns whether that is how it is served
    /// already; else the caller makes the headers and [`put`](Self::put)s them.
    pub(crate) fn confirm(&mut self, now_ms: u32, path: &Path, link: &LinkHeader) -> bool {
        let (set, tag) = self.place(path);
        if let Some(found) = self.find(set, tag, path)
            && let Some(entry) = &mut self.entries[found]
            && let Way::Ring(template) = &entry.way
            && template.link() == link
        {
            entry.origin = Origin::Frame;
            entry.seen_ms = now_ms;
            return true;
        }
        false
    }

    /// Where the way to a client is kept, if it is known, and whether that is so old that the
    /// kernel is to be asked.
    pub(crate) fn look_up(&self, now_ms: u32, path: &Path) -> Option<(Place, bool)> {
        let (set, tag) = self.place(path);
        let place = self.find(set, tag, path)?;
        let entry = self.entries[place].as_ref()?;
        let lifetime = match (&entry.way, entry.origin) {
            (Way::Socket, _) => UNKNOWN_MS,
            (_, Origin::Frame) => LEARNED_MS,
            (_, Origin::Kernel) => RESOLVED_MS,
        };
        let old = now_ms.wrapping_sub(entry.seen_ms) >= lifetime;
        Some((Place(place), old))
    }

    /// How to serve the path that is kept there.
    pub(crate) fn way(&self, place: Place) -> &Way {
        let entry = self.entries[place.0].as_ref();
        entry.map_or(&Way::Socket, |entry| &entry.way)
    }

    /// Forgets everything: the interface has changed.
    pub(crate) fn clear(&mut self) {
        self.tags.fill([0; WAYS]);
        self.entries.fill(None);
    }

    /// Keeps how a path is served from now on.
    pub(crate) fn put(&mut self, now_ms: u32, path: &Path, origin: Origin, way: Way) -> Place {
        let (set, tag) = self.place(path);
        let first = set * WAYS;
        let place = self.find(set, tag, path).unwrap_or_else(|| {
            let age = |n: &usize| {
                let entry = self.entries[*n].as_ref();
                entry.map_or(u32::MAX, |e| now_ms.wrapping_sub(e.seen_ms))
            };
            (first..first + WAYS).max_by_key(age).unwrap_or(first)
        });
        self.tags[set][place - first] = tag;
        self.entries[place] = Some(Entry {
            path: *path,
            origin,
            seen_ms: now_ms,
            way,
        });
        Place(place)
    }

    fn find(&self, set: usize, tag: u32, path: &Path) -> Option<usize> {
        let tags = &self.tags[set];
        (0..WAYS)
            .filter(|&n| tags[n] == tag)
            .map(|n| set * WAYS + n)
            .find(|&n| self.entries[n].as_ref().is_some_and(|e| e.path == *path))
    }

    /// The set and the tag of a path. Seeded: nobody can choose addresses that crowd one set.
    #[expect(clippy::cast_possible_truncation, reason = "parts of a hash")]
    fn place(&self, path: &Path) -> (usize, u32) {
        let [remote, local] = [path.remote.ip(), path.local].map(|ip| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        });
        let port = u128::from(path.remote.port()) << 64;
        let hash = self.mix(remote, self.mix(local, self.mix(port, 0)));
        // Once more: of neighbouring addresses, one multiplication leaves some seeds' low bits alike.
        let hash = self.mix(0, hash);
        (
            hash as usize & (self.tags.len() - 1),
            (hash >> 32) as u32 | 1,
        )
    }

    /// Multiplies the halves and folds the product.
    #[expect(clippy::cast_possible_truncation, reason = "parts of a hash")]
    fn mix(&self, word: u128, hash: u64) -> u64 {
        let low = word as u64 ^ self.seeds[0] ^ hash;
        let high = (word >> 64) as u64 ^ self.seeds[1];
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    }
}

/// Random numbers that nobody outside knows.
fn seeds() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    // Odd, so that no product loses all of a factor.
    [(); 2].map(|()| RandomState::new().hash_one(()) | 1)
}

#[cfg(test)]
mod tests {
    use super::super::header::IpFields;
    use super::*;

    fn learn(paths: &mut Paths, now_ms: u32, path: &Path, link: &LinkHeader) {
        if !paths.confirm(now_ms, path, link) {
            let local = (path.local, 7_882).into();
            let fields = IpFields { hops: 64, class: 0 };
            let template = Template::new(link, local, path.remote, fields, 1_500).unwrap();
            paths.put(now_ms, path, Origin::Frame, Way::Ring(template));
        }
    }

    fn path(number: u32) -> Path {
        let [.., a, b, c] = number.to_be_bytes();
        Path {
            remote: ([10, a, b, c], 5_000).into(),
            local: [192, 0, 2, 1].into(),
        }
    }

    fn hop(last: u8) -> LinkHeader {
        LinkHeader::new([2, 0, 0, 0, 0, last], [2; 6], None, true)
    }

    fn link_of(paths: &Paths, now_ms: u32, path: &Path) -> Option<LinkHeader> {
        match paths.look_up(now_ms, path)? {
            (_, true) => None,
            (place, false) => match paths.way(place) {
                Way::Ring(template) => Some(*template.link()),
                Way::Socket => None,
            },
        }
    }

    fn is_old(paths: &Paths, now_ms: u32, path: &Path) -> Option<bool> {
        paths.look_up(now_ms, path).map(|(_, old)| old)
    }

    #[test]
    fn a_path_is_learned_follows_its_neighbour_and_grows_old() {
        let mut paths = Paths::new(64);
        assert_eq!(paths.look_up(0, &path(1)), None);
        learn(&mut paths, 0, &path(1), &hop(1));
        assert_eq!(link_of(&paths, 10, &path(1)), Some(hop(1)));
        learn(&mut paths, 20, &path(1), &hop(2));
        assert_eq!(link_of(&paths, 20, &path(1)), Some(hop(2)));
        assert_eq!(paths.look_up(20, &path(2)), None);
        learn(&mut paths, LEARNED_MS, &path(1), &hop(2));
        let (last, after) = (2 * LEARNED_MS - 1, 2 * LEARNED_MS);
        assert_eq!(is_old(&paths, last, &path(1)), Some(false), "confirmed");
        assert_eq!(is_old(&paths, after, &path(1)), Some(true));
        paths.clear();
        assert_eq!(paths.look_up(0, &path(1)), None);
    }

    #[test]
    fn that_there_is_no_way_is_remembered_for_a_while() {
        let mut paths = Paths::new(64);
        // Also when the clock wraps.
        let now = u32::MAX - 10;
        paths.put(now, &path(1), Origin::Kernel, Way::Socket);
        let later = |ms| now.wrapping_add(ms);
        let (place, old) = paths.look_up(later(UNKNOWN_MS - 1), &path(1)).unwrap();
        assert_eq!((paths.way(place), old), (&Way::Socket, false));
        assert_eq!(is_old(&paths, later(UNKNOWN_MS), &path(1)), Some(true));
        learn(&mut paths, later(2), &path(1), &hop(3));
        assert_eq!(link_of(&paths, later(3), &path(1)), Some(hop(3)));
    }

    #[test]
    fn many_paths_share_few_places_and_the_newest_stay() {
        // Seeds are random: none may crowd the sets.
        for _ in 0..100 {
            let mut paths = Paths::new(256);
            for number in 0..2_000 {
                learn(&mut paths, number, &path(number), &hop(1));
                assert!(paths.look_up(number, &path(number)).is_some());
            }
            let known = |n: &u32| paths.look_up(2_000, &path(*n)).is_some();
            let all = (0..2_000).filter(known).count();
            assert_eq!(all, 256, "all places are used");
            let newest = (1_700..2_000).filter(known).count();
            assert!(newest > 180, "by the newest: {newest} of 300");
        }
    }
}
