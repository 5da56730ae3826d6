//! `xcwado check`: tests settings, folders, credentials, sources and other communities' gateways
//! before they go into service.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use time::OffsetDateTime;
use url::Url;

use super::table::{self, row};
use crate::credentials::{Certificate, now};
use crate::source::client::Client;
use crate::source::greeting::{Error, Greeting};
use crate::source::xc_wado::RespondingGateway;
use crate::source::{self, Kind, Source};
use crate::start::{Components, Failure, block_on, look};

/// Days before its expiry from which a certificate's remaining days are shown.
const SOON_DAYS: i64 = 21;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let (config, opened) = Components::load(path)?;
    let manifests = look(&config)?;
    block_on(async {
        let mut report = Report::default();
        for site in opened.registry.sites() {
            report.source(&site.source).await;
        }
        let communities = opened.registry.communities();
        for gateway in communities.filter_map(|community| community.gateway.as_ref()) {
            report.gateway(gateway).await;
        }
        report.own_certificates(&opened);
        report.print();
        for file in config.secret_files() {
            warn_if_open(file);
        }
        println!("{} manifests are registered", manifests.count());
        match report.problems {
            0 => Ok(()),
            1 => Err(Failure("1 problem".into())),
            more => Err(Failure(format!("{more} problems"))),
        }
    })
}

/// The results of all checks.
#[derive(Default)]
struct Report {
    servers: Vec<Vec<String>>,
    certificates: Vec<Vec<String>>,
    problems: usize,
}

impl Report {
    async fn source(&mut self, source: &Source) {
        let outcome = match &source.kind {
            Kind::Folder(folder) => {
                let root = folder.root().display().to_string();
                let cells = [&source.alias, "folder", &root, "-", "-", "-"];
                self.servers.push(row(cells));
                let probed = folder.probe().await;
                probed.map(|()| format!("ok, {} instances", folder.instances()))
            }
            Kind::WadoRs(server) => {
                let name = [&source.alias, "wado-rs"];
                for base in server.bases() {
                    self.server(name, base, server.client()).await;
                    self.answered(server.probe(base).await.map(|()| "ok".to_owned()));
                }
                return;
            }
            Kind::WadoUri(server) => {
                let name = [&source.alias, "wado-uri"];
                for base in server.bases() {
                    self.server(name, base, server.client()).await;
                    self.answered(server.probe(base).await.map(|()| "ok".to_owned()));
                }
                return;
            }
            // These belong to a community, which is tried as a whole.
            Kind::XcWado(_) => return,
        };
        self.answered(outcome);
    }

    async fn gateway(&mut self, gateway: &RespondingGateway) {
        let name = [gateway.alias(), "gateway"];
        for base in gateway.bases() {
            self.server(name, base, gateway.client()).await;
            self.answered(gateway.probe(base).await.map(|()| "ok".to_owned()));
        }
    }

    /// The steps before the request.
    async fn server(&mut self, [alias, kind]: [&str; 2], base: &Url, client: &Client) {
        let (tcp, tls, certificate) = match client.greet(base).await {
            Ok(Greeting { tls: None }) => ("ok".to_owned(), "none".to_owned(), "-".to_owned()),
            Ok(Greeting { tls: Some(tls) }) => {
                let until = tls.certificate.as_ref().map(valid_until);
                ("ok".into(), tls.version, until.unwrap_or("?".into()))
            }
            Err(Error::Name(error)) => (error.to_string(), "-".into(), "-".into()),
            Err(Error::Tcp(error)) => (error.to_string(), "-".into(), "-".into()),
            Err(Error::Tls(error)) => ("ok".into(), error.to_string(), "-".into()),
        };
        let cells = [alias, kind, base.as_str(), &tcp, &tls, &certificate];
        self.servers.push(row(cells));
    }

    /// The last cell of the last row.
    fn answered(&mut self, outcome: Result<String, source::Error>) {
        self.problems += usize::from(outcome.is_err());
        let text = outcome.unwrap_or_else(|error| error.to_string());
        if let Some(row) = self.servers.last_mut() {
            row.push(text);
        }
    }

    fn own_certificates(&mut self, opened: &Components) {
        for (listener, tls) in [
            ("listen", &opened.tls),
            ("gateway_listen", &opened.gateway_tls),
        ] {
            let tls = tls.as_ref().map(|tls| tls.current());
            self.own_certificate(listener, tls.and_then(|tls| tls.certificate.clone()));
        }
        let registry = &opened.registry;
        for site in registry.sites() {
            let certificate = site.source.client().and_then(Client::certificate);
            self.own_certificate(&format!("towards {}", site.source.alias), certificate);
        }
        for gateway in registry.communities().filter_map(|c| c.gateway.as_ref()) {
            let certificate = gateway.client().certificate();
            self.own_certificate(&format!("towards {}", gateway.alias()), certificate);
        }
    }

    fn own_certificate(&mut self, used: &str, certificate: Option<Certificate>) {
        let Some(certificate) = certificate else {
            return;
        };
        self.problems += usize::from(!certificate.is_valid_at(now()));
        let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
        self.certificates.push(row([
            used,
            &names.join(" "),
            &valid_until(&certificate),
            &certificate.fingerprint.to_string(),
        ]));
    }

    fn print(&self) {
        let heading = [
            "NAME",
            "KIND",
            "WHERE",
            "TCP",
            "TLS",
            "CERTIFICATE",
            "ANSWER",
        ];
        table::print(&with_heading(row(heading), &self.servers));
        if !self.certificates.is_empty() {
            println!("\nOur own certificates");
            let heading = ["USED", "NAMES", "CERTIFICATE", "SHA-256 FINGERPRINT"];
            table::print(&with_heading(row(heading), &self.certificates));
        }
        println!();
    }
}

/// Warns of a secret that other users of this machine may read or replace.
fn warn_if_open(file: &Path) {
    let Ok(metadata) = std::fs::metadata(file) else {
        return;
    };
    // A group may be the way in which the gateway itself gets to read it.
    if metadata.permissions().mode() & 0o027 != 0 {
        let file = file.display();
        println!("warning: {file} can be read or changed by others; chmod 600 it");
    }
}

fn with_heading(heading: Vec<String>, rows: &[Vec<String>]) -> Vec<Vec<String>> {
    std::iter::once(heading)
        .chain(rows.iter().cloned())
        .collect()
}

/// The end of a certificate's validity, with a note if it is near or past.
fn valid_until(certificate: &Certificate) -> String {
    let until = OffsetDateTime::from_unix_timestamp(certificate.not_after);
    let until = until.map_or("?".to_owned(), |until| until.date().to_string());
    let days = (certificate.not_after - now()) / 86_400;
    match certificate.is_valid_at(now()) {
        false if certificate.not_after < now() => format!("EXPIRED {until}"),
        false => "NOT YET VALID".to_owned(),
        true if days < SOON_DAYS => format!("until {until}, {days} days"),
        true => format!("until {until}"),
    }
}
