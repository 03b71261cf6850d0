//! Paths and addresses: what is matched is what is forwarded, by a parser of the WHATWG URL Standard, which the
//! runtime has too.

use oncegate::request::path::{Address, compared, normal_path};
use url::{Position, Url};

/// Any text, taken as a path, as what follows a host, and as an address.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let onto = format!("https://api.example.com/{text}");
    let Some(address) = Address::parse(&onto) else { panic!("it is an address: {text:?}") };
    assert_eq!(address.host, "api.example.com", "it stays on its host");
    is_sent_as_it_is_matched(&onto, &address);
    holds(text, &address.target.path);
    if let Some(address) = Address::parse(text).filter(|it| it.scheme.starts_with("http")) {
        assert!(!address.host.contains(['/', '?', '#', '@', '\\']));
        let again = format!("{}://{}{}", address.scheme, address.host, address.target.as_text());
        let again = Address::parse(&again).map(|again| (again.host, again.target));
        assert_eq!(again.as_ref(), Some(&(address.host.clone(), address.target.clone())));
        is_sent_as_it_is_matched(text, &address);
    }
}

/// A parser reads the same path in the client's address, and finds nothing to change in what it is given to forward.
fn is_sent_as_it_is_matched(url: &str, address: &Address) {
    let sent = |url: &str| {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        // The standard has `^` encoded since 2024, and `url` 2.5 does not yet do so.
        let path = parsed.path().replace('^', "%5E");
        Some(format!("{path}{}", &parsed[Position::AfterPath..Position::AfterQuery]))
    };
    // Not every host that is let in is one.
    if let Some(sent) = sent(url) {
        assert_eq!(address.as_sent, sent, "{url:?}");
    }
    for forwarded in [&address.as_sent, &address.target.as_text()] {
        assert_eq!(sent(&format!("https://origin.example{forwarded}")).as_ref(), Some(forwarded));
    }
}

fn holds(text: &str, path: &str) {
    assert_eq!(normal_path(path), path, "its own spelling: {text:?}");
    assert!(path.starts_with('/') && !path.contains('\\'), "{text:?}");
    let compared = compared(path);
    assert!(!compared.contains("//") && (compared == "/" || !compared.ends_with('/')));
    assert_eq!(compared.replace('/', ""), path.replace('/', ""), "only slashes do not count");
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
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.-_~".contains(c);
    if text.chars().all(is_plain) {
        assert_eq!(path, without_dots(&format!("/{text}")), "{text:?}");
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
