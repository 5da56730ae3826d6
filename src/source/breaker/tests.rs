use proptest::prelude::*;

use super::circuit::{LONGEST, LONGEST_ASKED, MOST_EXCESS, MOST_FAILURES, open_time};
use super::recent::REMEMBERED;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Outcome = Outcome::Failed { wait: None };

/// The n-th object.
fn first_try(number: usize) -> Subject {
    Subject {
        object: Object::at(&[&number.to_string()]),
        is_repair: false,
    }
}

fn repair(number: usize) -> Subject {
    Subject {
        is_repair: true,
        ..first_try(number)
    }
}

/// Asks and records at once, as whatever it is let through.
fn ask(
    circuit: &mut Circuit,
    subject: Subject,
    outcome: Outcome,
    now: Instant,
) -> Result<Role, Refused> {
    let role = circuit.permit(subject, now)?;
    circuit.record(role, outcome, now, 0.0);
    Ok(role)
}

/// Asks the harmless question.
fn probe(circuit: &mut Circuit, outcome: Outcome, now: Instant) {
    let role = circuit.permit_probe(now).expect("it is time");
    assert_eq!(role, Role::Probe);
    circuit.record(role, outcome, now, 0.0);
}

fn opened(now: Instant) -> Circuit {
    let mut circuit = Circuit::default();
    for number in 0..MOST_FAILURES as usize {
        ask(&mut circuit, first_try(number), Outcome::Unconnected, now).expect("closed");
    }
    circuit
}

/// Another object than all others.
fn fresh() -> Subject {
    first_try(usize::MAX)
}

fn refused(wait: Duration) -> Result<Role, Refused> {
    Err(Refused::Address { wait })
}

fn is_ordinary(permitted: Result<Role, Refused>) -> bool {
    matches!(permitted, Ok(Role::Ordinary(_)))
}

#[test]
fn three_in_a_row_without_a_connection_open_it_whatever_they_ask_for() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    for outcome in [
        Outcome::Unconnected,
        Outcome::Unconnected,
        Outcome::Answered,
        Outcome::Unconnected,
        Outcome::Unconnected,
        Outcome::Unconnected,
    ] {
        assert!(is_ordinary(ask(&mut circuit, repair(1), outcome, now)));
    }
    assert_eq!(circuit.permit(fresh(), now), refused(SECOND));
}

#[test]
fn three_in_a_row_without_an_answer_make_it_doubtful_and_a_probe_decides() {
    let now = Instant::now();
    for (verdict, then) in [
        (Outcome::Answered, State::Closed),
        (Outcome::Begun, State::Closed),
        (
            FAILED,
            State::Open {
                until: now + SECOND,
            },
        ),
        (
            Outcome::Unconnected,
            State::Open {
                until: now + SECOND,
            },
        ),
        (
            Outcome::Failed {
                wait: Some(9 * SECOND),
            },
            State::Open {
                until: now + 9 * SECOND,
            },
        ),
    ] {
        let mut circuit = Circuit::default();
        // Of one object too: whether that is its fault, the probe finds out.
        for _ in 0..MOST_FAILURES {
            assert!(is_ordinary(ask(&mut circuit, first_try(1), FAILED, now)));
        }
        assert_eq!(circuit.permit(fresh(), now), Err(Refused::Doubted));
        probe(&mut circuit, verdict, now);
        assert_eq!(circuit.state, then);
    }
}

#[test]
fn an_answer_to_another_request_ends_the_doubt() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    let other = circuit.permit(first_try(9), now).expect("closed");
    for number in 0..3 {
        let _ = ask(&mut circuit, first_try(number), FAILED, now);
    }
    let probe = circuit.permit_probe(now).expect("it is doubtful");
    assert_eq!(circuit.permit_probe(now), None, "one at a time");
    circuit.record(other, Outcome::Begun, now, 0.0);
    assert!(is_ordinary(circuit.permit(fresh(), now)));
    // The probe comes too late to say anything.
    circuit.record(probe, FAILED, now, 0.0);
    assert!(is_ordinary(circuit.permit(fresh(), now)));
}

#[test]
fn it_opens_for_twice_as_long_each_time_up_to_thirty_seconds() {
    let mut now = Instant::now();
    let mut circuit = opened(now);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let time = SECOND * seconds;
        assert_eq!(circuit.permit(fresh(), now), refused(time));
        let early = now + time - Duration::from_millis(1);
        assert!(circuit.permit(fresh(), early).is_err());
        now += time;
        let trial = ask(&mut circuit, fresh(), Outcome::Unconnected, now);
        assert_eq!(trial, Ok(Role::Trial(fresh())), "after {seconds} s");
    }
    now += LONGEST;
    let trial = ask(&mut circuit, fresh(), Outcome::Answered, now);
    assert_eq!(trial, Ok(Role::Trial(fresh())));
    ask(&mut circuit, fresh(), Outcome::Answered, now).expect("closed");
    for _ in 0..MOST_FAILURES {
        ask(&mut circuit, fresh(), Outcome::Unconnected, now).expect("closed");
    }
    assert_eq!(circuit.permit(fresh(), now), refused(SECOND));
}

#[test]
fn chance_takes_off_a_quarter_at_most() {
    assert_eq!(open_time(0, 0.0), SECOND);
    assert_eq!(open_time(0, 1.0), Duration::from_millis(750));
    assert_eq!(open_time(u32::MAX, 0.0), LONGEST);
}

#[test]
fn one_request_at_a_time_is_on_trial_and_one_that_is_given_up_leaves_its_place() {
    let mut now = Instant::now();
    let mut circuit = opened(now);
    now += SECOND;
    let trial = Role::Trial(fresh());
    assert_eq!(circuit.permit(fresh(), now), Ok(trial));
    assert!(circuit.permit(first_try(8), now).is_err());
    assert_eq!(circuit.permit_probe(now), None);
    assert_eq!(circuit.standing(now), Standing::Resting);
    circuit.give_back(trial);
    assert_eq!(circuit.standing(now), Standing::Due);
    assert_eq!(circuit.permit(fresh(), now), Ok(trial));
}

#[test]
fn an_object_that_has_failed_and_a_repair_are_no_trials() {
    let mut now = Instant::now();
    let mut circuit = Circuit::default();
    for number in 0..3 {
        let _ = ask(&mut circuit, first_try(number), FAILED, now);
    }
    probe(&mut circuit, FAILED, now);
    now += SECOND;
    for subject in [first_try(1), repair(7)] {
        let mut circuit = circuit.clone();
        assert_eq!(circuit.permit(subject, now), Err(Refused::Doubted));
        probe(&mut circuit, Outcome::Answered, now);
        assert!(is_ordinary(circuit.permit(subject, now)));
    }
    // A fresh one may be bad too: the probe has the last word.
    let trial = ask(&mut circuit, fresh(), FAILED, now);
    assert_eq!(trial, Ok(Role::Trial(fresh())));
    assert_eq!(circuit.permit(first_try(8), now), Err(Refused::Doubted));
    probe(&mut circuit, Outcome::Answered, now);
    assert!(is_ordinary(circuit.permit(first_try(8), now)));
}

#[test]
fn a_request_from_before_it_opened_neither_closes_it_nor_keeps_it_open() {
    let mut now = Instant::now();
    let mut circuit = opened(now);
    let before = Role::Ordinary(first_try(5));
    circuit.record(before, Outcome::Answered, now, 0.0);
    circuit.record(before, FAILED, now, 0.0);
    assert_eq!(circuit.permit(fresh(), now), refused(SECOND));
    now += SECOND;
    circuit.permit(fresh(), now).expect("a trial");
    circuit.record(before, Outcome::Answered, now, 0.0);
    circuit.record(before, Outcome::Unconnected, now, 0.0);
    assert_eq!(circuit.state, State::HalfOpen, "the trial is under way");
}

#[test]
fn an_object_rests_for_exactly_as_long_as_the_server_asks_and_a_minute_at_most() {
    let now = Instant::now();
    for (asked, kept) in [(7, 7), (60, 60), (86_400, 60)] {
        let mut circuit = Circuit::default();
        let wait = Some(SECOND * asked);
        ask(&mut circuit, first_try(1), Outcome::Failed { wait }, now).expect("closed");
        let wait = SECOND * kept;
        assert_eq!(
            circuit.permit(repair(1), now),
            Err(Refused::Object { wait })
        );
        assert!(is_ordinary(circuit.permit(first_try(2), now)));
        assert!(is_ordinary(circuit.permit(first_try(1), now + wait)));
    }
}

#[test]
fn an_address_rests_once_six_more_objects_asked_for_time_than_were_given() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    let wait = Some(20 * SECOND);
    let mut asked = 0;
    while circuit.state == State::Closed || circuit.state == State::Doubted {
        if circuit.state == State::Doubted {
            probe(&mut circuit, Outcome::Answered, now);
        }
        let subject = first_try(asked);
        ask(&mut circuit, subject, Outcome::Failed { wait }, now).expect("closed");
        asked += 1;
    }
    assert_eq!(asked, MOST_EXCESS);
    assert_eq!(circuit.permit(fresh(), now), refused(20 * SECOND));
}

#[test]
fn streams_of_six_objects_that_bring_nothing_open_it_and_those_of_one_do_not() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    for _ in 0..20 {
        circuit.follow(first_try(1), Course::Broken, now, 0.0);
        circuit.follow(repair(2), Course::Broken, now, 0.0);
    }
    assert!(is_ordinary(circuit.permit(fresh(), now)));
    for number in 2..=6 {
        assert!(is_ordinary(circuit.permit(fresh(), now)));
        ask(&mut circuit, first_try(number), Outcome::Begun, now).expect("closed");
        circuit.follow(first_try(number), Course::Broken, now, 0.0);
    }
    assert_eq!(circuit.permit(fresh(), now), refused(SECOND));
}

#[test]
fn streams_that_bring_something_before_they_break_off_do_not_open_it() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    for number in 0..50 {
        circuit.follow(first_try(number), Course::Whole, now, 0.0);
        circuit.follow(first_try(number), Course::Faltered, now, 0.0);
    }
    assert!(is_ordinary(circuit.permit(fresh(), now)));
    assert_eq!(circuit.standing(now), Standing::Closed(1));
    assert_eq!(circuit.standing(now + REMEMBERED), Standing::Closed(0));
}

#[test]
fn an_address_that_answers_and_breaks_off_again_is_left_alone_for_longer() {
    let mut now = Instant::now();
    let mut circuit = Circuit::default();
    for seconds in [1, 2, 4] {
        for number in 0..MOST_EXCESS {
            circuit.follow(first_try(number), Course::Broken, now, 0.0);
        }
        assert_eq!(circuit.permit(fresh(), now), refused(seconds * SECOND));
        now += seconds * SECOND;
        let trial = ask(&mut circuit, fresh(), Outcome::Begun, now);
        assert_eq!(trial, Ok(Role::Trial(fresh())));
        assert!(is_ordinary(circuit.permit(fresh(), now)));
    }
}

#[test]
fn a_closed_one_that_has_failed_is_probed_since_nobody_else_asks_it() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    assert_eq!(circuit.permit_probe(now), None);
    ask(&mut circuit, first_try(1), FAILED, now).expect("closed");
    assert_eq!(circuit.permit_probe(now), None, "that was just now");
    let later = now + SECOND;
    assert_eq!(circuit.permit_probe(later), Some(Role::Probe));
    assert_eq!(circuit.permit_probe(later), None, "one at a time");
    circuit.record(Role::Probe, Outcome::Answered, later, 0.0);
    assert_eq!(circuit.standing(later), Standing::Closed(0));
}

#[test]
fn a_permit_that_is_dropped_counts_as_nothing() {
    let now = Instant::now();
    let breaker: Arc<Breaker> = Arc::default();
    (0..10).for_each(|_| drop(breaker.permit(fresh(), now).expect("closed")));
    assert_eq!(breaker.standing(now), Standing::Closed(0));
    for _ in 0..MOST_FAILURES {
        let permit = breaker.permit(fresh(), now).expect("closed");
        permit.record(Outcome::Unconnected, now);
    }
    let later = now + SECOND;
    let trial = breaker.permit(fresh(), later).expect("it is due");
    breaker.permit(fresh(), later).expect_err("one at a time");
    drop(trial);
    let trial = breaker.permit(fresh(), later).expect("the place is free");
    trial.record(Outcome::Answered, later);
    assert_eq!(breaker.standing(later), Standing::Closed(0));
}

#[test]
fn a_stream_counts_once_and_what_is_wrong_with_its_form_does_not() {
    let now = Instant::now();
    let breaker: Arc<Breaker> = Arc::default();
    let report = || {
        let permit = breaker.permit(fresh(), now).expect("closed");
        permit.record(Outcome::Begun, now).expect("it is no probe")
    };
    let mut broken = report();
    broken.broke_off(&body::Error::Malformed("it is"));
    assert_eq!(breaker.standing(now), Standing::Closed(0));
    broken.broke_off(&body::Error::Truncated);
    broken.broke_off(&body::Error::Truncated);
    assert_eq!(breaker.standing(now), Standing::Closed(1));
    // This one brought something, and breaks off all the same.
    let mut other = report();
    other.whole();
    assert_eq!(breaker.standing(now), Standing::Closed(0));
    other.broke_off(&body::Error::Silent);
    assert_eq!(breaker.standing(now), Standing::Closed(1));
}

#[tokio::test]
async fn those_who_come_while_it_is_doubtful_are_told_the_end_of_that() {
    let now = Instant::now();
    let breaker: Arc<Breaker> = Arc::default();
    for number in 0..3 {
        let permit = breaker.permit(first_try(number), now).expect("closed");
        permit.record(FAILED, now);
    }
    let probe = breaker.permit_probe(now).expect("it is doubtful");
    let waiting = Arc::clone(&breaker);
    let waiting = tokio::spawn(async move { waiting.settled().await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    probe.record(Outcome::Answered, now);
    waiting.await.expect("it is told");
    breaker.permit(fresh(), now).expect("closed");
}

/// One in five objects is bad in some way, in an order that chance makes.
fn outcomes() -> impl Strategy<Value = Vec<Option<bool>>> {
    let bad = prop_oneof![Just(Some(true)), Just(Some(false))];
    proptest::collection::vec(prop_oneof![4 => Just(None), 1 => bad], 1..300)
}

/// What may happen to a circuit.
#[derive(Debug, Clone)]
enum Event {
    Wait(Duration),
    Permit(usize, bool),
    Probe,
    /// The n-th request under way, counted in a circle, ends; without an outcome: it is given up.
    End(usize, Option<Outcome>),
    Follow(usize, Course),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let time = |most: u64| (0..most).prop_map(Duration::from_millis);
    let outcome = prop_oneof![
        3 => Just(Some(Outcome::Unconnected)),
        3 => Just(Some(FAILED)),
        1 => Just(Some(Outcome::Begun)),
        1 => Just(Some(Outcome::Answered)),
        1 => Just(None),
        1 => time(100_000).prop_map(|wait| Some(Outcome::Failed { wait: Some(wait) })),
    ];
    let course = prop_oneof![
        1 => Just(Course::Whole),
        2 => Just(Course::Broken),
        1 => Just(Course::Faltered)
    ];
    let event = prop_oneof![
        time(5000).prop_map(Event::Wait),
        (0..20_usize, any::<bool>()).prop_map(|(at, is_repair)| Event::Permit(at, is_repair)),
        Just(Event::Probe),
        (any::<usize>(), outcome).prop_map(|(at, outcome)| Event::End(at, outcome)),
        (0..20_usize, course).prop_map(|(at, course)| Event::Follow(at, course)),
    ];
    proptest::collection::vec(event, 0..200)
}

proptest! {
    #[test]
    fn whatever_happens_one_trial_at_most_is_under_way_and_nobody_waits_for_ever(
        events in events(),
        chance in 0.0..=1.0,
    ) {
        let mut now = Instant::now();
        let mut circuit = Circuit::default();
        let mut under_way: Vec<Role> = Vec::new();
        for event in events {
            match event {
                Event::Wait(time) => now += time,
                Event::Permit(at, is_repair) => {
                    let subject = Subject { is_repair, ..first_try(at) };
                    match circuit.permit(subject, now) {
                        Ok(role) => under_way.push(role),
                        Err(Refused::Address { wait } | Refused::Object { wait }) => {
                            prop_assert!(wait <= LONGEST_ASKED);
                        }
                        // Whoever is refused like this sends a probe, or one is under way.
                        Err(Refused::Doubted) => under_way.extend(circuit.permit_probe(now)),
                    }
                }
                Event::Probe => under_way.extend(circuit.permit_probe(now)),
                Event::End(..) if under_way.is_empty() => {}
                Event::End(at, outcome) => {
                    let role = under_way.swap_remove(at % under_way.len());
                    match outcome {
                        Some(outcome) => circuit.record(role, outcome, now, chance),
                        None => circuit.give_back(role),
                    }
                }
                Event::Follow(at, course) => {
                    circuit.follow(first_try(at), course, now, chance);
                }
            }
            let trials = under_way.iter().filter(|role| !matches!(role, Role::Ordinary(_)));
            prop_assert!(trials.count() <= 1);
        }
        // Whatever was, an address that answers from now on is asked again, for any object.
        under_way.drain(..).for_each(|role| circuit.give_back(role));
        now += LONGEST_ASKED;
        if circuit.permit(first_try(1), now).is_err() {
            probe(&mut circuit, Outcome::Answered, now);
        } else {
            circuit.record(Role::Trial(first_try(1)), Outcome::Answered, now, chance);
        }
        prop_assert!(is_ordinary(circuit.permit(first_try(1), now)));
    }

    /// No stretch of bad objects that is shorter than six refuses a good one for longer than a
    /// probe.
    #[test]
    fn where_the_probe_is_answered_one_object_in_five_opens_nothing(outcomes in outcomes()) {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        let (mut excess, mut most) = (0_i32, 0);
        for (at, bad) in outcomes.into_iter().enumerate() {
            excess = (excess + if bad.is_some() { 1 } else { -1 }).max(0);
            most = most.max(excess);
            if most >= i32::try_from(MOST_EXCESS).expect("small") {
                return Ok(());
            }
            let subject = first_try(at);
            if circuit.permit(subject, now) == Err(Refused::Doubted) {
                probe(&mut circuit, Outcome::Answered, now);
            }
            let role = circuit.permit(subject, now);
            prop_assert!(is_ordinary(role));
            let role = role.expect("permitted");
            match bad {
                None => {
                    circuit.record(role, Outcome::Begun, now, 0.0);
                    circuit.follow(subject, Course::Whole, now, 0.0);
                }
                Some(true) => circuit.record(role, FAILED, now, 0.0),
                Some(false) => {
                    circuit.record(role, Outcome::Begun, now, 0.0);
                    circuit.follow(subject, Course::Broken, now, 0.0);
                }
            }
        }
    }
}
