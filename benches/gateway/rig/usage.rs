//! What a process has used so far, exactly.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// What processes have used so far.
pub(crate) struct Usage {
    /// By the number of a thread.
    threads: HashMap<u64, Thread>,
    /// The processor time of the processes, threads that have ended included, to 10 ms each.
    rounded: Duration,
}

/// What one thread has used.
#[derive(Clone, Copy, Default)]
struct Thread {
    cpu: Duration,
    switches: u64,
}

/// What processes have used meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// Context switches of the threads that have not ended, of their own accord or not.
    pub(crate) switches: u64,
}

impl Usage {
    /// Of these processes.
    pub(crate) fn of(processes: &[String]) -> Self {
        let threads = processes.iter().flat_map(|process| threads_of(process));
        Self {
            threads: threads.collect(),
            rounded: processes.iter().map(|process| rounded(process)).sum(),
        }
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Used {
        let (mut cpu, mut switches) = (Duration::ZERO, 0);
        for (number, now) in &self.threads {
            let then = before.threads.get(number).copied().unwrap_or_default();
            cpu += now.cpu.saturating_sub(then.cpu);
            switches += now.switches.saturating_sub(then.switches);
        }
        // Threads that have ended count in here only.
        let rounded = self.rounded.saturating_sub(before.rounded);
        Used {
            cpu: if rounded > cpu + ROUNDING {
                rounded
            } else {
                cpu
            },
            switches,
        }
    }
}

fn threads_of(process: &str) -> Vec<(u64, Thread)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let numbers = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    // A thread may end between one line and the next.
    let read = |number| {
        Some((
            number,
            Thread::read(&format!("/proc/{process}/task/{number}"))?,
        ))
    };
    numbers.filter_map(read).collect()
}

impl Thread {
    fn read(directory: &str) -> Option<Self> {
        let schedstat = fs::read_to_string(format!("{directory}/schedstat")).ok()?;
        let nanoseconds = schedstat.split(' ').next()?.parse().ok()?;
        let status = fs::read_to_string(format!("{directory}/status")).ok()?;
        let switches = status.lines().filter_map(|line| {
            let (name, count) = line.split_once(':')?;
            let is_count = name.ends_with("ctxt_switches");
            is_count.then(|| count.trim().parse::<u64>().ok())?
        });
        Some(Self {
            cpu: Duration::from_nanos(nanoseconds),
            switches: switches.sum(),
        })
    }
}

/// The processor time of a process, as `/proc/…/stat` has it.
pub(crate) fn rounded(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The second field, in parentheses, may hold blanks; utime and stime are the 14th and 15th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|n| n.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * MILLISECONDS_A_TICK)
}

// USER_HZ is 100 on every Linux that counts here.
const MILLISECONDS_A_TICK: u64 = 10;
/// Two readings of up to three processes.
const ROUNDING: Duration = Duration::from_millis(60);
