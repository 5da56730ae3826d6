//! `xcwado check`: tests settings, folders, credentials, sources and other communities' gateways
//! before they go into service.

use std::fmt::Display;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use time::OffsetDateTime;
use url::Url;

use super::table::{self, row};
use crate::credentials::{Certificate, RevocationList, Staple, Status, now};
use crate::source::client::Client;
use crate::source::greeting::{Error, Greeting};
use crate::source::xc_wado::RespondingGateway;
use crate::source::{self, Kind, Source};
use crate::start::{Components, Failure, block_on, decoders, look};

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
        for (name, outcome) in opened.access.tokens().probe().await {
            report.issuer(&name, outcome);
        }
        if let Some((logins, settings)) = opened.access.logins().zip(config.login.as_ref()) {
            let outcome = logins.probe().await.map(|()| "answers".to_owned());
            report.issuer(&settings.name, outcome);
        }
        report.own_credentials(&opened);
        let sandbox = decoders(&config).sandbox().await;
        report.problems += usize::from(sandbox.is_err());
        report.print();
        match sandbox {
            Ok(sandbox) => println!("decoders are {sandbox}"),
            Err(_not_started) => println!("decoders do not start"),
        }
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
    issuers: Vec<Vec<String>>,
    certificates: Vec<Vec<String>>,
    lists: Vec<Vec<String>>,
    staples: Vec<Vec<String>>,
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

    fn issuer<E: Display>(&mut self, name: &str, outcome: Result<String, E>) {
        self.problems += usize::from(outcome.is_err());
        let text = outcome.unwrap_or_else(|error| error.to_string());
        self.issuers.push(row([name, &text]));
    }

    fn own_credentials(&mut self, opened: &Components) {
        for (listener, tls) in [
            ("listen", &opened.tls),
            ("gateway_listen", &opened.gateway_tls),
        ] {
            if let Some(tls) = tls.as_ref().map(|tls| tls.current()) {
                self.own_certificate(listener, tls.certificate.clone());
                self.revocation_lists(listener, &tls.revocation_lists);
                self.staple(listener, tls.value.staple.as_deref());
            }
        }
        let registry = &opened.registry;
        for site in registry.sites() {
            if let Some(client) = site.source.client() {
                self.credentials_towards(&site.source.alias, client);
            }
        }
        for gateway in registry.communities().filter_map(|c| c.gateway.as_ref()) {
            self.credentials_towards(gateway.alias(), gateway.client());
        }
    }

    fn credentials_towards(&mut self, alias: &str, client: &Client) {
        let used = format!("towards {alias}");
        self.own_certificate(&used, client.certificate());
        self.revocation_lists(&used, &client.revocation_lists());
    }

    fn revocation_lists(&mut self, used: &str, lists: &[RevocationList]) {
        let now = now();
        for list in lists {
            self.problems += usize::from(list.has_expired(now));
            let due = match list.next_update {
                None => "not said".to_owned(),
                Some(next) if next < now => format!("EXPIRED {}", date(next)),
                Some(next) => format!("until {}", date(next)),
            };
            self.lists.push(row([
                used,
                &list.file.display().to_string(),
                &list.issuer,
                &age(now - list.this_update),
                &due,
                &list.revoked.to_string(),
            ]));
        }
    }

    fn staple(&mut self, used: &str, staple: Option<&Staple>) {
        let Some(staple) = staple else {
            return;
        };
        let now = now();
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let stapled = staple.stapled_at(now.unsigned_abs());
        let is_good = stapled.is_ok_and(|answer| answer.status == Status::Good);
        self.problems += usize::from(!is_good);
        let validity = match stapled {
            Err(reason) => format!("NOT STAPLED: {reason}"),
            Ok(answer) => format!("until {}", date(signed(answer.next_update))),
        };
        let (age, status) = match staple.answer {
            Err(_untrusted) => ("-".to_owned(), "-"),
            Ok(answer) => {
                let status = match answer.status {
                    Status::Good => "good",
                    Status::Revoked => "REVOKED",
                };
                (age(now - signed(answer.this_update)), status)
            }
        };
        let file = staple.file.display().to_string();
        self.staples
            .push(row([used, &file, &age, status, &validity]));
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
        if !self.issuers.is_empty() {
            println!("\nAuthorization servers");
            table::print(&with_heading(row(["NAME", "ANSWER"]), &self.issuers));
        }
        if !self.certificates.is_empty() {
            println!("\nOur own certificates");
            let heading = ["USED", "NAMES", "CERTIFICATE", "SHA-256 FINGERPRINT"];
            table::print(&with_heading(row(heading), &self.certificates));
        }
        if !self.lists.is_empty() {
            println!("\nCertificate revocation lists");
            let heading = ["USED", "FILE", "ISSUER", "AGE", "VALID", "REVOKED"];
            table::print(&with_heading(row(heading), &self.lists));
        }
        if !self.staples.is_empty() {
            println!("\nStapled OCSP responses");
            let heading = ["USED", "FILE", "AGE", "STATUS", "VALID"];
            table::print(&with_heading(row(heading), &self.staples));
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
    let until = date(certificate.not_after);
    let days = (certificate.not_after - now()) / 86_400;
    match certificate.is_valid_at(now()) {
        false if certificate.not_after < now() => format!("EXPIRED {until}"),
        false => "NOT YET VALID".to_owned(),
        true if days < SOON_DAYS => format!("until {until}, {days} days"),
        true => format!("until {until}"),
    }
}

fn date(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds);
    time.map_or("?".to_owned(), |time| time.date().to_string())
}

/// The age of a list, in hours up to two days.
fn age(seconds: i64) -> String {
    match seconds / 3600 {
        hours if hours < 48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}
