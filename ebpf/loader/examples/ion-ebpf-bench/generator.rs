use anyhow::{Context, Result};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_DEVMAP: u32 = 14;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
/// Frames made before they are sent; the kernel's default.
const BATCH: u32 = 64;
/// Bytes of headers that the generator writes anew into each frame: who received it changed them.
const HEADERS: usize = 44;

/// One call of bpf(2) with the words of `union bpf_attr`.
fn bpf(command: libc::c_int, attr: &mut [u64]) -> Result<i64> {
    // SAFETY: the kernel reads the attr, and what its pointers point at, during the call; callers keep
    // those alive.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if result < 0 {
        return Err(io::Error::last_os_error()).with_context(|| format!("bpf command {command}"));
    }
    Ok(result)
}

fn bpf_fd(command: libc::c_int, attr: &mut [u64]) -> Result<OwnedFd> {
    let fd = i32::try_from(bpf(command, attr)?)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Two 32-bit fields of an attr in one word.
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn raw(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// One BPF instruction.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> u64 {
    let [a, b] = offset.to_le_bytes();
    let [c, d, e, f] = immediate.to_le_bytes();
    u64::from_le_bytes([code, source << 4 | destination, a, b, c, d, e, f])
}

fn load(instructions: &[u64]) -> Result<OwnedFd> {
    let license = c"MIT";
    let count = u32::try_from(instructions.len())?;
    let mut attr = [
        pair(BPF_PROG_TYPE_XDP, count),
        instructions.as_ptr().addr() as u64,
        license.as_ptr().addr() as u64,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    // Expected attach type, behind the name and the interface index.
    attr[8] = pair(0, BPF_XDP);
    bpf_fd(BPF_PROG_LOAD, &mut attr)
}

/// Attaches a program that drops everything, until what is returned is dropped.
pub(crate) fn attach_drop(interface: &str) -> Result<OwnedFd> {
    let program = load(&[instruction(0xb7, 0, 0, 0, 1), instruction(0x95, 0, 0, 0, 0)])?;
    let index = super::machine::index_of(interface)?;
    let mut attr = [
        pair(raw(&program), index),
        pair(BPF_XDP, XDP_FLAGS_DRV_MODE),
    ];
    bpf_fd(BPF_LINK_CREATE, &mut attr)
}

/// Sends a frame out of an interface as often as one wants.
pub(crate) struct Generator {
    program: OwnedFd,
    frame: Vec<u8>,
    _devices: OwnedFd,
}

impl Generator {
    pub(crate) fn new(interface: &str, frame: &[u8]) -> Result<Self> {
        let index = super::machine::index_of(interface)?;
        let mut attr = [pair(BPF_MAP_TYPE_DEVMAP, 4), pair(4, 1), 0];
        let devices = bpf_fd(BPF_MAP_CREATE, &mut attr)?;
        let (key, value) = (0_u32, index);
        let mut attr = [
            u64::from(raw(&devices)),
            (&raw const key).addr() as u64,
            (&raw const value).addr() as u64,
            0,
        ];
        bpf(BPF_MAP_UPDATE_ELEM, &mut attr)?;
        let program = load(&program(raw(&devices), frame))?;
        Ok(Self {
            program,
            frame: frame.to_vec(),
            _devices: devices,
        })
    }

    /// Sends `count` frames, fewer if the far end has no room.
    pub(crate) fn run(&self, count: u32) -> Result<()> {
        let len = u32::try_from(self.frame.len())?;
        let mut attr = [
            u64::from(raw(&self.program)),
            pair(len, 0),
            self.frame.as_ptr().addr() as u64,
            0,
            pair(count, 0),
            0,
            0,
            0,
            pair(BPF_F_TEST_XDP_LIVE_FRAMES, 0),
            u64::from(BATCH),
        ];
        bpf(BPF_PROG_TEST_RUN, &mut attr).map(|_| ())
    }
}

/// Writes the frame's headers into it and redirects it to the one device of the map.
fn program(devices: u32, frame: &[u8]) -> Vec<u64> {
    let mut code = vec![
        instruction(0x61, 2, 1, 0, 0),  // r2 = ctx->data
        instruction(0x61, 3, 1, 4, 0),  // r3 = ctx->data_end
        instruction(0xbf, 4, 2, 0, 0),  // r4 = r2
        instruction(0x07, 4, 0, 0, 44), // r4 += HEADERS
    ];
    let stores = HEADERS / 4;
    let past = i16::try_from(stores + 6).unwrap_or(0);
    code.push(instruction(0x2d, 4, 3, past, 0)); // if r4 > r3 goto drop
    for (at, word) in (0..).step_by(4).zip(frame.as_chunks::<4>().0).take(stores) {
        code.push(instruction(0x62, 2, 0, at, u32::from_le_bytes(*word)));
    }
    code.extend([
        instruction(0x18, 1, 1, 0, devices), // r1 = the map
        0,
        instruction(0xb7, 2, 0, 0, 0),  // r2 = 0, the key
        instruction(0xb7, 3, 0, 0, 0),  // r3 = 0, flags
        instruction(0x85, 0, 0, 0, 51), // bpf_redirect_map
        instruction(0x95, 0, 0, 0, 0),  // exit
        instruction(0xb7, 0, 0, 0, 1),  // drop: r0 = XDP_DROP
        instruction(0x95, 0, 0, 0, 0),
    ]);
    code
}
