use super::*;
use crate::WireError;
use proptest::prelude::*;
use std::vec::Vec;

/// L1T2 as Chromium sends it: two templates for the keyframe and T0, one for T1, one chain.
fn l1t2() -> Structure {
    let indications = |list: &[Indication]| {
        let mut all = Indications::default();
        for (target, &indication) in list.iter().enumerate() {
            all.set(target, indication);
        }
        all
    };
    use Indication::{Discardable, NotPresent, Switch};
    let template = |temporal, list: &[Indication], reference, chain| {
        let mut references = References::default();
        if reference > 0 {
            references.push(reference).unwrap();
        }
        let mut chains = [0; MAX_TARGETS];
        chains[0] = chain;
        Template {
            spatial: 0,
            temporal,
            indications: indications(list),
            references,
            chains,
        }
    };
    let templates = [
        template(0, &[Switch, Switch], 0, 0),
        template(0, &[Switch, Switch], 2, 2),
        template(1, &[NotPresent, Discardable], 1, 1),
    ];
    Structure::new(5, 2, 1, [0; MAX_TARGETS], &templates).unwrap()
}

fn frame(structure: &Structure, template: u8, has_structure: bool) -> Frame {
    let of = structure.template(template).unwrap();
    Frame {
        mandatory: Mandatory {
            start_of_frame: true,
            end_of_frame: false,
            template,
            frame_number: 0xfffe,
        },
        has_structure,
        active_targets: has_structure.then_some(
            (1_u32
                .checked_shl(structure.target_count.into())
                .unwrap_or(0))
            .wrapping_sub(1),
        ),
        spatial: of.spatial,
        temporal: of.temporal,
        indications: of.indications,
        references: of.references,
        chains: of.chains,
    }
}

#[test]
fn a_structure_survives_and_later_frames_are_three_bytes() {
    let structure = l1t2();
    let mut buf = [0; 255];
    let key = frame(&structure, 5, true);
    let len = key.write(&structure, &mut buf).unwrap();
    let read = Structure::parse(&buf[..len]).unwrap().unwrap();
    assert_eq!(read, structure);
    assert_eq!(Frame::parse(&buf[..len], &read), Ok(key));
    assert_eq!((read.layer_of(0), read.layer_of(1)), ((0, 0), (0, 1)));
    for end in 0..len {
        let cut = &buf[..end];
        let failed =
            Structure::parse(cut).is_err() || Frame::parse(cut, &structure).is_err() || end == 3;
        assert!(failed, "{end} bytes");
    }
    let delta = frame(&structure, 7, false);
    assert_eq!(delta.write(&structure, &mut buf), Ok(3));
    assert_eq!(buf[..3], [0x87, 0xff, 0xfe]);
    assert_eq!(Frame::parse(&buf[..3], &structure), Ok(delta));
    assert_eq!(Structure::parse(&buf[..3]), Ok(None));
    let unknown = [0x88, 0, 0];
    assert_eq!(Frame::parse(&unknown, &structure), Err(WireError::BadValue));
}

#[test]
fn a_viewer_of_the_base_layer_is_told_of_no_other() {
    let structure = l1t2();
    let (mut buf, mut out) = ([0; 255], [0; 255]);
    let key = frame(&structure, 5, true);
    let len = key.write(&structure, &mut buf).unwrap();
    let change = Change {
        frame_number: 7,
        targets: Some(0b01),
    };
    let len = rewrite(&buf[..len], &structure, &change, &mut out).unwrap();
    assert_eq!(Structure::parse(&out[..len]), Ok(Some(structure)));
    let read = Frame::parse(&out[..len], &structure).unwrap();
    assert_eq!(
        (read.mandatory.frame_number, read.active_targets),
        (7, Some(0b01))
    );
    // And where nothing but mandatory fields stood.
    let len = rewrite(&[0x86, 0, 1], &structure, &change, &mut out).unwrap();
    let read = Frame::parse(&out[..len], &structure).unwrap();
    assert_eq!(
        (len, read.active_targets, read.temporal),
        (4, Some(0b01), 0)
    );
}

#[test]
fn layers_and_references_beyond_bounds_are_refused() {
    // Structure flag, id 0, one target, and spatial layers without end.
    let mut endless = std::vec![0x80, 0, 0, 0x80, 0x00];
    endless.extend([0xaa; 40]);
    assert_eq!(Structure::parse(&endless), Err(WireError::BadValue));
    let mut same = std::vec![0x80, 0, 0, 0x80, 0x00];
    same.extend([0x00; 40]);
    assert_eq!(Structure::parse(&same), Err(WireError::TooMany));
    let mut many = [0; 16];
    let mut writer = crate::bits::BitWriter::new(&mut many);
    writer.bits(0x85_0000, 24).unwrap();
    writer.bits(0b00010, 5).unwrap();
    for _ in 0..=MAX_REFERENCES {
        writer.bits(0b01_0000, 6).unwrap();
    }
    assert_eq!(Frame::parse(&many, &l1t2()), Err(WireError::TooMany));
}

fn structures() -> impl Strategy<Value = Structure> {
    let step = prop_oneof![Just(0_u8), Just(1), Just(2)];
    let kind = (
        any::<u64>(),
        prop::collection::vec(1_u16..=16, 0..=4),
        prop::collection::vec(0_u8..16, MAX_TARGETS),
        step,
    );
    let templates = prop::collection::vec(kind, 1..20);
    (
        0_u8..64,
        1_u8..=32,
        0_u8..=32,
        templates,
        any::<Option<u16>>(),
    )
        .prop_map(|(first, targets, chains, kinds, side)| {
            let chains = chains.min(targets);
            let (mut spatial, mut temporal) = (0, 0);
            let mut list = Vec::new();
            for (at, (bits, differences, fdiffs, step)) in kinds.into_iter().enumerate() {
                match step {
                    1 if at > 0 && usize::from(temporal) + 1 < MAX_TEMPORAL => temporal += 1,
                    2 if at > 0 && usize::from(spatial) + 1 < MAX_SPATIAL => {
                        (spatial, temporal) = (spatial + 1, 0);
                    }
                    _ => {}
                }
                let mut template = Template {
                    spatial,
                    temporal,
                    ..Template::default()
                };
                for target in 0..usize::from(targets) {
                    let all = Indications(bits);
                    template.indications.set(target, all.of(target));
                }
                for difference in differences {
                    template.references.push(difference).unwrap();
                }
                let chains = usize::from(chains);
                template.chains[..chains].copy_from_slice(&fdiffs[..chains]);
                list.push(template);
            }
            let mut protected_by = [0; MAX_TARGETS];
            if chains > 0 {
                for (target, chain) in protected_by.iter_mut().take(targets.into()).enumerate() {
                    *chain = u8::try_from(target).unwrap() % chains;
                }
            }
            let mut structure =
                Structure::new(first, targets, chains, protected_by, &list).unwrap();
            if let Some(side) = side {
                let mut sizes = [(0, 0); MAX_SPATIAL];
                for size in sizes.iter_mut().take(structure.spatial_layers()) {
                    *size = (side.max(1), 720);
                }
                structure = structure.with_resolutions(sizes).unwrap();
            }
            structure
        })
}

proptest! {
    #![proptest_config(crate::seeded())]

    #[test]
    fn what_is_written_is_read(
        structure in structures(),
        (number, place, own, active, custom) in (any::<u16>(), 0_usize..64, any::<bool>(), any::<Option<u32>>(), any::<Option<u64>>()),
        targets in any::<u32>(),
    ) {
        let place = u8::try_from(place % structure.templates().len()).unwrap();
        let mut frame = frame(&structure, (structure.first_template + place) & 0x3f, own);
        let all = frame.active_targets.unwrap_or(u32::MAX >> (32 - structure.target_count));
        frame.mandatory.frame_number = number;
        frame.active_targets = active.map(|active| active & all).or(frame.active_targets);
        if let Some(bits) = custom {
            for target in 0..usize::from(structure.target_count) {
                frame.indications.set(target, Indications(bits).of(target));
            }
            frame.references = References::default();
            frame.references.push(u16::try_from(bits % 4_096).unwrap() + 1).unwrap();
            if structure.chain_count > 0 {
                frame.chains[0] = 200;
            }
        }
        let mut buf = [0; 2_000];
        let len = frame.write(&structure, &mut buf).unwrap();
        let in_force = Structure::parse(&buf[..len]).unwrap().unwrap_or(structure);
        prop_assert_eq!(in_force, structure);
        prop_assert_eq!(Frame::parse(&buf[..len], &structure), Ok(frame));
        // A viewer of some targets reads the same but for the number and the targets.
        let mut out = [0; 2_000];
        let change = Change { frame_number: !number, targets: Some(targets) };
        let written = rewrite(&buf[..len], &structure, &change, &mut out).unwrap();
        let again = Frame::parse(&out[..written], &structure).unwrap();
        let mut expected = frame;
        expected.mandatory.frame_number = !number;
        expected.active_targets = Some(frame.active_targets.unwrap_or(u32::MAX) & targets & all);
        prop_assert_eq!(again, expected);
        prop_assert!(written <= len + 5);
        prop_assert_eq!(Structure::parse(&out[..written]).unwrap(), own.then_some(structure));
    }

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..80), flags in any::<bool>()) {
        let mut data = data;
        if let Some(byte) = data.get_mut(3).filter(|_| flags) {
            *byte |= 0x80;
        }
        let structure = Structure::parse(&data).ok().flatten().unwrap_or_else(l1t2);
        if let Ok(frame) = Frame::parse(&data, &structure) {
            let mut out = [0; 400];
            let change = Change { frame_number: 1, targets: None };
            let len = rewrite(&data, &structure, &change, &mut out).unwrap();
            let mut expected = frame;
            expected.mandatory.frame_number = 1;
            prop_assert_eq!(Frame::parse(&out[..len], &structure), Ok(expected));
        }
    }
}
