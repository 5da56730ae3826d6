//! Every metric, named once. Labels come from small fixed sets: aliases of locations, names of
//! transactions and outcomes; never a UID, never anything of a patient.

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
        /// The metrics of one gateway.
        #[derive(Debug, Clone)]
        pub struct Metrics {
            registry: Registry,
            $($(#[$doc])* $visibility $field: $kind,)+
        }

        impl Metrics {
            fn register(registry: Registry) -> Self {
                Self {
                    $($field: $create(&registry, $($about),+),)+
                    registry,
                }
            }
        }
    };
}

metrics! {
    /// Requests answered, by transaction and status class.
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
    /// Answers by how they ended: `complete`, `partial`, `broken_off`, `client_left`.
    pub answers: IntCounterVec =
        counter("answers_total", "Answers by how they ended", &["transaction", "outcome"]);
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
    /// Instances that sources sent and that were not passed on, by location and reason.
    pub dropped_instances: IntCounterVec = counter(
        "dropped_instances_total",
        "Instances that sources sent and that were not passed on",
        &["location", "outcome"]
    );
    /// Bytes behind data sets, which are delivered: `location`.
    pub trailing_bytes: IntCounterVec = counter(
        "trailing_bytes_total",
        "Bytes behind data sets that sources sent and that are no padding",
        &["location"]
    );
    /// Requests to sources, by location and outcome.
    pub source_requests: IntCounterVec =
        counter("source_requests_total", "Requests to sources", &["location", "outcome"]);
    /// Requests that were sent to a further address of a source, by location.
    pub source_retries: IntCounterVec = counter(
        "source_retries_total",
        "Requests that were sent to a further address of a source",
        &["location"]
    );
    /// Whether an address of a source is asked: 0 yes, 1 on trial, 2 no; by location and the
    /// how-manyth address it is.
    pub breaker_state: IntGaugeVec = gauge(
        "breaker_state",
        "Whether an address of a source is asked: 0 closed, 1 half open, 2 open",
        &["location", "address"]
    );
    /// Seconds until a source began to answer, by location.
    pub source_first_byte_seconds: HistogramVec =
        histogram("source_first_byte_seconds", "Until a source began to answer", &["location"]);
    /// Files that a folder source offers, by location.
    pub folder_instances: IntGaugeVec =
        gauge("folder_instances", "Instances that a folder offers", &["location"]);
    /// Manifests that are registered.
    pub manifests: IntGauge = plain_gauge("manifests", "Manifests that are registered");
    /// Manifests by what became of their registration.
    pub registrations: IntCounterVec = counter(
        "manifest_registrations_total",
        "Manifests by what became of their registration",
        &["outcome"]
    );
    /// Seconds it took to read a manifest.
    pub manifest_read_seconds: Histogram =
        plain_histogram("manifest_read_seconds", "How long it took to read a manifest");
    /// Connections of clients that are open, by listener.
    pub open_connections: IntGaugeVec =
        gauge("open_connections", "Connections of clients that are open", &["listener"]);
    /// Connections turned away because there were too many, by listener.
    pub refused_connections: IntCounterVec = counter(
        "refused_connections_total",
        "Connections turned away because there were too many",
        &["listener"]
    );
    /// Connections that the gateway closed, by listener and reason: `idle`, `stalled`, `displaced`,
    /// `certificate`.
    pub closed_connections: IntCounterVec = counter(
        "closed_connections_total",
        "Connections that the gateway closed",
        &["listener", "reason"]
    );
    /// Handshakes that failed, by listener.
    pub failed_handshakes: IntCounterVec =
        counter("failed_handshakes_total", "TLS handshakes that failed", &["listener"]);
    /// Seconds since 1970 when a certificate of ours ceases to be valid, by credentials.
    pub certificate_expiry: IntGaugeVec = gauge(
        "certificate_expiry_timestamp_seconds",
        "When a certificate of ours ceases to be valid",
        &["credentials"]
    );
    /// Credentials that changed while the gateway ran, by what became of that.
    pub credential_reloads: IntCounterVec = counter(
        "credential_reloads_total",
        "Credentials that changed while the gateway ran",
        &["credentials", "outcome"]
    );
    /// What somebody tried who had no right to.
    pub security_events: IntCounterVec =
        counter("security_events_total", "What somebody tried who had no right to", &["event"]);
    /// Requests of other communities' gateways, by community and status class.
    pub partner_requests: IntCounterVec = counter(
        "partner_requests_total",
        "Requests of other communities' gateways",
        &["community", "status_class"]
    );
    /// Looks for instances in the cache, by where they were found: `memory`, `disk`, `flight`
    /// (arriving for somebody else), `none`.
    pub cache_lookups: IntCounterVec = counter(
        "cache_lookups_total",
        "Looks for instances in the cache by where they were found",
        &["tier"]
    );
    /// Bytes that are kept, by tier.
    pub cache_bytes: IntGaugeVec =
        gauge("cache_bytes", "Bytes of instances that are kept", &["tier"]);
    /// Instances that are kept, by tier.
    pub cache_entries: IntGaugeVec = gauge("cache_entries", "Instances that are kept", &["tier"]);
    /// Instances that left for want of room or of age, by tier.
    pub cache_evictions: IntCounterVec = counter(
        "cache_evictions_total",
        "Instances that left for want of room or of age",
        &["tier"]
    );
    /// Instances on disk that were found damaged.
    pub cache_damaged: IntCounter =
        plain_counter("cache_damaged_total", "Instances on disk that were found damaged");
    /// Bytes of memory that the index of the disk tier takes.
    pub cache_index_bytes: IntGauge =
        plain_gauge("cache_index_bytes", "Memory that the index of the disk tier takes");
    /// Instances that were not written to disk, because it was full or too slow.
    pub cache_not_written: IntCounter = plain_counter(
        "cache_not_written_total",
        "Instances that were not written to disk, because it was full or too slow"
    );
    /// Instances and series that broke off, by location and by what became of them: `repaired`,
    /// `failed`, `changed` (the source gives something else now).
    pub repairs: IntCounterVec = counter(
        "repairs_total",
        "What broke off and was fetched again, by what became of it",
        &["location", "outcome"]
    );
    /// What was refused for want of room, by whose bound it was: `client` (answers of one), `fetches`
    /// (of all sources), `queue` (of one source), `memory` (of answers that are no streams), `decoders`.
    pub refused: IntCounterVec =
        counter("refused_total", "What was refused for want of room, by the bound", &["bound"]);
    /// Bytes of memory that answers hold which are no streams.
    pub budget_bytes: IntGauge =
        plain_gauge("budget_bytes", "Memory that answers hold which are no streams");
    /// Instances that are arriving.
    pub flights_open: IntGauge = plain_gauge("flights_open", "Instances that are arriving");
    resident_memory: IntGauge =
        plain_gauge("process_resident_memory_bytes", "Memory that the process holds");
    open_files: IntGauge =
        plain_gauge("process_open_file_descriptors", "File descriptors that the process holds");
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
        Self::register(registry)
    }

    /// What the memory budget tells.
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
