//! Texts for operators are written for Conduit. Here they become texts for the server that is moved to.
//!
//! Only the program's own texts are changed, those that are `&'static str`: a text that is made for an item may have users'
//! words in it, so whoever makes it names the server there and then.

mod continuwuity;

use std::borrow::Cow;

use super::schema::dialect::Dialect;
use crate::{findings::Finding, tally::Skip};

/// Parts of texts that are names of Conduit.
const NAMES: [&str; 3] = ["a stock Conduit", "a Conduit", "Conduit"];

impl Dialect {
    /// A text of the program's own. Parts between backquotes are code, of which only commands of the admin room differ.
    pub fn words(self, text: &'static str) -> Cow<'static, str> {
        match self {
            Self::Conduit => text.into(),
            Self::Continuwuity => continuwuity::own(text).unwrap_or_else(|| self.renamed(text)),
        }
    }

    /// A text that may be made for an item: that is as it should be.
    pub fn said(self, text: Cow<'static, str>) -> Cow<'static, str> {
        match text {
            Cow::Borrowed(own) => self.words(own),
            made @ Cow::Owned(_) => made,
        }
    }

    /// Puts findings into the words for this server.
    pub fn reword(self, findings: &mut [Finding]) {
        for Finding { meaning, text, remedy, .. } in findings {
            for text in [meaning, text, remedy] {
                *text = self.said(std::mem::take(text));
            }
        }
    }

    /// The same for what is left out.
    pub fn reword_skips(self, skips: &mut [Skip]) {
        for Skip { detail, .. } in skips {
            *detail = self.said(std::mem::take(detail));
        }
    }

    fn renamed(self, text: &str) -> Cow<'static, str> {
        let name = self.to_string();
        let parts = text.split('`').enumerate().map(|(index, part)| {
            if index % 2 == 1 {
                return continuwuity::command(part).to_owned();
            }
            NAMES.iter().fold(part.to_owned(), |part, of_conduit| part.replace(of_conduit, &name))
        });
        parts.collect::<Vec<_>>().join("`").into()
    }
}

#[cfg(test)]
mod tests;
