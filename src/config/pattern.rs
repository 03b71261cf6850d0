//! Path patterns: `/v1/payments/{id}/charge`, `/files/img-{n}.png`, `/v1/{*rest}`.
//!
//! `{name}` is one segment or a part of one, and never empty; `{*rest}` comes last and takes at least one
//! character, slashes included. A brace that is meant as such is written twice.

use std::cmp::Ordering;

/// A pattern, taken apart at its slashes. Two are equal if they match the same paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Stands for itself.
    Text(String),
    /// A parameter, with what comes before and after it.
    Param(String, String),
    /// What is left of the path, with what comes before it.
    Rest(String),
}

impl Pattern {
    /// Takes a pattern apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut segments = Vec::new();
        for text in text.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err(REST_ENDS);
            }
            segments.push(segment(text)?);
        }
        Ok(Self(segments))
    }

    /// Whether it takes the rest of a path.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.0.last(), Some(Segment::Rest(_)))
    }

    /// Whether a path is one that it names.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut left = Some(path);
        for segment in &self.0 {
            let Some(text) = left else { return false };
            let (here, after) = match text.split_once('/') {
                Some((here, after)) => (here, Some(after)),
                None => (text, None),
            };
            let fits = match segment {
                Segment::Text(own) => here == own,
                Segment::Param(prefix, suffix) => {
                    let value =
                        here.strip_prefix(&**prefix).and_then(|h| h.strip_suffix(&**suffix));
                    value.is_some_and(|value| !value.is_empty())
                }
                Segment::Rest(prefix) => {
                    return text.strip_prefix(&**prefix).is_some_and(|rest| !rest.is_empty());
                }
            };
            if !fits {
                return false;
            }
            left = after;
        }
        left.is_none()
    }

    /// Which of two that match one path names it more closely, segment by segment: text before a
    /// parameter, and of two parameters the one with more text around it.
    #[must_use]
    pub fn closer_than(&self, other: &Self) -> bool {
        let rank = |segment: &Segment| match segment {
            Segment::Text(_) => (2, 0),
            Segment::Param(prefix, suffix) => (1, prefix.len() + suffix.len()),
            Segment::Rest(prefix) => (0, prefix.len()),
        };
        for (one, other) in self.0.iter().zip(&other.0) {
            match rank(one).cmp(&rank(other)) {
                Ordering::Equal => {}
                order => return order == Ordering::Greater,
            }
        }
        false
    }
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    let (mut before, mut after, mut name) = (String::new(), String::new(), None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if !matches!(c, '{' | '}') || rest.next_if_eq(&c).is_some() {
            if name.is_none() { before.push(c) } else { after.push(c) }
        } else if c == '}' {
            return Err(UNNAMED);
        } else if name.is_some() {
            return Err("there is one parameter in a segment at most");
        } else {
            let mut read = String::new();
            loop {
                match rest.next().ok_or(UNNAMED)? {
                    '}' => break,
                    c => read.push(c),
                }
            }
            name = Some(read);
        }
    }
    let Some(name) = name else { return Ok(Segment::Text(before)) };
    let own = name.strip_prefix('*').unwrap_or(&name);
    match (own.is_empty() || own.contains('*'), own.len() < name.len(), after.is_empty()) {
        (true, ..) => Err(UNNAMED),
        (_, true, true) => Ok(Segment::Rest(before)),
        (_, true, false) => Err(REST_ENDS),
        (_, false, _) => Ok(Segment::Param(before, after)),
    }
}

const REST_ENDS: &str = "a parameter for the rest stands at the end";
const UNNAMED: &str = "a parameter is written {name}, or {*name} for the rest";
