//! YAML as Synapse's own reader (PyYAML's `safe_load`) takes it, which is YAML 1.1.
//!
//! Of equal keys the last one counts, `<<` merges, `012` is an octal number and `yes` is *true*; a file must hold one
//! document. What PyYAML refuses is refused: tags of somebody's own, a list as a key.

mod scalar;

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, Tag};
use serde_json::{Map, Value};

/// Nodes that a file may have, aliases followed: a few lines of aliases can stand for billions.
const NODES: usize = 1_000_000;

/// How deep nodes may lie in each other, aliases followed.
const DEPTH: usize = 120;

/// The line of what is no YAML, or none that Synapse takes. Without a word of the file's, which may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotYaml {
    /// Counted from 1; 0 if unknown.
    pub(super) line: u64,
}

/// A value, and how deep and large it is.
#[derive(Clone, Debug)]
struct Node {
    value: Value,
    /// Whether it is the plain word `<<`.
    merges: bool,
    depth: usize,
    nodes: usize,
}

/// A list or mapping that has begun.
struct Open {
    anchor: usize,
    depth: usize,
    nodes: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Mapping { map: Map<String, Value>, merged: Vec<Value>, key: Option<(String, bool)> },
}

/// Reads the one document of a text; null if there is none.
pub(super) fn parse(text: &str) -> Result<Value, NotYaml> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reading = Reading::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| NotYaml { line: line(error.marker().line()) })?;
        reading.take(event).ok_or(NotYaml { line: line(span.start.line()) })?;
    }
    Ok(reading.document.map_or(Value::Null, |node| node.value))
}

fn line(line: usize) -> u64 {
    u64::try_from(line).unwrap_or(0)
}

#[derive(Default)]
struct Reading {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    document: Option<Node>,
    nodes: usize,
}

impl Reading {
    /// Takes the next event; `None` if Synapse would not.
    fn take(&mut self, event: Event<'_>) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == granit_parser::ScalarStyle::Plain;
                // A tag of somebody's own has no meaning here.
                let tag = match tag.as_deref() {
                    Some(tag) => Some(core(tag)?),
                    None => None,
                };
                let value = scalar::value(&text, plain, tag)?;
                let merges = plain && tag.is_none() && text == "<<";
                self.complete(anchor, Node { value, merges, depth: 1, nodes: 1 })
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor)?.clone();
                self.complete(0, node)
            }
            Event::SequenceStart(_, anchor, tag) => {
                matches!(tag.as_deref().map(core), None | Some(Some("seq"))).then_some(())?;
                self.begin(anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                matches!(tag.as_deref().map(core), None | Some(Some("map"))).then_some(())?;
                let (map, merged) = (Map::new(), Vec::new());
                self.begin(anchor, Content::Mapping { map, merged, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { anchor, depth, nodes, content } = self.open.pop()?;
                let value = content.finish()?;
                self.complete(anchor, Node { value, merges: false, depth, nodes })
            }
            Event::UnresolvedAlias(_) => None,
            _ => Some(()),
        }
    }

    fn begin(&mut self, anchor: usize, content: Content) -> Option<()> {
        self.open.push(Open { anchor, depth: 1, nodes: 1, content });
        (self.open.len() <= DEPTH).then_some(())
    }

    fn complete(&mut self, anchor: usize, node: Node) -> Option<()> {
        self.nodes = self.nodes.saturating_add(node.nodes);
        let depth = self.open.len().saturating_add(node.depth);
        if self.nodes > NODES || depth > DEPTH.saturating_mul(2) {
            return None;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            // A second document.
            return self.document.replace(node).is_none().then_some(());
        };
        parent.depth = parent.depth.max(node.depth.saturating_add(1));
        parent.nodes = parent.nodes.saturating_add(node.nodes);
        parent.content.add(node)
    }
}

impl Content {
    fn add(&mut self, node: Node) -> Option<()> {
        match self {
            Self::List(list) => list.push(node.value),
            Self::Mapping { map, merged, key } => match key.take() {
                None => *key = Some((scalar::text(&node.value)?, node.merges)),
                Some((_, true)) => merged.push(node.value),
                Some((name, false)) => {
                    map.insert(name, node.value);
                }
            },
        }
        Some(())
    }

    fn finish(self) -> Option<Value> {
        match self {
            Self::List(list) => Some(Value::Array(list)),
            Self::Mapping { map, merged, .. } => {
                let mut whole = Map::new();
                for value in merged {
                    merge(&mut whole, value)?;
                }
                whole.extend(map);
                Some(Value::Object(whole))
            }
        }
    }
}

/// Adds what `<<` names: a mapping, or mappings of which the first counts most.
fn merge(whole: &mut Map<String, Value>, value: Value) -> Option<()> {
    match value {
        Value::Object(map) => whole.extend(map),
        Value::Array(maps) => {
            for map in maps.into_iter().rev() {
                let Value::Object(map) = map else { return None };
                whole.extend(map);
            }
        }
        _ => return None,
    }
    Some(())
}

/// The name of a tag of YAML's own; empty for `!`, which makes a text of a scalar.
fn core(tag: &Tag) -> Option<&str> {
    let is_text = tag.handle().is_empty() && tag.suffix() == "!"
        || tag.handle() == "!" && tag.suffix().is_empty();
    if is_text { Some("") } else { tag.core_suffix() }
}

#[cfg(test)]
mod tests;
