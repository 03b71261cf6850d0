//! `policy`, `route`, `routes`: every knob, every way to get one wrong, and which route guards what.

mod knobs;
mod matching;
mod published;
mod vars;
