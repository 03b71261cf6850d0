//! HTML as it is written: a macro that adds to a text, without a temporary text for each part.

/// Adds elements to the text named first, a `&mut String`. The notation is the crate maud's:
///
/// ```text
/// html! { to;
///     p class="quiet" { "A text, " (escaped) ", " (written(to)) }
///     input type="hidden" name=(name) aria-current=[some_or_none] required selected[is];
///     @if let Some(x) = x { … } @else { … }    @for x in list { … }    @match x { A => …, B => … }
/// }
/// ```
///
/// What is in parentheses is [`Text`], or a call that writes by itself. Literals are markup: nothing in
/// them is escaped.
macro_rules! html {
    // Neighbouring literals are gathered in brackets, so that they are added at once.
    (nodes $to:ident []) => {};
    (nodes $to:ident [$($lit:tt)+]) => { $to.push_str(concat!($($lit)+)); };
    (nodes $to:ident [$($lit:tt)*] # $name:ident $($rest:tt)*) => {
        html!(nodes $to [$($lit)* "</", stringify!($name), ">",] $($rest)*);
    };
    (nodes $to:ident [$($lit:tt)*] $text:literal $($rest:tt)*) => {
        html!(nodes $to [$($lit)* $text,] $($rest)*);
    };
    (nodes $to:ident [$($lit:tt)*] ($text:expr) $($rest:tt)*) => {
        html!(nodes $to [$($lit)*]);
        $crate::operator::page::html::Text::put(&$text, $to);
        html!(nodes $to [] $($rest)*);
    };
    (nodes $to:ident [$($lit:tt)*] { $($body:tt)* } $($rest:tt)*) => {
        html!(nodes $to [$($lit)*] $($body)* $($rest)*);
    };
    (nodes $to:ident [$($lit:tt)*] @let $name:ident = $value:expr; $($rest:tt)*) => {
        html!(nodes $to [$($lit)*]);
        let $name = $value;
        html!(nodes $to [] $($rest)*);
    };
    (nodes $to:ident [$($lit:tt)*] @ $what:ident $($rest:tt)*) => {
        html!(nodes $to [$($lit)*]);
        html!($what $to [] [] $($rest)*);
    };
    (nodes $to:ident [$($lit:tt)*] $name:ident $($rest:tt)*) => {
        html!(attributes $to $name [$($lit)* "<", stringify!($name),] $($rest)*);
    };

    // An element's attributes, up to its body or the semicolon of one that has none.
    (attributes $to:ident $name:ident [$($lit:tt)*] { $($body:tt)* } $($rest:tt)*) => {
        html!(nodes $to [$($lit)* ">",] $($body)* # $name $($rest)*);
    };
    (attributes $to:ident $name:ident [$($lit:tt)*] ; $($rest:tt)*) => {
        html!(nodes $to [$($lit)* ">",] $($rest)*);
    };
    (attributes $to:ident $name:ident [$($lit:tt)*] $a:ident $(-$b:ident)* = $value:literal $($rest:tt)*) => {
        html!(attributes $to $name
            [$($lit)* " ", stringify!($a), $("-", stringify!($b),)* "=\"", $value, "\"",] $($rest)*);
    };
    (attributes $to:ident $name:ident [$($lit:tt)*] $a:ident $(-$b:ident)* = [$value:expr] $($rest:tt)*) => {
        html!(nodes $to [$($lit)*]);
        if let Some(value) = $value {
            html!(nodes $to [" ", stringify!($a), $("-", stringify!($b),)* "=\"",] (value) "\"");
        }
        html!(attributes $to $name [] $($rest)*);
    };
    (attributes $to:ident $name:ident [$($lit:tt)*] $a:ident $(-$b:ident)* = $value:tt $($rest:tt)*) => {
        html!(nodes $to [$($lit)* " ", stringify!($a), $("-", stringify!($b),)* "=\"",] $value);
        html!(attributes $to $name ["\"",] $($rest)*);
    };
    (attributes $to:ident $name:ident [$($lit:tt)*] $a:ident [$is:expr] $($rest:tt)*) => {
        html!(nodes $to [$($lit)*]);
        if $is {
            html!(nodes $to [" ", stringify!($a),]);
        }
        html!(attributes $to $name [] $($rest)*);
    };
    (attributes $to:ident $name:ident [$($lit:tt)*] $a:ident $($rest:tt)*) => {
        html!(attributes $to $name [$($lit)* " ", stringify!($a),] $($rest)*);
    };

    // What comes before the braces is gathered token by token.
    (if $to:ident [$($done:tt)*] [$($head:tt)*] { $($body:tt)* } @else if $($rest:tt)*) => {
        html!(if $to [$($done)* if $($head)* { html!(nodes $to [] $($body)*); } else] [] $($rest)*);
    };
    (if $to:ident [$($done:tt)*] [$($head:tt)*] { $($body:tt)* } @else { $($other:tt)* } $($rest:tt)*) => {
        $($done)* if $($head)* {
            html!(nodes $to [] $($body)*);
        } else {
            html!(nodes $to [] $($other)*);
        }
        html!(nodes $to [] $($rest)*);
    };
    (if $to:ident [$($done:tt)*] [$($head:tt)*] { $($body:tt)* } $($rest:tt)*) => {
        $($done)* if $($head)* {
            html!(nodes $to [] $($body)*);
        }
        html!(nodes $to [] $($rest)*);
    };
    (for $to:ident [] [$($head:tt)*] { $($body:tt)* } $($rest:tt)*) => {
        for $($head)* {
            html!(nodes $to [] $($body)*);
        }
        html!(nodes $to [] $($rest)*);
    };
    (match $to:ident [] [$($head:tt)*] { $($case:pat => $node:tt),* $(,)? } $($rest:tt)*) => {
        match $($head)* {
            $($case => { html!(nodes $to [] $node); })*
        }
        html!(nodes $to [] $($rest)*);
    };
    ($what:ident $to:ident [$($done:tt)*] [$($head:tt)*] $next:tt $($rest:tt)*) => {
        html!($what $to [$($done)*] [$($head)* $next] $($rest)*);
    };

    ($to:ident; $($node:tt)*) => {{
        html!(nodes $to [] $($node)*);
    }};
}

pub(super) use html;

/// What is put into a page as text.
pub(super) trait Text {
    /// Adds it, escaped.
    fn put(&self, to: &mut String);
}

impl Text for str {
    fn put(&self, to: &mut String) {
        for one in self.chars() {
            match one {
                '&' => to.push_str("&amp;"),
                '<' => to.push_str("&lt;"),
                '>' => to.push_str("&gt;"),
                '"' => to.push_str("&quot;"),
                _ => to.push(one),
            }
        }
    }
}

impl Text for String {
    fn put(&self, to: &mut String) {
        self.as_str().put(to);
    }
}

impl Text for u64 {
    fn put(&self, to: &mut String) {
        to.push_str(&self.to_string());
    }
}

impl Text for u32 {
    fn put(&self, to: &mut String) {
        u64::from(*self).put(to);
    }
}

impl Text for u16 {
    fn put(&self, to: &mut String) {
        u64::from(*self).put(to);
    }
}

impl Text for usize {
    fn put(&self, to: &mut String) {
        (*self as u64).put(to);
    }
}

/// What a call leaves that has written by itself.
impl Text for () {
    fn put(&self, _: &mut String) {}
}

impl<T: Text + ?Sized> Text for &T {
    fn put(&self, to: &mut String) {
        (**self).put(to);
    }
}
