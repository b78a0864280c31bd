//! Offers of participants that publish and receive over one transport.

use crate::common::{local, parse, text};
use ion_sdp::duplex::{Purpose, answer};
use ion_sdp::{Direction, ExtensionKind};

#[test]
fn a_section_that_is_not_used_any_more_keeps_its_layers() {
    let offer = parse(&text("chromium_simulcast").replace("a=sendonly", "a=inactive"));
    let answer = answer(&offer, &local(), &[Purpose::Nothing, Purpose::Nothing], 0).unwrap();
    let (offered, media) = (&offer.media[1], &answer.sdp.media[1]);
    assert_eq!(media.direction, Direction::Inactive);
    assert_eq!(media.simulcast.as_ref().unwrap().to_string(), "recv q;h;f");
    assert_eq!(media.rids.len(), 3);
    let id = |media: &ion_sdp::Media, kind| {
        let found = media.extensions.iter().find(|e| e.kind() == Some(kind));
        found.map(|extension| extension.id)
    };
    for kind in [
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::RepairedRid,
    ] {
        assert!(
            id(media, kind).is_some() && id(media, kind) == id(offered, kind),
            "{kind:?}"
        );
    }
    assert_eq!(id(media, ExtensionKind::TransportCc), None);
    assert!(answer.sdp.media[0].extensions.is_empty());
}
