use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// The cores that this thread may run on, in ascending order. At least one.
///
/// # Errors
/// When the kernel refuses to say.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Keeps the calling thread on one core.
///
/// # Errors
/// When the kernel refuses, as some containers do: the thread then runs where it may.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// The core of each worker: the last ones of `cores`, so that the first, where
/// interrupts and the control plane usually run, is shared last. With more workers
/// than cores, cores are shared.
pub fn plan(cores: &[usize], workers: usize) -> Vec<usize> {
    let first = cores.len().saturating_sub(workers);
    (0..workers)
        .filter_map(|worker| {
            let place = (first + worker).checked_rem(cores.len())?;
            cores.get(place).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_take_the_last_cores_and_share_when_there_are_too_few() {
        assert_eq!(plan(&[0, 1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(plan(&[4, 6], 2), [4, 6]);
        assert_eq!(plan(&[4, 6], 3), [4, 6, 4]);
        assert!(plan(&[], 3).is_empty());
    }

    #[test]
    fn a_pinned_thread_is_allowed_its_core_only() {
        std::thread::spawn(|| {
            let core = *allowed_cores().unwrap().last().unwrap();
            pin(core).unwrap();
            assert_eq!(allowed_cores().unwrap(), [core]);
        })
        .join()
        .unwrap();
        assert!(pin(usize::MAX).is_err());
    }
}
