use super::*;

#[test]
fn attributes_that_lie_are_no_panic_and_no_endless_loop() {
    for len in [0_u16, 1, 3, 4, 5, 9, u16::MAX] {
        let mut bytes = [0_u8; 9];
        bytes[..2].copy_from_slice(&len.to_ne_bytes());
        assert!(attributes_of(&bytes).count() <= 3, "{len}");
    }
    assert_eq!(attributes_of(&[]).count(), 0);
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(ATTRIBUTE + value.len()).unwrap();
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What the kernel says of a link: its kind, and below which interface and with which
/// number and protocol it is.
fn link_message(kind: &[u8], lower: u32, id: u16, protocol: u16) -> Vec<u8> {
    let data = [
        attribute(IFLA_VLAN_ID, &id.to_ne_bytes()),
        attribute(IFLA_VLAN_PROTOCOL, &protocol.to_be_bytes()),
    ]
    .concat();
    // As the kernel marks attributes that hold others.
    let nested = 0x8000;
    let info = [
        attribute(IFLA_INFO_KIND, kind),
        attribute(IFLA_INFO_DATA | nested, &data),
    ]
    .concat();
    [
        vec![0; LINK],
        attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]),
        attribute(IFLA_MTU, &1_496_u32.to_ne_bytes()),
        attribute(IFLA_LINK, &lower.to_ne_bytes()),
        attribute(IFLA_LINKINFO, &info),
    ]
    .concat()
}

#[test]
fn a_vlan_interface_on_top_of_ours_is_a_tag() {
    let link = Link {
        index: 3,
        up: true,
        mtu: 1_500,
        mac: [2; 6],
    };
    let read = |message: &[u8], mtu| {
        let mut hop = NextHop {
            source: [10, 0, 0, 1].into(),
            from: link.mac,
            to: [4; 6],
            vlan: None,
            mtu,
        };
        read_vlan(message, &link, &mut hop).map(|()| hop)
    };
    let message = link_message(b"vlan\0", 3, 7, 0x8100);
    let hop = read(&message, None).unwrap();
    assert_eq!((hop.vlan, hop.mtu), (Some(7), Some(1_496)));
    assert_eq!((hop.from, hop.to), ([2, 0, 0, 0, 0, 9], [4; 6]));
    let narrow = read(&message, Some(1_400)).unwrap();
    assert_eq!(narrow.mtu, Some(1_400), "the route's is less");
    for other in [
        link_message(b"vlan\0", 4, 7, 0x8100),
        link_message(b"vlan\0", 3, 7, 0x88a8),
        link_message(b"macvlan\0", 3, 7, 0x8100),
    ] {
        assert_eq!(read(&other, None), None);
    }
    for len in 0..message.len() {
        let _ = read(&message[..len], None);
    }
}

#[test]
fn what_is_local_or_on_no_device_of_ours_has_no_next_hop() {
    let mut netlink = Netlink::new().unwrap();
    let link = Link {
        index: 1,
        up: true,
        mtu: 1_500,
        mac: [0; 6],
    };
    let any = "0.0.0.0".parse().unwrap();
    let own = "127.0.0.1".parse().unwrap();
    assert_eq!(netlink.next_hop(&link, own, any), None);
    // Questions with answers of any kind in between.
    let nowhere = "240.0.0.1".parse().unwrap();
    for _ in 0..3 {
        assert_eq!(netlink.next_hop(&link, nowhere, any), None);
    }
}
