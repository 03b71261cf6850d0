//! Reads a page as strictly as a browser reads it leniently.

use std::collections::BTreeMap;

#[derive(Debug, PartialEq)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
}

impl Tag {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The tags of a page and the text between them. Stops at whatever a browser would have to guess about.
pub(super) fn read(html: &str) -> (Vec<Tag>, String) {
    let (mut tags, mut text) = (Vec::new(), String::new());
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(&unescaped(before));
        let name_ends = after.find([' ', '>']).unwrap();
        let (name, mut tail) = after.split_at(name_ends);
        assert!(name.trim_start_matches('/').bytes().all(|b| b.is_ascii_alphanumeric()), "<{name}");
        let mut attributes = Vec::new();
        while let Some(attribute) = tail.strip_prefix(' ') {
            let ends = attribute.find(['=', ' ', '>']).unwrap();
            let (name, after) = attribute.split_at(ends);
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name}");
            let (value, after) = match after.strip_prefix("=\"") {
                Some(value) => value.split_once('"').unwrap(),
                None => ("", after),
            };
            attributes.push((name.to_owned(), unescaped(value)));
            tail = after;
        }
        let name = name.to_owned();
        rest = tail.strip_prefix('>').unwrap_or_else(|| panic!("<{name} does not end: {tail}"));
        if name == "style" {
            let (sheet, after) = rest.split_once("</style>").unwrap();
            let loads = ["<", "url(", "@import"].into_iter().find(|word| sheet.contains(word));
            assert_eq!(loads, None, "in the style sheet");
            rest = after;
        }
        tags.push(Tag { name, attributes });
    }
    text.push_str(&unescaped(rest));
    (tags, text)
}

fn unescaped(text: &str) -> String {
    assert!(!text.contains('>'), "an angle bracket in a text: {text}");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

pub(super) fn text(html: &str) -> String {
    read(html).1.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn says(html: &str, what: &str) {
    let text = text(html);
    assert!(text.contains(what), "it does not say \"{what}\" but:\n{text}");
}

pub(super) fn hides(html: &str, what: &str) {
    let text = text(html);
    assert!(!text.contains(what), "it says \"{what}\":\n{text}");
}

/// The fields of the form that is posted there, as a browser would send them unchanged.
pub(super) fn fields(html: &str, action: &str) -> BTreeMap<String, String> {
    let (tags, _) = read(html);
    let form = tags.iter().skip_while(|tag| tag.get("action") != Some(action)).skip(1);
    let inputs = form.take_while(|tag| tag.name != "/form").filter(|tag| tag.get("name").is_some());
    inputs
        .map(|tag| {
            let name = tag.get("name").unwrap();
            let value = match tag.name.as_str() {
                "textarea" => {
                    let (_, after) = html.split_once(&format!("<textarea id=\"{name}\"")).unwrap();
                    let (_, after) = after.split_once('>').unwrap();
                    let (text, _) = after.split_once("</textarea>").unwrap();
                    // A parser drops the first line end (HTML section 13.2.6.4.7), and a form sends CR LF.
                    unescaped(text.strip_prefix('\n').unwrap()).replace('\n', "\r\n")
                }
                _ => tag.get("value").unwrap_or_default().to_owned(),
            };
            (name.to_owned(), value)
        })
        .collect()
}
