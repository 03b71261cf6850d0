//! `operator`: who is let in, what is asked, what is decided.

mod answer;
mod api;
mod auth;
mod decide;
mod pages;
mod run;
mod statistics;
