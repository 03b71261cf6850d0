#![no_main]
oncegate_fuzz::target!(target);
