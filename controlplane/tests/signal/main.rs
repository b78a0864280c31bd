//! Participants over `/v1/signal`: what they are told, and what stands in the rows.

#[path = "../common/mod.rs"]
mod common;

mod call;
mod data;
mod moderation;
mod resume;
mod stage;
mod whip;
