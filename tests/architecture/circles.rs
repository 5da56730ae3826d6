//! Circles among the files of one room. A `mod.rs` and its children count as one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Tree, Use};

/// Which files of a room import which others.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Each circle: the room, and the files of it that lead back to themselves.
pub(crate) fn circles(tree: &Tree) -> Vec<(String, Vec<String>)> {
    let mut rooms: BTreeMap<Vec<String>, Imports> = BTreeMap::new();
    for used in tree.uses.iter().filter(|used| !used.is_test) {
        for target in tree.targets(used) {
            // The first place where the two part.
            let shared = used.module.iter().zip(&target);
            let shared = shared.take_while(|(own, other)| own == other).count();
            let (Some(own), Some(other)) = (used.module.get(shared), target.get(shared)) else {
                continue;
            };
            let room = rooms.entry(used.module[..shared].to_vec()).or_default();
            room.entry(own.clone()).or_default().insert(other.clone());
        }
    }
    let circles = rooms.iter().filter_map(|(room, imports)| {
        let files = imports.keys().cloned();
        let circle: Vec<String> = files.filter(|file| leads_back(imports, file)).collect();
        (!circle.is_empty()).then(|| (room.join("::"), circle))
    });
    circles.collect()
}

fn leads_back(imports: &Imports, file: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![file];
    while let Some(at) = next.pop() {
        for to in imports.get(at).into_iter().flatten() {
            if to == file {
                return true;
            }
            if seen.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    false
}

impl Tree {
    /// The modules that a path leads to: also the child from which a `mod.rs` takes a name that others
    /// take from it.
    fn targets(&self, used: &Use) -> Vec<Vec<String>> {
        let Some(path) = self.absolute_or_child(used) else {
            return Vec::new();
        };
        let module = self.longest_module(&path);
        let mut targets = vec![module.clone()];
        if let Some(name) = path.get(module.len()) {
            let exports = self.uses.iter().filter(|export| {
                export.module == module && export.path.len() > 1 && export.path.last() == Some(name)
            });
            let children = exports.filter_map(|export| self.absolute_or_child(export));
            targets.extend(children.map(|child| self.longest_module(&child)));
        }
        targets
    }

    /// A path from the root; in a `mod.rs`, paths may begin with the name of a child.
    fn absolute_or_child(&self, used: &Use) -> Option<Vec<String>> {
        if let Some(path) = used.absolute() {
            return Some(path);
        }
        let child = [used.module.as_slice(), &used.path[..1]].concat();
        let is_child = self.modules.contains(&child);
        is_child.then(|| [used.module.as_slice(), used.path.as_slice()].concat())
    }

    fn longest_module(&self, path: &[String]) -> Vec<String> {
        let lengths = (0..=path.len()).rev();
        let mut modules = lengths.map(|length| path[..length].to_vec());
        let module = modules.find(|module| module.is_empty() || self.modules.contains(module));
        module.unwrap_or_default()
    }
}
