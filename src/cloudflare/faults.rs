//! Faults on order, for the tests of what a panic leaves behind: `X-Oncegate-Fault: panic granted` on a
//! request makes whoever next comes by the place `granted` panic; `throw` raises an exception that
//! nothing says it may raise, `abort` ends the instance, `panics` makes everyone panic until the next
//! order; `panic stored 1` lets one pass before.
//!
//! Only with the feature `faults`; without it all of this is nothing.

#[cfg(feature = "faults")]
pub(super) use ordered::{arm, here};

#[cfg(feature = "faults")]
mod ordered {
    use std::cell::{Cell, RefCell};

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
        let (fault, at) = (words.next(), words.next());
        if at != Some(place) {
            return ORDER.set(order);
        }
        match words.next().and_then(|passes| passes.parse::<u32>().ok()) {
            Some(passes) if passes > 0 => {
                ORDER.set(format!("{} {place} {}", fault.unwrap_or_default(), passes - 1));
            }
            _ => match fault {
                Some("throw") => drop(parse_uncaught("{")),
                Some("panics") => {
                    ORDER.set(order);
                    panic!("a fault that was ordered")
                }
                Some("abort") => std::process::abort(),
                _ => panic!("a fault that was ordered"),
            },
        }
    }
}

#[cfg(not(feature = "faults"))]
pub(super) const fn arm(_: &web_sys::Request) {}

#[cfg(not(feature = "faults"))]
pub(super) const fn here(_: &str) {}
