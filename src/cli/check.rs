//! `xcwado check`: settings, folders and sources, tried before anybody depends on them.

use std::path::Path;

use super::Failure;
use super::start::{Parts, block_on};
use super::table::{self, row};
use crate::source::{Kind, Source};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let (_config, parts) = Parts::load(path)?;
    block_on(async {
        let mut rows = vec![row(["LOCATION", "KIND", "WHERE", "RESULT"])];
        let mut problems = 0;
        for source in parts
            .opened
            .registry
            .sites()
            .iter()
            .map(|site| &site.source)
        {
            let (result, is_fine) = attempt(source).await;
            problems += usize::from(!is_fine);
            rows.push(row([
                &source.alias,
                kind(source),
                &source.kind.to_string(),
                &result,
            ]));
        }
        table::print(&rows);
        println!("{} manifests are registered", parts.manifests.count());
        if problems == 0 {
            Ok(())
        } else {
            Err(Failure(format!("{problems} sources do not answer")))
        }
    })
}

async fn attempt(source: &Source) -> (String, bool) {
    match (source.probe().await, &source.kind) {
        (Ok(()), Kind::Folder(folder)) => (format!("ok, {} instances", folder.instances()), true),
        (Ok(()), Kind::WadoRs(_) | Kind::XcWado(_)) => ("ok".into(), true),
        (Err(error), _) => (error.to_string(), false),
    }
}

fn kind(source: &Source) -> &'static str {
    match source.kind {
        Kind::WadoRs(_) => "wado-rs",
        Kind::XcWado(_) => "xc-wado",
        Kind::Folder(_) => "folder",
    }
}
