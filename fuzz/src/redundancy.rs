//! What repairs losses: RED and FlexFEC.

use ion_wire::flexfec::{self, FlexFec};
use ion_wire::red::{self, Red};

/// RED payloads: read, written anew, the same.
pub fn red(data: &[u8]) {
    let Ok(red) = Red::parse(data) else {
        return;
    };
    let blocks: Vec<_> = red.redundant().collect();
    let mut out = vec![0; data.len()];
    let len = red::write(&mut out, &blocks, red.payload_type, red.primary);
    assert_eq!(len, Ok(data.len()));
    assert_eq!(out, data);
}

/// FlexFEC payloads and a packet: a length, so many bytes of the first, and the second. What it makes is no longer than
/// what went in; and the packet, protected and lost, is made again.
pub fn flexfec(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else {
        return;
    };
    let (payload, packet) = rest.split_at(usize::from(len).min(rest.len()));
    let mut out = [0; 2_048];
    if let Ok(fec) = FlexFec::parse(payload) {
        let count = fec.sequences().count();
        assert!((1..=usize::from(flexfec::MAX_PROTECTED)).contains(&count));
        let mut parity = fec.parity(&mut out[..]).expect("there is room");
        if parity.add(packet, &[]).is_ok()
            && let Ok(len) = parity.restore(9, 7)
        {
            assert!(len <= 12 + payload.len().max(packet.len()));
        }
    }
    let mut repair = [0; 2_048];
    if let Ok(len) = flexfec::write(&mut repair, &mut out, 9, &[packet, packet]) {
        let fec = FlexFec::parse(&repair[..len]).expect("what was written can be read");
        assert_eq!(fec.sequences().count(), 1);
    }
    if packet.len() >= 12 && packet[0] & 0xc0 == 0x80 && packet[8..12] == [0, 0, 0, 9] {
        let len = flexfec::write(&mut repair, &mut out, 9, &[packet]).expect("it has a header");
        let fec = FlexFec::parse(&repair[..len]).expect("what was written can be read");
        let missing = u16::from_be_bytes([packet[2], packet[3]]);
        let mut parity = fec.parity(&mut out[..]).expect("there is room");
        let len = parity.restore(9, missing);
        assert_eq!(len.map(|len| &out[..len]), Ok(packet));
    }
}
