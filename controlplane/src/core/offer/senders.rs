//! As what the sections of a participant are sent.

use super::super::commands::ssrc;
use crate::record::{Played, Record};
use ion_api::signal::server::Problem;
use ion_sdp::{Msid, Sender};
use std::collections::{BTreeMap, BTreeSet};

/// As what the sections of a participant are sent; what is known stays.
pub(super) struct Senders {
    known: BTreeMap<String, Known>,
    taken: BTreeSet<u32>,
}

/// SSRCs of a section: of media, of retransmissions, of repair.
type Known = (u32, Option<u32>, Option<u32>);

impl Senders {
    pub(super) fn of(record: Option<&Record>) -> Self {
        let played = record.map_or(&[][..], Record::played);
        let ssrcs = |slot: &Played| (slot.ssrc, slot.rtx_ssrc, slot.fec.map(|(_, ssrc)| ssrc));
        let known: BTreeMap<_, _> = played
            .iter()
            .map(|slot| (slot.mid.clone(), ssrcs(slot)))
            .collect();
        let taken = known
            .values()
            .flat_map(|(ssrc, rtx, fec)| [Some(*ssrc), *rtx, *fec]);
        let taken = taken
            .flatten()
            .chain(record.map(|record| record.feedback_ssrc))
            .collect();
        Self { known, taken }
    }

    fn fresh(&mut self) -> Result<u32, Problem> {
        loop {
            let ssrc = ssrc()?;
            if self.taken.insert(ssrc) {
                return Ok(ssrc);
            }
        }
    }

    fn or_fresh(&mut self, known: Option<u32>) -> Result<u32, Problem> {
        match known {
            Some(ssrc) => Ok(ssrc),
            None => self.fresh(),
        }
    }

    pub(super) fn sender(&mut self, mid: &str, msid: Msid) -> Result<Sender, Problem> {
        let known = self.known.get(mid).copied();
        Ok(Sender {
            msid,
            ssrc: self.or_fresh(known.map(|(ssrc, _, _)| ssrc))?,
            rtx_ssrc: self.or_fresh(known.and_then(|(_, rtx, _)| rtx))?,
            fec_ssrc: self.or_fresh(known.and_then(|(_, _, fec)| fec))?,
        })
    }
}
