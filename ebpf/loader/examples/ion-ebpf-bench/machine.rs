use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, Pid, UnshareFlags, sched_setaffinity, unshare_unsafe};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

pub(crate) const NEAR: &str = "near";
pub(crate) const FAR: &str = "far";
pub(crate) const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Where the measured work is done.
pub(crate) const RECEIVER_CPU: usize = 1;
/// Where frames come from.
pub(crate) const GENERATOR_CPU: usize = 0;

/// Takes this process into a namespace with the pair in it and no way out.
pub(crate) fn enter() -> Result<()> {
    let new = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // SAFETY: this process has one thread so far, which shares nothing with others.
    unsafe { unshare_unsafe(new) }?;
    // What is mounted from here on stays here; sysfs shows the namespace that it was mounted in.
    run("mount --make-rprivate /")?;
    run("mount -t sysfs sysfs /sys")?;
    fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").ok();
    run(&format!("ip link add {NEAR} type veth peer name {FAR}"))?;
    run(&format!("ip link set {NEAR} address 02:00:00:00:00:01 up"))?;
    run(&format!("ip link set {FAR} address 02:00:00:00:00:02 up"))?;
    run(&format!("ip address add 10.9.0.1/24 dev {NEAR}"))?;
    run(&format!(
        "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 nud permanent dev {NEAR}"
    ))?;
    for interface in [NEAR, FAR] {
        // As network cards have it; and it gives veth a NAPI, which a thread can run.
        receive_offload(interface)?;
        fs::write(format!("/sys/class/net/{interface}/threaded"), "1").context("threaded NAPI")?;
    }
    Ok(())
}

fn run(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().unwrap_or_default())
        .args(words)
        .status();
    ensure!(status.with_context(|| line.to_owned())?.success(), "{line}");
    Ok(())
}

fn any_socket() -> Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketType, socket};
    Ok(socket(AddressFamily::INET, SocketType::DGRAM, None)?)
}

pub(crate) fn index_of(interface: &str) -> Result<u32> {
    Ok(rustix::net::netdevice::name_to_index(
        any_socket()?,
        interface,
    )?)
}

/// `ethtool -K INTERFACE gro on`.
fn receive_offload(interface: &str) -> Result<()> {
    const ETHTOOL_SGRO: u32 = 0x2c;
    let socket = any_socket()?;
    let mut value = [ETHTOOL_SGRO, 1];
    // SAFETY: all bytes zero are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the kernel reads the request and the value behind it during the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    ensure!(
        result == 0,
        "GRO on {interface}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// Pins a thread, 0 for this one.
pub(crate) fn pin(thread: i32, cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(Pid::from_raw(thread), &cpus).context("two CPUs are needed")
}

/// The kernel's thread that receives at the near end.
pub(crate) struct Receiver {
    schedstat: String,
}

impl Receiver {
    pub(crate) fn find() -> Result<Self> {
        for process in fs::read_dir("/proc")? {
            let path = process?.path();
            let Ok(name) = fs::read_to_string(path.join("comm")) else {
                continue;
            };
            if name.starts_with(&format!("napi/{NEAR}-")) {
                let id = path
                    .file_name()
                    .and_then(|name| name.to_str()?.parse().ok());
                pin(id.context("a process without a number")?, RECEIVER_CPU)?;
                let schedstat = path.join("schedstat").to_string_lossy().into_owned();
                return Ok(Self { schedstat });
            }
        }
        bail!("no thread receives at {NEAR}")
    }

    /// Time on a CPU so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let text = fs::read_to_string(&self.schedstat)?;
        let first = text.split_whitespace().next().context("schedstat")?;
        Ok(Duration::from_nanos(first.parse()?))
    }
}
