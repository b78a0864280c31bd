//! Offers that real clients made, taken down from them, and what Ion answers.
//! Hostnames and addresses in `tests/data` were replaced by documentation ones.

mod common;
mod duplex;
mod fragment;
mod limits;
mod parse;
mod properties;
mod whep;
mod whip;
