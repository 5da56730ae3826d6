//! Sources of every kind: sound, broken, slow to come back.

mod addresses;
mod authorization;
mod damage;
mod instances_only;
mod misbehaving;
mod repair;
mod wado_uri;
