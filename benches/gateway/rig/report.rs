//! Figures as text.

use std::time::Duration;

/// The one in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() % 2 {
        0 => (figures[half - 1] + figures[half]) / 2.0,
        _ => figures[half],
    }
}

/// The smallest figure that `percent` of all do not exceed.
pub(crate) fn percentile(figures: &[f64], percent: f64) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let rank = (figures.len() as f64 * percent / 100.0).ceil() as usize;
    figures[rank.saturating_sub(1)]
}

/// A figure next to its target: at most `target`.
pub(crate) fn at_most(what: &str, figure: f64, target: f64, unit: &str) {
    let verdict = if figure <= target { "ok" } else { "MISSED" };
    println!("  {what:<58} {figure:>9.2} {unit:<4} target <= {target} {unit}: {verdict}");
}

/// A figure next to its target: at least `target`.
pub(crate) fn at_least(what: &str, figure: f64, target: f64, unit: &str) {
    let verdict = if figure >= target { "ok" } else { "MISSED" };
    println!("  {what:<58} {figure:>9.2} {unit:<4} target >= {target} {unit}: {verdict}");
}

/// A figure that has no target.
pub(crate) fn figure(what: &str, figure: f64, unit: &str) {
    println!("  {what:<58} {figure:>9.2} {unit}");
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
