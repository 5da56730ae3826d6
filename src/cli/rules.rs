//! `xcwado rules explain`: which rule decides about a request, and why.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::header::{AUTHORIZATION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri};

use crate::access::{
    Caller, Door, Effect, Entry, Explained, Manifests, Peer, RuleSettings, Transaction,
};
use crate::budget::Client;
use crate::config::Config;
use crate::gateway::{manifest_of, transaction};
use crate::library::{Library, View, now};
use crate::manifest::Id;
use crate::request::{LinkPath, Resource};
use crate::start::{self, Components, Failure, block_on};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell which rule decides about a request, and why
    #[command(
        after_help = "Example:\n  xcwado rules explain --token \"$TOKEN\" GET /dicomweb/studies"
    )]
    Explain(Arguments),
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Settings
    #[arg(long, default_value = "config.toml")]
    config: PathBuf,
    /// The bearer token of the request; `-` reads it from standard input
    #[arg(long)]
    token: Option<String>,
    /// The method
    method: Method,
    /// The URL, or its path and query
    url: Uri,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Explain(arguments) = command;
    let (config, opened) = Components::load(&arguments.config)?;
    block_on(explain(arguments, &config, &opened))
}

/// A request as far as rules are about it.
struct Question {
    caller: Caller,
    transaction: Transaction,
    manifest: Option<Id>,
    location: Option<String>,
}

async fn explain(
    arguments: &Arguments,
    config: &Config,
    opened: &Components,
) -> Result<(), Failure> {
    let library = start::look(config)?;
    let question = question(arguments, config, opened).await?;
    println!("who: {}", who(&question.caller));
    println!("what: {}", question.transaction.name());
    if let Some(id) = question.manifest {
        let is_there = library.shows(&View::everything(), id);
        println!(
            "manifest: {id}{}",
            if is_there {
                ""
            } else {
                ", which is not registered"
            }
        );
    }
    let Some(rules) = opened.access.rules(Door::Public) else {
        println!("the listener is open: permitted");
        return Ok(());
    };
    let mut decision = None;
    let explained = rules.explained(&question.caller, question.transaction);
    for (number, explained) in explained.enumerate() {
        let reason = reason(&explained, &question, &library);
        println!(
            "{}: {}",
            named(number, explained.rule),
            reason.unwrap_or("decides")
        );
        if reason.is_none() && decision.is_none() {
            decision = Some(explained.rule.effect);
        }
    }
    println!("{}", conclusion(decision, &question));
    Ok(())
}

async fn question(
    arguments: &Arguments,
    config: &Config,
    opened: &Components,
) -> Result<Question, Failure> {
    let head = head(arguments)?;
    let path = path(config, head.uri.path());
    let grammar = config.xc_wado.grammar();
    let (caller, resource) = match LinkPath::parse(&path) {
        Some(link) => {
            let grant = entered(config, &link)?;
            let path = format!("/manifests/{}{}", grant.manifest, link.rest);
            (
                Caller::Link(grant),
                grammar.resource(&path, head.uri.query()),
            )
        }
        None => {
            let identified = opened.access.identify(&nobody(), &head.headers).await;
            let caller = identified.map_err(|refused| Failure(format!("401: {refused}")))?;
            (caller, grammar.resource(&path, head.uri.query()))
        }
    };
    let resource = resource.map_err(|wrong| Failure(format!("{path}: {wrong}")))?;
    let is_ours = |community: &_| *community == config.home_community_id;
    let transaction = transaction(&head, &resource, is_ours)
        .ok_or_else(|| Failure("this shows nothing, so everybody may ask for it".to_owned()))?;
    let mut location = None;
    if let Resource::XcWado(request) = &resource {
        location = request.location.retrieve_location_uid.as_ref();
    }
    Ok(Question {
        caller,
        transaction,
        manifest: manifest_of(&resource),
        location: location.map(|uid| uid.as_str().to_owned()),
    })
}

fn head(arguments: &Arguments) -> Result<Parts, Failure> {
    let mut request = Request::new(());
    *request.method_mut() = arguments.method.clone();
    *request.uri_mut() = arguments.url.clone();
    if let Some(token) = &arguments.token {
        let token = match token.as_str() {
            "-" => std::io::read_to_string(std::io::stdin().take(1 << 20)).map_err(Failure::new)?,
            token => token.to_owned(),
        };
        let field = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let field = field.map_err(|_invalid| Failure("--token: not a bearer token".to_owned()))?;
        request.headers_mut().insert(AUTHORIZATION, field);
    }
    Ok(request.into_parts().0)
}

/// The path below the public URL.
fn path(config: &Config, path: &str) -> String {
    let prefix = config.public_url().path().trim_end_matches('/').to_owned();
    let below = path
        .strip_prefix(&prefix)
        .filter(|rest| rest.starts_with('/'));
    below.unwrap_or(path).to_owned()
}

fn entered(
    config: &Config,
    link: &LinkPath<'_>,
) -> Result<std::sync::Arc<crate::access::Grant>, Failure> {
    let links = start::links(config)?;
    match links.enter(link.token, Client::at(HERE), now()) {
        Entry::Open(grant) | Entry::First(grant) => Ok(grant),
        Entry::Locked => Err(Failure("403: the link waits for its code".to_owned())),
        Entry::None => Err(Failure("404: there is no such link".to_owned())),
    }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn nobody() -> Peer {
    Peer {
        door: Door::Public,
        address: HERE,
        certificate: None,
        ours: None,
    }
}

fn who(caller: &Caller) -> String {
    match caller {
        Caller::Member { .. } => "a client that is not identified".to_owned(),
        Caller::Partner(partner) => format!("the partner {}", partner.alias),
        Caller::Link(grant) => format!("the holder of the link {}", grant.id),
        Caller::Subject(claims) => {
            let codes = |codes: &[crate::access::Code]| -> Vec<String> {
                let codes = codes.iter();
                codes.map(|code| code.code.to_string()).collect()
            };
            format!(
                "{} of {}; scopes {:?}, roles {:?}, organisations {:?}, purposes {:?}",
                claims.subject,
                claims.issuer,
                claims.scopes,
                codes(&claims.roles),
                claims.organisations,
                codes(&claims.purposes)
            )
        }
    }
}

fn named(number: usize, rule: &RuleSettings) -> String {
    let name = rule.name.as_ref().map(|name| format!(" ({name})"));
    format!("rule {}{}", number + 1, name.unwrap_or_default())
}

/// Why a rule does not decide.
fn reason(
    explained: &Explained<'_>,
    question: &Question,
    library: &Library,
) -> Option<&'static str> {
    const UNMET: [(&str, &str); 12] = [
        ("transactions", "is about other transactions"),
        (
            "link",
            "is for holders of links, or the request is one of them",
        ),
        ("certificate", "is for clients with a certificate"),
        ("anyone", "is for clients that are identified"),
        ("issuers", "is for tokens of other issuers"),
        ("subjects", "is for other subjects"),
        ("clients", "is for other clients"),
        ("scopes", "is for other scopes"),
        ("roles", "is for other roles"),
        ("organisations", "is for other organisations"),
        ("communities", "is for other communities"),
        ("purposes", "is for other purposes of use"),
    ];
    if let Some(unmet) = explained.unmet {
        let known = UNMET.into_iter().find(|(key, _)| *key == unmet);
        return Some(known.map_or("does not apply", |(_, text)| text));
    }
    let rule = explained.rule;
    if question.transaction.is_xc_wado() {
        let is_for_it = rule.is_for(question.location.as_deref());
        return (!is_for_it).then_some("is for other locations");
    }
    match (question.manifest, rule.manifests) {
        (Some(id), _) if library.shows(&explained.covers, id) => None,
        (Some(_), Manifests::Own) => Some("is for manifests that the same subject registered"),
        (Some(_), Manifests::Patient) => Some("is for manifests of the token's patient"),
        (Some(_), Manifests::All) => Some("the manifest is not registered"),
        (None, Manifests::Patient) if explained.covers.is_nothing() => {
            Some("the token names no patient by an issuer that is known everywhere")
        }
        (None, _) => None,
    }
}

fn conclusion(decision: Option<Effect>, question: &Question) -> &'static str {
    let is_unknown = matches!(question.caller, Caller::Member { .. });
    let is_secret = question.manifest.is_some() || question.transaction.is_xc_wado();
    match decision {
        Some(Effect::Allow) => "permitted",
        None if matches!(question.caller, Caller::Link(_)) => "permitted: links need no rule",
        _ if is_unknown => "401: the client has to identify itself",
        _ if is_secret => "404: for this client it does not exist",
        _ => "403: no rule permits it",
    }
}
