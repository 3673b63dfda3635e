//! Canonical JSON, looked at where it lies: whether a text is canonical, and the members of an object as slices of it. What
//! Conduit stores is canonical, so what is hashed of an event are slices of it.

/// Deepest nesting that is looked into; parsers give up a little deeper.
const DEEPEST: usize = 100;
/// The largest integer of canonical JSON, 2⁵³ − 1, as text.
const LARGEST: &[u8] = b"9007199254740991";

/// A member of an object: its name, and its value as it is written.
pub(crate) type Member<'a> = (&'a str, &'a str);

/// The members of an object that is written as canonical JSON, in their order, or `None`. It accepts less than what is
/// canonical: names with escapes and deep nesting are left to a parser.
pub(crate) fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let mut members = Vec::with_capacity(20);
    each(text, &mut |name, value| members.push((name, value)))?;
    Some(members)
}

/// The values of some members of an object that is written as canonical JSON; `None` as from [`members`].
pub(crate) fn pick<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let mut picked = [None; N];
    each(text, &mut |name, value| {
        for (picked, _) in picked.iter_mut().zip(names).filter(|(_, wanted)| *wanted == name) {
            *picked = Some(value);
        }
    })?;
    Some(picked)
}

/// Compares a row with the members of its event, byte for byte. A row has two members more: `event_id`, which must be `id`, and
/// `unsigned`, whose value is returned, or no text if it is absent. `None` if anything else differs.
pub(crate) fn unsigned_of_row<'a>(row: &'a str, event: &[Member<'_>], id: &str) -> Option<&'a str> {
    let place = |of: &str| event.partition_point(|(name, _)| *name < of);
    let (before, rest) = event.split_at_checked(place("event_id"))?;
    let (between, after) = event.split_at_checked(place("unsigned")).map(|(_, after)| {
        (rest.get(..rest.len().saturating_sub(after.len())).unwrap_or_default(), after)
    })?;
    let mut scanner = Scanner { text: row, bytes: row.as_bytes(), at: 0 };
    scanner.pass(b'{')?;
    for member in before {
        scanner.pass_member(member)?;
        scanner.pass(b',')?;
    }
    for part in ["\"event_id\":\"", id, "\""] {
        scanner.pass_all(part.as_bytes())?;
    }
    for member in between {
        scanner.pass(b',')?;
        scanner.pass_member(member)?;
    }
    let mut unsigned = "";
    if scanner.pass_all(b",\"unsigned\":").is_some() {
        let begin = scanner.at;
        scanner.value(1)?;
        unsigned = row.get(begin..scanner.at)?;
    }
    for member in after {
        scanner.pass(b',')?;
        scanner.pass_member(member)?;
    }
    scanner.pass(b'}')?;
    (scanner.at == row.len()).then_some(unsigned)
}

/// Gives each member of an object.
fn each<'a>(text: &'a str, member: &mut dyn FnMut(&'a str, &'a str)) -> Option<()> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    scanner.object(0, member)?;
    (scanner.at == text.len()).then_some(())
}

/// The value of a member.
pub(crate) fn get<'a>(members: &[Member<'a>], name: &str) -> Option<&'a str> {
    let at = members.binary_search_by(|(found, _)| (*found).cmp(name)).ok()?;
    members.get(at).map(|(_, value)| *value)
}

/// The text that a value is, if it is one without escapes.
pub(crate) fn plain(value: &str) -> Option<&str> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

/// The items of an array of texts without escapes, which was found to be canonical; `None` if it is another value.
pub(crate) fn plain_items(value: &str) -> Option<Vec<&str>> {
    let items = value.strip_prefix('[')?.strip_suffix(']')?;
    if items.is_empty() {
        return Some(Vec::new());
    }
    // Without escapes, a quotation mark begins or ends a text.
    let items = items.strip_prefix('"')?.strip_suffix('"')?;
    let items: Vec<_> = items.split("\",\"").collect();
    let is_plain = |item: &&str| !item.contains(['"', '\\']);
    items.iter().all(is_plain).then_some(items)
}

/// A place in a text.
struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn pass(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn pass_all(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    /// Passes a name and a value that are written like these.
    fn pass_member(&mut self, (name, value): &Member<'_>) -> Option<()> {
        self.pass(b'"')?;
        self.pass_all(name.as_bytes())?;
        self.pass_all(b"\":")?;
        self.pass_all(value.as_bytes())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(depth, &mut |_, _| ()),
            b'[' => self.array(depth),
            b't' => self.pass_all(b"true"),
            b'f' => self.pass_all(b"false"),
            b'n' => self.pass_all(b"null"),
            _ => self.integer(),
        }
    }

    fn object(&mut self, depth: usize, member: &mut dyn FnMut(&'a str, &'a str)) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.pass(b'{')?;
        if self.pass(b'}').is_some() {
            return Some(());
        }
        let mut last: Option<&str> = None;
        loop {
            let name = self.name()?;
            if last.is_some_and(|last| last >= name) {
                return None;
            }
            last = Some(name);
            let begin = self.at;
            self.value(depth + 1)?;
            member(name, self.text.get(begin..self.at)?);
            if self.pass(b',').is_none() {
                return self.pass(b'}');
            }
        }
    }

    /// A name without escapes, and the colon.
    fn name(&mut self) -> Option<&'a str> {
        let text = self.bytes.get(self.at..)?.strip_prefix(b"\"")?;
        let length = plain_bytes(text);
        let begin = self.at.checked_add(1)?;
        let end = begin.checked_add(length)?;
        let [b'"', b':', ..] = text.get(length..)? else { return None };
        self.at = end.checked_add(2)?;
        self.text.get(begin..end)
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        self.pass(b'[')?;
        if self.pass(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            if self.pass(b',').is_none() {
                return self.pass(b']');
            }
        }
    }

    /// A text whose escapes are those that canonical JSON has, each in its one form.
    fn string(&mut self) -> Option<()> {
        self.pass(b'"')?;
        loop {
            let rest = self.bytes.get(self.at..)?;
            let plain = plain_bytes(rest);
            self.at = self.at.checked_add(plain)?;
            match rest.get(plain..)? {
                [b'"', ..] => {
                    self.at += 1;
                    return Some(());
                }
                [b'\\', b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => {
                    self.at += 2;
                }
                [b'\\', b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..]
                | [b'\\', b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => {
                    self.at += 6;
                }
                _ => return None,
            }
        }
    }

    fn integer(&mut self) -> Option<()> {
        let is_negative = self.pass(b'-').is_some();
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = rest.get(..length)?;
        let is_zero = digits == b"0" && !is_negative;
        let is_small = length < LARGEST.len() || length == LARGEST.len() && digits <= LARGEST;
        if !is_zero && (digits.first().is_none_or(|first| *first == b'0') || !is_small) {
            return None;
        }
        self.at = self.at.checked_add(length)?;
        Some(())
    }
}

/// How many bytes come before one that is special in a text: a quotation mark, a backslash or a control character. Eight are looked
/// at at once.
fn plain_bytes(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        // The first byte is the lowest.
        let special = special_bytes(u64::from_be_bytes(*word).swap_bytes());
        if special != 0 {
            return number * 8 + usize::try_from(special.trailing_zeros() / 8).unwrap_or(0);
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().take_while(|byte| !is_special(byte)).count()
}

/// Sets the highest bit of the lowest byte of a word that is special, and of no lower one; 0 if none is. A subtraction borrows only
/// from higher bytes.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    let less = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (less(word, 0x20) | is(b'"') | is(b'\\')) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::CanonicalJsonObject;

    use super::*;

    /// What is accepted is exactly what a parser would write again, with its members.
    fn check(text: &str, is_accepted: bool) {
        let members = members(text);
        assert_eq!(members.is_some(), is_accepted, "{text}");
        let Some(members) = members else { return };
        let parsed: CanonicalJsonObject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), text);
        let written = parsed.iter().map(|(name, value)| (name.clone(), value.to_string()));
        let found = members.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert!(written.eq(found), "{text}");
        for (name, value) in &members {
            assert_eq!(
                pick(text, [name, "no such name", name]),
                Some([Some(*value), None, Some(*value)])
            );
        }
    }

    #[test]
    fn a_row_is_its_event_with_an_id_and_unsigned() {
        let event = members(r#"{"content":{"a":1},"depth":3,"type":"t"}"#).unwrap();
        let of = |row| unsigned_of_row(row, &event, "$e");
        let row = r#"{"content":{"a":1},"depth":3,"event_id":"$e","type":"t"}"#;
        assert_eq!(of(row), Some(""));
        let row = r#"{"content":{"a":1},"depth":3,"event_id":"$e","type":"t","unsigned":{"b":[]}}"#;
        assert_eq!(of(row), Some(r#"{"b":[]}"#));
        for other in [
            r#"{"content":{"a":2},"depth":3,"event_id":"$e","type":"t"}"#,
            r#"{"content":{"a":1},"depth":3,"event_id":"$f","type":"t"}"#,
            r#"{"content":{"a":1},"depth":3,"type":"t"}"#,
            r#"{"content":{"a":1,"event_id":"$e"},"depth":3,"type":"t"}"#,
            r#"{"content":{"a":1},"event_id":"$e","type":"t"}"#,
            r#"{"content":{"a":1},"depth":3,"event_id":"$e","more":1,"type":"t"}"#,
            r#"{"content":{"a":1},"depth":3,"event_id":"$e","type":"t","unsigned":{"b":[]}"#,
            r#"{"content":{"a":1},"depth":3,"event_id":"$e","type":"t"} "#,
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        // Members that are in the row alone, as if they were the event's own.
        let own = members(r#"{"event_id":"$e","type":"t","unsigned":{}}"#).unwrap();
        assert_eq!(
            unsigned_of_row(r#"{"event_id":"$e","type":"t","unsigned":{}}"#, &own, "$e"),
            None
        );
        // What comes after.
        let late = members(r#"{"type":"t","zone":1}"#).unwrap();
        let row = r#"{"event_id":"$e","type":"t","unsigned":{},"zone":1}"#;
        assert_eq!(unsigned_of_row(row, &late, "$e"), Some("{}"));
    }

    #[test]
    fn what_is_canonical_is_taken_apart() {
        for text in [
            "{}",
            r#"{"a":"0123456789abcdef0123456789abcdef","b":"0123456789abcde\"0123456789abcdef0123456789","c":"0123456789abcdefé"}"#,
            r#"{"a":"","b":[],"c":{},"d":null,"e":[true,false,{"x":[1,-1,0]}],"é":"ü\"\\\n\u0000\u001f\u000b"}"#,
            r#"{"a":9007199254740991,"b":-9007199254740991,"c":900719925474099}"#,
        ] {
            check(text, true);
        }
    }

    #[test]
    fn everything_else_is_left_to_a_parser() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"a":1"#,
            r#"{"a":1}x"#,
            r#"{"a":1,}"#,
            r#"{"a" :1}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"a":2}}"#,
            r#"{"a\n":1}"#,
            r#"{"a":-0}"#,
            r#"{"a":01}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":10000000000000000}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"\u00e9"}"#,
            r#"{"a":"\u000a"}"#,
            r#"{"a":"\u000B"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":tru}"#,
            r#"{"a":[1,]}"#,
        ] {
            check(text, false);
        }
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200)), false);
    }

    #[test]
    fn texts_and_lists_of_texts_are_borrowed() {
        assert_eq!(plain(r#""a""#), Some("a"));
        assert_eq!(plain(r#""a\n""#), None);
        assert_eq!(plain("1"), None);
        assert_eq!(plain_items("[]"), Some(vec![]));
        assert_eq!(plain_items(r#"["a","b"]"#), Some(vec!["a", "b"]));
        for other in
            [r#"["a",1]"#, "[1]", r#"["a","\""]"#, r#"["a",["b"],"c"]"#, "{}", r#"[["a"]]"#]
        {
            assert_eq!(plain_items(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn special_bytes_are_found_wherever_they_are(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let place = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_bytes(&text), place.unwrap_or(text.len()));
        }

        #[test]
        fn what_is_written_canonically_is_accepted(
            object in proptest::collection::btree_map("[^\"\\\\\\p{Cc}]{0,3}", ".{0,5}", 0..5)
        ) {
            check(&serde_json::to_string(&object).unwrap(), true);
        }

        #[test]
        fn any_bytes_are_no_more_than_refused(text in "[{}\\[\\],:\"\\\\a0-9-]{0,20}") {
            if members(&text).is_some() {
                check(&text, true);
            }
        }
    }
}
