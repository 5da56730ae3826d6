//! Every metric, named once. Labels come from small fixed sets: aliases of locations, names of
//! transactions and outcomes; never a UID, never anything of a patient.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::budget::Meters;

/// The metrics of one gateway.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered, by transaction and status class.
    pub requests: IntCounterVec,
    /// Seconds from a request's head to the end of its answer, by transaction.
    pub request_seconds: HistogramVec,
    /// Seconds from a request's head to the head of its answer, by transaction.
    pub first_byte_seconds: HistogramVec,
    /// Answers by how they ended: `complete`, `partial`, `broken_off`, `client_left`.
    pub answers: IntCounterVec,
    /// Bytes of answers handed to clients, by transaction.
    pub delivered_bytes: IntCounterVec,
    /// Instances handed to clients, by location.
    pub delivered_instances: IntCounterVec,
    /// Bytes of instances that sources sent, by location.
    pub fetched_bytes: IntCounterVec,
    /// Instances that sources sent, by location.
    pub fetched_instances: IntCounterVec,
    /// Instances that sources sent and that were not passed on, by location and reason.
    pub dropped_instances: IntCounterVec,
    /// Bytes behind data sets, which are delivered: `location`.
    pub trailing_bytes: IntCounterVec,
    /// Requests to sources, by location and outcome.
    pub source_requests: IntCounterVec,
    /// Requests that were sent to a further address of a source, by location.
    pub source_retries: IntCounterVec,
    /// Whether an address of a source is asked: 0 yes, 1 on trial, 2 no; by location and the
    /// how-manyth address it is.
    pub breaker_state: IntGaugeVec,
    /// Seconds until a source began to answer, by location.
    pub source_first_byte_seconds: HistogramVec,
    /// Files that a folder source offers, by location.
    pub folder_instances: IntGaugeVec,
    /// Manifests that are registered.
    pub manifests: IntGauge,
    /// Manifests by what became of their registration.
    pub registrations: IntCounterVec,
    /// Seconds it took to read a manifest.
    pub manifest_read_seconds: Histogram,
    /// Connections of clients that are open, by listener.
    pub open_connections: IntGaugeVec,
    /// Connections turned away because there were too many, by listener.
    pub refused_connections: IntCounterVec,
    /// Connections that the gateway closed, by listener and reason: `idle`, `stalled`, `displaced`,
    /// `certificate`.
    pub closed_connections: IntCounterVec,
    /// Handshakes that failed, by listener.
    pub failed_handshakes: IntCounterVec,
    /// Seconds since 1970 when a certificate of ours ceases to be valid, by credentials.
    pub certificate_expiry: IntGaugeVec,
    /// Credentials that changed while the gateway ran, by what became of that.
    pub credential_reloads: IntCounterVec,
    /// What somebody tried who had no right to.
    pub security_events: IntCounterVec,
    /// Requests of other communities' gateways, by community and status class.
    pub partner_requests: IntCounterVec,
    /// Looks for instances in the cache, by where they were found: `memory`, `disk`, `flight`
    /// (arriving for somebody else), `none`.
    pub cache_lookups: IntCounterVec,
    /// Bytes that are kept, by tier.
    pub cache_bytes: IntGaugeVec,
    /// Instances that are kept, by tier.
    pub cache_entries: IntGaugeVec,
    /// Instances that left for want of room or of age, by tier.
    pub cache_evictions: IntCounterVec,
    /// Instances on disk that were found damaged.
    pub cache_damaged: IntCounter,
    /// Bytes of memory that the index of the disk tier takes.
    pub cache_index_bytes: IntGauge,
    /// Instances that were not written to disk, because it was full or too slow.
    pub cache_not_written: IntCounter,
    /// Instances and series that broke off, by location and by what became of them: `repaired`,
    /// `failed`, `changed` (the source gives something else now).
    pub repairs: IntCounterVec,
    /// What was refused for want of room, by whose bound it was: `client` (answers of one), `fetches`
    /// (of all sources), `queue` (of one source), `memory` (of answers that are no streams), `decoders`.
    pub refused: IntCounterVec,
    /// Bytes of memory that answers hold which are no streams.
    pub budget_bytes: IntGauge,
    /// Instances that are arriving.
    pub flights_open: IntGauge,
    resident_memory: IntGauge,
    open_files: IntGauge,
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
            "Always 1; says what runs",
            &["version"],
        );
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Self {
            requests: counter(
                &registry,
                "requests_total",
                "Requests answered",
                &["transaction", "status_class"],
            ),
            request_seconds: histogram(
                &registry,
                "request_duration_seconds",
                "From a request's head to the end of its answer",
                &["transaction"],
            ),
            first_byte_seconds: histogram(
                &registry,
                "request_first_byte_seconds",
                "From a request's head to the head of its answer",
                &["transaction"],
            ),
            answers: counter(
                &registry,
                "answers_total",
                "Answers by how they ended",
                &["transaction", "outcome"],
            ),
            delivered_bytes: counter(
                &registry,
                "delivered_bytes_total",
                "Bytes of answers handed to clients",
                &["transaction"],
            ),
            delivered_instances: counter(
                &registry,
                "delivered_instances_total",
                "Instances handed to clients",
                &["location"],
            ),
            fetched_bytes: counter(
                &registry,
                "fetched_bytes_total",
                "Bytes of instances that sources sent",
                &["location"],
            ),
            fetched_instances: counter(
                &registry,
                "fetched_instances_total",
                "Instances that sources sent",
                &["location"],
            ),
            dropped_instances: counter(
                &registry,
                "dropped_instances_total",
                "Instances that sources sent and that were not passed on",
                &["location", "outcome"],
            ),
            trailing_bytes: counter(
                &registry,
                "trailing_bytes_total",
                "Bytes behind data sets that sources sent and that are no padding",
                &["location"],
            ),
            source_requests: counter(
                &registry,
                "source_requests_total",
                "Requests to sources",
                &["location", "outcome"],
            ),
            source_retries: counter(
                &registry,
                "source_retries_total",
                "Requests that were sent to a further address of a source",
                &["location"],
            ),
            breaker_state: gauge(
                &registry,
                "breaker_state",
                "Whether an address of a source is asked: 0 closed, 1 half open, 2 open",
                &["location", "address"],
            ),
            source_first_byte_seconds: histogram(
                &registry,
                "source_first_byte_seconds",
                "Until a source began to answer",
                &["location"],
            ),
            folder_instances: gauge(
                &registry,
                "folder_instances",
                "Instances that a folder offers",
                &["location"],
            ),
            manifests: plain_gauge(&registry, "manifests", "Manifests that are registered"),
            registrations: counter(
                &registry,
                "manifest_registrations_total",
                "Manifests by what became of their registration",
                &["outcome"],
            ),
            manifest_read_seconds: plain_histogram(
                &registry,
                "manifest_read_seconds",
                "How long it took to read a manifest",
            ),
            open_connections: gauge(
                &registry,
                "open_connections",
                "Connections of clients that are open",
                &["listener"],
            ),
            refused_connections: counter(
                &registry,
                "refused_connections_total",
                "Connections turned away because there were too many",
                &["listener"],
            ),
            closed_connections: counter(
                &registry,
                "closed_connections_total",
                "Connections that the gateway closed",
                &["listener", "reason"],
            ),
            failed_handshakes: counter(
                &registry,
                "failed_handshakes_total",
                "TLS handshakes that failed",
                &["listener"],
            ),
            certificate_expiry: gauge(
                &registry,
                "certificate_expiry_timestamp_seconds",
                "When a certificate of ours ceases to be valid",
                &["credentials"],
            ),
            credential_reloads: counter(
                &registry,
                "credential_reloads_total",
                "Credentials that changed while the gateway ran",
                &["credentials", "outcome"],
            ),
            security_events: counter(
                &registry,
                "security_events_total",
                "What somebody tried who had no right to",
                &["event"],
            ),
            partner_requests: counter(
                &registry,
                "partner_requests_total",
                "Requests of other communities' gateways",
                &["community", "status_class"],
            ),
            cache_lookups: counter(
                &registry,
                "cache_lookups_total",
                "Looks for instances in the cache by where they were found",
                &["tier"],
            ),
            cache_bytes: gauge(
                &registry,
                "cache_bytes",
                "Bytes of instances that are kept",
                &["tier"],
            ),
            cache_entries: gauge(
                &registry,
                "cache_entries",
                "Instances that are kept",
                &["tier"],
            ),
            cache_evictions: counter(
                &registry,
                "cache_evictions_total",
                "Instances that left for want of room or of age",
                &["tier"],
            ),
            cache_damaged: plain_counter(
                &registry,
                "cache_damaged_total",
                "Instances on disk that were found damaged",
            ),
            cache_index_bytes: plain_gauge(
                &registry,
                "cache_index_bytes",
                "Memory that the index of the disk tier takes",
            ),
            cache_not_written: plain_counter(
                &registry,
                "cache_not_written_total",
                "Instances that were not written to disk, because it was full or too slow",
            ),
            repairs: counter(
                &registry,
                "repairs_total",
                "What broke off and was fetched again, by what became of it",
                &["location", "outcome"],
            ),
            refused: counter(
                &registry,
                "refused_total",
                "What was refused for want of room, by the bound",
                &["bound"],
            ),
            budget_bytes: plain_gauge(
                &registry,
                "budget_bytes",
                "Memory that answers hold which are no streams",
            ),
            flights_open: plain_gauge(&registry, "flights_open", "Instances that are arriving"),
            resident_memory: plain_gauge(
                &registry,
                "process_resident_memory_bytes",
                "Memory that the process holds",
            ),
            open_files: plain_gauge(
                &registry,
                "process_open_file_descriptors",
                "File descriptors that the process holds",
            ),
            registry,
        }
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
