//! SDP as typed values, and the offer/answer of WHIP and WHEP.
