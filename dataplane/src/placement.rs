//! Which core, queues and interrupts each worker has, and whether they are close to each other.

use ion_io::affinity;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Where one worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The core that it is pinned to.
    pub core: usize,
    /// The core's NUMA node. What the worker allocates after it was pinned, its frames and packets,
    /// is that node's: Linux gives out memory where it is first touched.
    pub node: Option<usize>,
}

/// The cores of `workers` workers, out of those allowed: those close to the interface first.
pub fn plan(cores: &[usize], workers: usize, interface: Option<&str>) -> Vec<Place> {
    let near =
        interface.and_then(|name| number(&format!("/sys/class/net/{name}/device/numa_node")));
    let place = |&core: &usize| Place {
        core,
        node: node_of(core),
    };
    let places: Vec<_> = cores.iter().map(place).collect();
    let close: Vec<_> = places
        .iter()
        .filter(|p| p.node == near)
        .map(|p| p.core)
        .collect();
    // One node too small for all workers is no reason to put two on one core.
    let chosen = if near.is_some() && close.len() >= workers {
        affinity::plan(&close, workers)
    } else {
        affinity::plan(cores, workers)
    };
    chosen.iter().map(place).collect()
}

/// The text of `--print-affinity`: a line for each worker, and how to move interrupts to where
/// their packets are worked on.
pub fn describe(places: &[Place], interface: Option<&str>, queues: u32) -> String {
    let mut out = String::new();
    let mut moves = String::new();
    for (worker, place) in places.iter().enumerate() {
        let _ = write!(out, "worker {worker} core {}", place.core);
        if let Some(node) = place.node {
            let _ = write!(out, " node {node}");
        }
        let Some(interface) = interface else {
            out.push('\n');
            continue;
        };
        let own = queues_of(worker, places.len(), queues);
        let irqs: Vec<_> = own.iter().flat_map(|&q| interrupts(interface, q)).collect();
        let list = |numbers: &[u32]| {
            let texts: Vec<_> = numbers.iter().map(u32::to_string).collect();
            if texts.is_empty() {
                "none".to_owned()
            } else {
                texts.join(",")
            }
        };
        let _ = writeln!(out, " queues {} irqs {}", list(&own), list(&irqs));
        for irq in irqs {
            let _ = writeln!(
                moves,
                "  echo {} > /proc/irq/{irq}/smp_affinity_list",
                place.core
            );
        }
    }
    if !moves.is_empty() {
        let _ = write!(
            out,
            "to take each queue's interrupts on its worker's core, as root (and stop irqbalance):\n{moves}"
        );
    }
    out
}

/// The queues of a worker: they are dealt out in turn.
pub fn queues_of(worker: usize, workers: usize, queues: u32) -> Vec<u32> {
    (0..queues)
        .filter(|&queue| queue as usize % workers.max(1) == worker)
        .collect()
}

/// Interrupts of a queue, by the names that drivers give them: `eth0-TxRx-3`, `mlx5_comp3@pci:…`,
/// `virtio0-input.3`. A driver with other names has none here.
fn interrupts(interface: &str, queue: u32) -> Vec<u32> {
    let Ok(text) = fs::read_to_string("/proc/interrupts") else {
        return Vec::new();
    };
    let device = fs::read_link(format!("/sys/class/net/{interface}/device")).ok();
    let device = device.as_deref().and_then(Path::file_name);
    let device = device.map(|name| name.to_string_lossy().into_owned());
    let of_device = |name: &str| {
        name.contains(interface)
            || device
                .as_deref()
                .is_some_and(|device| name.contains(device))
    };
    text.lines()
        .filter_map(|line| {
            let (irq, rest) = line.split_once(':')?;
            let name = rest.split_whitespace().last()?;
            (of_device(name) && number_in(name, interface) == Some(queue))
                .then(|| irq.trim().parse().ok())?
        })
        .collect()
}

/// The queue's number in an interrupt's name: the last number before what names the device.
fn number_in(name: &str, interface: &str) -> Option<u32> {
    let name = name.split('@').next()?.replace(interface, "");
    let digits: Vec<_> = name
        .split(|c: char| !c.is_ascii_digit())
        .filter(|d| !d.is_empty())
        .collect();
    digits.last()?.parse().ok()
}

fn node_of(core: usize) -> Option<usize> {
    let entries = fs::read_dir(format!("/sys/devices/system/cpu/cpu{core}")).ok()?;
    entries.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("node")?.parse().ok()
    })
}

/// A number that the kernel shows; minus one is none.
fn number(path: &str) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interrupts_end_in_their_queue() {
        for (name, queue) in [
            ("eth0-TxRx-3", Some(3)),
            ("eth0-rx-0", Some(0)),
            ("mlx5_comp12@pci:0000:03:00.0", Some(12)),
            ("virtio0-input.1", Some(1)),
            ("eth0", None),
        ] {
            assert_eq!(number_in(name, "eth0"), queue, "{name}");
        }
    }

    #[test]
    fn queues_are_dealt_out_in_turn() {
        assert_eq!(queues_of(0, 2, 5), [0, 2, 4]);
        assert_eq!(queues_of(1, 2, 5), [1, 3]);
        assert!(queues_of(2, 3, 2).is_empty());
    }

    #[test]
    fn each_worker_has_a_line() {
        let cores = affinity::allowed_cores().unwrap();
        let places = plan(&cores, 3, None);
        let text = describe(&places, None, 0);
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with(&format!("worker 0 core {}", places[0].core)));
        let text = describe(&places, Some("no-such-interface"), 2);
        assert!(text.contains(" queues 1 irqs none\n"), "{text}");
        assert!(text.contains(" queues none irqs none\n"), "{text}");
    }
}
