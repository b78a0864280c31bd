//! HTTP surface of Ion: WHIP, WHEP, management API, tokens.
