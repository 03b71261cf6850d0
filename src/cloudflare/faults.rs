//! Faults on order, for the tests of what a fault leaves behind. A request brings the order in a header,
//! `X-Oncegate-Fault: panic granted`, and the next one that comes by the place `granted` has the fault:
//!
//! - `panic`, or `panics`: every one that comes by any of several places, `panics start,aborted`, until the next order;
//! - `throw`, `throws`: the same with an exception that nothing says it may be thrown;
//! - `abort` and `overflow` trap, which ends this instance of the program.
//!
//! `panic stored 1` lets one pass before. `full` lets each shard that measures itself next find itself nearly full.
//! Without the feature `faults` all of this is nothing.

#[cfg(feature = "faults")]
pub(super) use ordered::{arm, database_size, here};

#[cfg(feature = "faults")]
mod ordered {
    use std::cell::{Cell, RefCell};
    use std::hint::black_box;

    use wasm_bindgen::JsValue;
    use wasm_bindgen::prelude::wasm_bindgen;

    thread_local! {
        static ORDER: RefCell<String> = const { RefCell::new(String::new()) };
        static ORDERS: Cell<u32> = const { Cell::new(0) };
    }

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = JSON, js_name = parse)]
        fn parse_uncaught(text: &str) -> JsValue;
    }

    pub(in crate::cloudflare) fn arm(request: &web_sys::Request) {
        if let Ok(Some(order)) = request.headers().get("x-oncegate-fault") {
            ORDERS.set(ORDERS.get() + 1);
            // Counts on for as long as this instance of the program lives.
            crate::cloudflare::bindings::log(&format!("fault {} ordered: {order}", ORDERS.get()));
            ORDER.set(order);
        }
    }

    #[expect(clippy::panic, reason = "that is what it is for")]
    pub(in crate::cloudflare) fn here(place: &str) {
        let order = ORDER.take();
        let mut words = order.split(' ');
        let (fault, places) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !places.split(',').any(|at| at == place) {
            return ORDER.set(order);
        }
        match words.next().and_then(|passes| passes.parse::<u32>().ok()) {
            Some(passes) if passes > 0 => {
                return ORDER.set(format!("{fault} {places} {}", passes - 1));
            }
            _ => {}
        }
        if let "panics" | "throws" = fault {
            ORDER.set(order.clone());
        }
        match fault {
            "throw" | "throws" => drop(parse_uncaught("{")),
            "abort" => std::process::abort(),
            "overflow" => {
                deeper(0);
            }
            _ => panic!("a fault that was ordered"),
        }
    }

    /// The size of a shard's database: the order `full` makes each shard that is asked for it nearly full.
    pub(in crate::cloudflare) fn database_size(size: u64) -> u64 {
        let order = ORDER.take();
        let is_full = order == "full";
        ORDER.set(order);
        if is_full { 9_000_000_000 } else { size }
    }

    /// Recurs until the stack is exhausted.
    #[expect(unconditional_recursion, reason = "that is what it is for")]
    fn deeper(depth: u64) -> u64 {
        black_box(deeper(black_box(depth) + 1)) + 1
    }
}

#[cfg(not(feature = "faults"))]
pub(super) const fn arm(_: &web_sys::Request) {}

#[cfg(not(feature = "faults"))]
pub(super) const fn here(_: &str) {}

#[cfg(not(feature = "faults"))]
pub(super) const fn database_size(size: u64) -> u64 {
    size
}
