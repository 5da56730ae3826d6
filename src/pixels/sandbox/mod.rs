//! The sandbox of a decoder process: no new privileges, no files, no network, no other processes.
//!
//! Decoders parse bytes of others, one of them in unsafe code. A process that hostile bytes have
//! taken over holds one frame and two pipes, and reaches nothing else.

mod calls;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

/// How the kernel confines a decoder. For each of its two means: why it does not apply it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Which system calls a decoder can make.
    seccomp: Result<(), String>,
    /// Which files and networks these reach.
    landlock: Result<(), String>,
}

impl Sandbox {
    /// Confines this process for the rest of its life, as far as the kernel can.
    ///
    /// # Errors
    /// If the kernel refuses what each kernel can do.
    pub(super) fn enter() -> io::Result<Self> {
        set_no_new_privs(true)?;
        // Neither a core dump nor another process of this user may hold a frame.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        // Landlock is set up through a descriptor, the last one that a decoder opens.
        let landlock = reach_nothing();
        for resource in [Resource::Nofile, Resource::Fsize, Resource::Core] {
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            setrlimit(resource, none)?;
        }
        // This filter forbids all of the above.
        let seccomp = calls::restrict().map_err(|error| error.to_string());
        Ok(Self { seccomp, landlock })
    }

    /// Whether the kernel applies both means.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.seccomp.is_ok() && self.landlock.is_ok()
    }

    /// Logs how decoders are confined.
    pub(super) fn log(&self) {
        match self.is_complete() {
            true => tracing::info!("decoders are {self}"),
            false => tracing::warn!("decoders are {self}"),
        }
    }
}

impl Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.seccomp, &self.landlock) {
            (Ok(()), Ok(())) => f.write_str("confined by seccomp and Landlock"),
            (Ok(()), Err(why)) => write!(f, "confined by seccomp, but not by Landlock: {why}"),
            (Err(why), Ok(())) => write!(f, "confined by Landlock, but not by seccomp: {why}"),
            (Err(seccomp), Err(landlock)) => write!(
                f,
                "NOT CONFINED but by limits of memory, time and open files: \
                 no seccomp: {seccomp}; no Landlock: {landlock}"
            ),
        }
    }
}

/// Denies all access to files, networks and other processes that the kernel's Landlock knows.
fn reach_nothing() -> Result<(), String> {
    // A kernel of an earlier version denies what it knows.
    const VERSION: ABI = ABI::V7;
    let restrict = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(VERSION))?
            .handle_access(AccessNet::from_all(VERSION))?
            .scope(Scope::from_all(VERSION))?
            .create()?
            .restrict_self()
    };
    match restrict().map_err(|error| error.to_string())?.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("the kernel has none, or refuses it".to_owned()),
    }
}
