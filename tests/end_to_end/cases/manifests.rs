//! Small manifests, each with what must come of it.
