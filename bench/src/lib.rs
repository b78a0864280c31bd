//! Benches of the stages of the packet path, in `benches/`. `make bench` runs them.
//!
//! Figures are for comparing within one run on one machine, never absolute bars.
