//! Small instances whose pixels other readers decode rightly.
