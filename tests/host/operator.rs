//! `operator`: who is let in, what is asked, what is decided.

mod decide;
mod desk;
mod door;
mod pages;
mod tally;
