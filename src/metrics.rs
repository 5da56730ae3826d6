//! All metrics, each declared once. Labels come from small fixed sets: aliases of locations, names
//! of transactions and outcomes; never a UID, never patient data.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::budget::Meters;

/// Declares [`Metrics`]: each metric with its name, its help text and its labels.
macro_rules! metrics {
    ($(
        $(#[$doc:meta])*
        $visibility:vis $field:ident: $kind:ty = $create:ident($($about:expr),+);
    )+) => {
        /// All metrics of one gateway, by name.
        #[derive(Debug)]
        pub struct Families {
            registry: Registry,
            by_source: RwLock<HashMap<Arc<str>, Arc<SourceMetrics>>>,
            $($(#[$doc])* $visibility $field: $kind,)+
        }

        impl Families {
            fn register(registry: Registry) -> Self {
                Self {
                    $($field: $create(&registry, $($about),+),)+
                    by_source: RwLock::default(),
                    registry,
                }
            }
        }
    };
}

/// The metrics of one gateway: a cheap handle.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Families>);

impl Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0
    }
}

/// The metrics of one source that each of its instances counts in.
#[derive(Debug)]
pub struct SourceMetrics {
    /// Instances fetched.
    pub fetched_instances: IntCounter,
    /// Bytes fetched.
    pub fetched_bytes: IntCounter,
    /// Bytes behind the data sets.
    pub trailing_bytes: IntCounter,
    /// Instances delivered.
    pub delivered_instances: IntCounter,
    /// Requests that the source has answered.
    pub answered: IntCounter,
    /// Seconds until it began to answer.
    pub first_byte_seconds: Histogram,
}

impl SourceMetrics {
    fn of(families: &Families, alias: &str) -> Self {
        let alias = &[alias];
        let [location] = alias;
        Self {
            fetched_instances: families.fetched_instances.with_label_values(alias),
            fetched_bytes: families.fetched_bytes.with_label_values(alias),
            trailing_bytes: families.trailing_bytes.with_label_values(alias),
            delivered_instances: families.delivered_instances.with_label_values(alias),
            answered: families
                .source_requests
                .with_label_values(&[location, "answered"]),
            first_byte_seconds: families.source_first_byte_seconds.with_label_values(alias),
        }
    }
}

metrics! {
    /// Answered requests, by transaction and status class.
    pub requests: IntCounterVec =
        counter("requests_total", "Requests answered", &["transaction", "status_class"]);
    /// Seconds from a request's head to the end of its answer, by transaction.
    pub request_seconds: HistogramVec = histogram(
        "request_duration_seconds",
        "From a request's head to the end of its answer",
        &["transaction"]
    );
    /// Seconds from a request's head to the head of its answer, by transaction.
    pub first_byte_seconds: HistogramVec = histogram(
        "request_first_byte_seconds",
        "From a request's head to the head of its answer",
        &["transaction"]
    );
    /// Answers by outcome: `complete`, `partial`, `broken_off`, `client_left`.
    pub answers: IntCounterVec =
        counter("answers_total", "Answers by outcome", &["transaction", "outcome"]);
    /// Bytes of answers handed to clients, by transaction.
    pub delivered_bytes: IntCounterVec =
        counter("delivered_bytes_total", "Bytes of answers handed to clients", &["transaction"]);
    /// Instances handed to clients, by location.
    pub delivered_instances: IntCounterVec =
        counter("delivered_instances_total", "Instances handed to clients", &["location"]);
    /// Bytes of instances that sources sent, by location.
    pub fetched_bytes: IntCounterVec =
        counter("fetched_bytes_total", "Bytes of instances that sources sent", &["location"]);
    /// Instances that sources sent, by location.
    pub fetched_instances: IntCounterVec =
        counter("fetched_instances_total", "Instances that sources sent", &["location"]);
    /// Fetched instances that were not forwarded, by location and reason.
    pub dropped_instances: IntCounterVec = counter(
        "dropped_instances_total",
        "Fetched instances that were not forwarded",
        &["location", "outcome"]
    );
    /// Bytes behind data sets, which are forwarded, by location.
    pub trailing_bytes: IntCounterVec = counter(
        "trailing_bytes_total",
        "Fetched bytes behind data sets other than padding",
        &["location"]
    );
    /// Requests to sources, by location and outcome.
    pub source_requests: IntCounterVec =
        counter("source_requests_total", "Requests to sources", &["location", "outcome"]);
    /// Requests sent to a further address of a source, by location.
    pub source_retries: IntCounterVec = counter(
        "source_retries_total",
        "Requests sent to a further address of a source",
        &["location"]
    );
    /// The breaker of an address: 0 closed, 1 half open, 2 open; by location and the number of the
    /// address.
    pub breaker_state: IntGaugeVec = gauge(
        "breaker_state",
        "Breaker of an address of a source: 0 closed, 1 half open, 2 open",
        &["location", "address"]
    );
    /// Seconds until a source began to answer, by location.
    pub source_first_byte_seconds: HistogramVec =
        histogram("source_first_byte_seconds", "Until a source began to answer", &["location"]);
    /// Instances of a folder source, by location.
    pub folder_instances: IntGaugeVec =
        gauge("folder_instances", "Instances of a folder source", &["location"]);
    /// Registered manifests.
    pub manifests: IntGauge = plain_gauge("manifests", "Registered manifests");
    /// Registrations of manifests, by outcome.
    pub registrations: IntCounterVec = counter(
        "manifest_registrations_total",
        "Registrations of manifests by outcome",
        &["outcome"]
    );
    /// Seconds to parse a manifest.
    pub manifest_read_seconds: Histogram =
        plain_histogram("manifest_read_seconds", "Time to parse a manifest");
    /// Open client connections, by listener.
    pub open_connections: IntGaugeVec =
        gauge("open_connections", "Open client connections", &["listener"]);
    /// Connections refused for lack of a seat, by listener.
    pub refused_connections: IntCounterVec = counter(
        "refused_connections_total",
        "Connections refused for lack of a seat",
        &["listener"]
    );
    /// Connections closed by the gateway, by listener and reason: `idle`, `stalled`, `displaced`,
    /// `certificate`.
    pub closed_connections: IntCounterVec = counter(
        "closed_connections_total",
        "Connections closed by the gateway",
        &["listener", "reason"]
    );
    /// Failed TLS handshakes, by listener.
    pub failed_handshakes: IntCounterVec =
        counter("failed_handshakes_total", "Failed TLS handshakes", &["listener"]);
    /// Expiry of our certificates in seconds since 1970, by credentials.
    pub certificate_expiry: IntGaugeVec = gauge(
        "certificate_expiry_timestamp_seconds",
        "Expiry of our certificates",
        &["credentials"]
    );
    /// The time by which a new certificate revocation list is due, in seconds since 1970, the
    /// earliest of the credentials.
    pub revocation_list_expiry: IntGaugeVec = gauge(
        "revocation_list_expiry_timestamp_seconds",
        "Expiry of certificate revocation lists",
        &["credentials"]
    );
    /// Requests for access tokens, by outcome.
    pub token_requests: IntCounterVec = counter(
        "token_requests_total",
        "Requests for access tokens",
        &["credentials", "outcome"]
    );
    /// Requests to issuers of access tokens, for `keys` and `introspection`, by outcome.
    pub issuer_requests: IntCounterVec = counter(
        "issuer_requests_total",
        "Requests to issuers of access tokens",
        &["issuer", "kind", "outcome"]
    );
    /// Reloads of changed credentials, by outcome.
    pub credential_reloads: IntCounterVec = counter(
        "credential_reloads_total",
        "Reloads of changed credentials",
        &["credentials", "outcome"]
    );
    /// Rejected unauthorised requests, by event.
    pub security_events: IntCounterVec =
        counter("security_events_total", "Rejected unauthorised requests", &["event"]);
    /// Requests of partners, by community and status class.
    pub partner_requests: IntCounterVec = counter(
        "partner_requests_total",
        "Requests of partners",
        &["community", "status_class"]
    );
    /// Cache lookups, by result: `memory`, `disk`, `flight` (arriving for another request), `none`.
    pub cache_lookups: IntCounterVec = counter(
        "cache_lookups_total",
        "Cache lookups by result",
        &["tier"]
    );
    /// Bytes of cached instances, by tier.
    pub cache_bytes: IntGaugeVec =
        gauge("cache_bytes", "Bytes of cached instances", &["tier"]);
    /// Cached instances, by tier.
    pub cache_entries: IntGaugeVec = gauge("cache_entries", "Cached instances", &["tier"]);
    /// Instances evicted for space or age, by tier.
    pub cache_evictions: IntCounterVec = counter(
        "cache_evictions_total",
        "Instances evicted for space or age",
        &["tier"]
    );
    /// Damaged instances on disk.
    pub cache_damaged: IntCounter =
        plain_counter("cache_damaged_total", "Damaged instances on disk");
    /// Bytes of memory for the index of the disk tier.
    pub cache_index_bytes: IntGauge =
        plain_gauge("cache_index_bytes", "Memory for the index of the disk tier");
    /// Instances not written to disk because it was full or too slow.
    pub cache_not_written: IntCounter = plain_counter(
        "cache_not_written_total",
        "Instances not written to disk because it was full or too slow"
    );
    /// Instances that name another patient than their manifest, by location and outcome: `refused`,
    /// `warned`.
    pub patient_mismatches: IntCounterVec = counter(
        "patient_mismatches_total",
        "Instances that name another patient than their manifest",
        &["location", "outcome"]
    );
    /// Repairs of broken instances and series, by location and outcome: `repaired`, `failed`,
    /// `changed` (the source sends other bytes now).
    pub repairs: IntCounterVec = counter(
        "repairs_total",
        "Repairs of broken answers by outcome",
        &["location", "outcome"]
    );
    /// Requests refused at a bound: `client` (answers of one client), `fetches` (of all sources),
    /// `queue` (of one source), `memory` (of buffered answers), `decoders`.
    pub refused: IntCounterVec =
        counter("refused_total", "Requests refused at a bound", &["bound"]);
    /// Bytes of memory for buffered answers.
    pub budget_bytes: IntGauge =
        plain_gauge("budget_bytes", "Memory for buffered answers");
    /// Open flights.
    pub flights_open: IntGauge = plain_gauge("flights_open", "Open flights");
    resident_memory: IntGauge =
        plain_gauge("process_resident_memory_bytes", "Resident memory of the process");
    open_files: IntGauge =
        plain_gauge("process_open_file_descriptors", "Open file descriptors of the process");
}

const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

impl Metrics {
    /// Fresh metrics, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let build_info = gauge(
            &registry,
            "build_info",
            "Always 1; the label is the version",
            &["version"],
        );
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Self(Arc::new(Families::register(registry)))
    }

    /// The metrics of a source, looked up once for a request.
    #[must_use]
    pub fn of_source(&self, alias: &Arc<str>) -> Arc<SourceMetrics> {
        let known = self
            .by_source
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(alias) {
            return Arc::clone(known);
        }
        drop(known);
        let metrics = Arc::new(SourceMetrics::of(self, alias));
        let all = self.by_source.write();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(Arc::clone(alias)).or_insert(metrics))
    }

    /// The metrics of the memory budget.
    #[must_use]
    pub fn budget(&self) -> Meters {
        Meters {
            held: self.budget_bytes.clone(),
            refused: self.refused.with_label_values(&["memory"]),
        }
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        self.observe_process();
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory cannot fail");
        text
    }

    fn observe_process(&self) {
        if let Some(bytes) = resident_memory_bytes() {
            self.resident_memory.set(bytes);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(files.count().try_into().unwrap_or(i64::MAX));
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn resident_memory_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

const VALID: &str = "the names are valid and registered once";

fn name(name: &str) -> String {
    format!("xcwado_{name}")
}

fn counter(registry: &Registry, named: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let metric = IntCounterVec::new(Opts::new(name(named), help), labels).expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

fn plain_counter(registry: &Registry, named: &str, help: &str) -> IntCounter {
    let metric = IntCounter::new(name(named), help).expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

fn gauge(registry: &Registry, named: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let metric = IntGaugeVec::new(Opts::new(name(named), help), labels).expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

fn plain_gauge(registry: &Registry, named: &str, help: &str) -> IntGauge {
    let metric = IntGauge::new(name(named), help).expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

fn histogram(registry: &Registry, named: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let options = HistogramOpts::new(name(named), help).buckets(SECONDS.to_vec());
    let metric = HistogramVec::new(options, labels).expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

fn plain_histogram(registry: &Registry, named: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name(named), help).buckets(SECONDS.to_vec());
    let metric = Histogram::with_opts(options).expect(VALID);
    registry.register(Box::new(metric.clone())).expect(VALID);
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_valid_and_prefixed() {
        let text = String::from_utf8(Metrics::new().render()).expect("text");
        assert!(text.contains("xcwado_build_info"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("xcwado_"), "{line}");
        }
    }
}
