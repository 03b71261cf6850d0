//! `life::step`: every cell of state × event × time × lease as tables, the numbers it gives, and what
//! holds over any sequence of events.

mod cells;
mod numbers;
mod properties;
mod tables;
