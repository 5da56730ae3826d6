//! Streams of parts.
