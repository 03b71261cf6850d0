//! Paths and addresses: the one spelling in which they are compared and forwarded.

use oncegate::request::path::{Address, normal_path};

/// Any text, taken as a path, as what follows a host, and as an address.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    holds(text);
    let onto = format!("https://api.example.com/{text}");
    let address = Address::parse(&onto);
    let (host, target) = address.map(|address| (address.host, address.target)).unzip();
    assert_eq!(host.as_deref(), Some("api.example.com"), "it stays on its host");
    assert!(target.is_some_and(|target| target.as_text().starts_with('/')));
    if let Some(address) = Address::parse(text) {
        assert!(!address.host.contains(['/', '?', '#']));
        let again = format!("{}://{}{}", address.scheme, address.host, address.target.as_text());
        let again = Address::parse(&again).map(|again| (again.host, again.target));
        assert_eq!(again, Some((address.host, address.target)), "{text:?}");
    }
}

fn holds(text: &str) {
    let path = normal_path(text);
    assert_eq!(normal_path(&path), path, "its own spelling: {text:?}");
    assert!(path.starts_with('/') && !path.contains('\\'), "{text:?}");
    for segment in path.split('/') {
        // What a URL parser takes for dot segments (WHATWG URL, 4.5).
        let dots = segment.to_ascii_lowercase().replace("%2e", ".");
        assert!(dots != "." && dots != "..", "{text:?} is {path:?}");
        let escapes = segment.split('%').skip(1);
        let sound = |escape: &str| {
            escape.get(..2).and_then(|digits| {
                digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
                u8::from_str_radix(digits, 16).ok()
            })
        };
        if escapes.clone().all(|escape| sound(escape).is_some()) {
            for byte in escapes.filter_map(sound) {
                let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                assert!(!unreserved, "{text:?} is {path:?}");
            }
        }
    }
    if text.starts_with('/') && !text.contains(['%', '\\']) {
        assert_eq!(path, without_dots(text), "{text:?}");
    }
}

/// RFC 3986 section 5.2.4, word for word.
fn without_dots(path: &str) -> String {
    let (mut input, mut output) = (path.to_owned(), String::new());
    while !input.is_empty() {
        if let Some(rest) = input.strip_prefix("/./") {
            input = format!("/{rest}");
        } else if input == "/." {
            "/".clone_into(&mut input);
        } else if let Some(rest) = input.strip_prefix("/../") {
            input = format!("/{rest}");
            output.truncate(output.rfind('/').unwrap_or(0));
        } else if input == "/.." {
            "/".clone_into(&mut input);
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input.char_indices().skip(1).find(|(_, c)| *c == '/');
            let segment: String = input.drain(..end.map_or(input.len(), |(at, _)| at)).collect();
            output.push_str(&segment);
        }
    }
    output
}
