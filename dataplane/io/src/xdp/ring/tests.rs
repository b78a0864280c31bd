use super::*;
use crate::seeded;
use proptest::prelude::*;
use rustix::mm::mmap_anonymous;
use std::collections::VecDeque;

/// Both sides of one ring; in life one of them is the kernel's.
pub(crate) fn sides<T: Entry>(size: u32, start: u32) -> (Producer<T>, Consumer<T>) {
    let memory = ring(size, size_of::<T>(), start);
    // SAFETY: the entries are `T`s, and there is one producer.
    let producer = unsafe { Producer::new(memory.clone()) };
    // SAFETY: the entries are `T`s, and there is one consumer.
    let consumer = unsafe { Consumer::new(memory) };
    (producer, consumer)
}

/// A ring in memory of our own, whose indices begin at `start`.
fn ring(size: u32, entry: usize, start: u32) -> RingMemory {
    let (entries, len) = (64, 64 + size as usize * entry);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let base = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    };
    let base = NonNull::new(base.unwrap()).unwrap();
    // SAFETY: all offsets are inside `len`.
    let part = |offset: usize| unsafe { base.byte_add(offset) };
    let memory = RingMemory {
        producer: part(0).cast(),
        consumer: part(4).cast(),
        flags: part(8).cast(),
        entries: part(entries),
        size,
        _mapping: Arc::new(Mapping { base, len }),
    };
    memory.producer().store(start, Ordering::Relaxed);
    memory.consumer().store(start, Ordering::Relaxed);
    memory
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(u8),
    Publish,
    Pop(u8),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..20_u8).prop_map(Step::Push),
        Just(Step::Publish),
        (1..20_u8).prop_map(Step::Pop),
        Just(Step::Release),
    ]
}

/// What the ring must do: entries that are written, visible, and read but not given back.
#[derive(Default)]
struct Model {
    written: VecDeque<u64>,
    visible: VecDeque<u64>,
    unreleased: usize,
}

impl Model {
    fn used(&self) -> usize {
        self.written.len() + self.visible.len() + self.unreleased
    }
}

proptest! {
    #![proptest_config(seeded())]

    /// Whatever the order of steps, the ring is a FIFO, and also where indices wrap.
    #[test]
    fn it_is_a_fifo(
        steps in proptest::collection::vec(step(), 1..200),
        order in 0_u32..6,
        before_wrap in 0_u32..40,
    ) {
        let size = 1 << order;
        let (mut producer, mut consumer) = sides(size, 0_u32.wrapping_sub(before_wrap));
        let mut model = Model::default();
        let mut next = 0_u64;
        for step in steps {
            match step {
                Step::Push(count) => {
                    for _ in 0..count {
                        let full = model.used() == size as usize;
                        prop_assert_eq!(producer.push(next).is_err(), full);
                        if !full {
                            model.written.push_back(next);
                            next += 1;
                        }
                    }
                }
                Step::Publish => {
                    producer.publish();
                    model.visible.append(&mut model.written);
                }
                Step::Pop(count) => {
                    for _ in 0..count {
                        prop_assert_eq!(consumer.is_empty(), model.visible.is_empty());
                        let expected = model.visible.pop_front();
                        model.unreleased += usize::from(expected.is_some());
                        prop_assert_eq!(consumer.pop(), expected);
                    }
                }
                Step::Release => {
                    consumer.release();
                    model.unreleased = 0;
                }
            }
            let waiting = model.visible.len() + model.unreleased;
            prop_assert_eq!(producer.waiting() as usize, waiting);
        }
    }
}

/// The same between threads: nothing is lost, doubled, reordered or torn.
#[test]
fn two_threads_see_every_entry_once_and_in_order() {
    const COUNT: u64 = 200_000;
    struct Send<T>(T);
    // SAFETY: the pointers of a ring are valid on any thread; it is the sides' atomics that make
    // this sound, and that is what is tested.
    unsafe impl<T> std::marker::Send for Send<T> {}
    impl<T> Send<T> {
        fn into(self) -> T {
            self.0
        }
    }
    let (mut producer, consumer) = sides(64, u32::MAX - 1_000);
    let consumer = Send(consumer);
    let reader = std::thread::spawn(move || {
        let mut consumer = consumer.into();
        let mut expected = 0;
        while expected < COUNT {
            let Some(entry) = consumer.pop() else {
                consumer.release();
                std::thread::yield_now();
                continue;
            };
            assert_eq!(entry, expected * 0x0001_0001_0001);
            expected += 1;
        }
    });
    for number in 0..COUNT {
        while producer.push(number * 0x0001_0001_0001).is_err() {
            producer.publish();
            std::thread::yield_now();
        }
    }
    producer.publish();
    reader.join().unwrap();
}

#[test]
fn the_wakeup_flag_is_read() {
    let (producer, _) = sides::<u64>(2, 0);
    assert!(!producer.needs_wakeup());
    let flags = producer.memory.index(producer.memory.flags);
    flags.store(NEED_WAKEUP, Ordering::Relaxed);
    assert!(producer.needs_wakeup());
}
