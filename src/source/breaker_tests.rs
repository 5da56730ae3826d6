use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Asks and records at once, as whatever it is let through.
fn ask(circuit: &mut Circuit, outcome: Outcome, now: Instant) -> Result<Role, Refused> {
    let role = circuit.permit(now)?;
    circuit.record(role, outcome, now, 0.0);
    Ok(role)
}

fn opened(now: Instant) -> Circuit {
    let mut circuit = Circuit::default();
    for _ in 0..MOST_FAILURES {
        ask(&mut circuit, Outcome::Failed, now).expect("closed");
    }
    circuit
}

fn refused(wait: Duration) -> Result<Role, Refused> {
    Err(Refused { wait })
}

#[test]
fn three_failures_in_a_row_open_it() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    for outcome in [
        Outcome::Failed,
        Outcome::Failed,
        Outcome::Answered,
        Outcome::Failed,
        Outcome::Failed,
    ] {
        assert_eq!(ask(&mut circuit, outcome, now), Ok(Role::Ordinary));
    }
    assert_eq!(circuit.permit(now), Ok(Role::Ordinary));
    circuit.record(Role::Ordinary, Outcome::Failed, now, 0.0);
    assert_eq!(circuit.permit(now), refused(SECOND));
}

#[test]
fn it_opens_for_twice_as_long_each_time_up_to_thirty_seconds() {
    let mut now = Instant::now();
    let mut circuit = opened(now);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let time = SECOND * seconds;
        assert_eq!(circuit.permit(now), refused(time));
        let early = now + time - Duration::from_millis(1);
        assert!(circuit.permit(early).is_err());
        now += time;
        assert_eq!(
            ask(&mut circuit, Outcome::Failed, now),
            Ok(Role::Trial),
            "after {seconds} s"
        );
    }
    now += LONGEST;
    assert_eq!(ask(&mut circuit, Outcome::Answered, now), Ok(Role::Trial));
    for _ in 0..MOST_FAILURES {
        assert_eq!(ask(&mut circuit, Outcome::Failed, now), Ok(Role::Ordinary));
    }
    assert_eq!(circuit.permit(now), refused(SECOND));
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
    assert_eq!(circuit.permit(now), Ok(Role::Trial));
    assert!(circuit.permit(now).is_err());
    assert_eq!(circuit.standing(now), Standing::Resting);
    circuit.give_back(Role::Trial);
    assert_eq!(circuit.standing(now), Standing::Due);
    assert_eq!(circuit.permit(now), Ok(Role::Trial));
}

#[test]
fn a_request_from_before_it_opened_neither_closes_it_nor_keeps_it_open() {
    let mut now = Instant::now();
    let mut circuit = opened(now);
    circuit.record(Role::Ordinary, Outcome::Answered, now, 0.0);
    circuit.record(Role::Ordinary, Outcome::Failed, now, 0.0);
    assert_eq!(circuit.permit(now), refused(SECOND));
    now += SECOND;
    assert_eq!(circuit.permit(now), Ok(Role::Trial));
    circuit.record(Role::Ordinary, Outcome::Answered, now, 0.0);
    assert!(circuit.permit(now).is_err(), "the trial is under way");
}

#[test]
fn what_a_server_asks_for_is_kept_to_exactly_and_a_minute_at_most() {
    let now = Instant::now();
    for (asked, kept) in [(7, 7), (60, 60), (86_400, 60)] {
        let mut circuit = Circuit::default();
        let outcome = Outcome::AskedToWait(SECOND * asked);
        ask(&mut circuit, outcome, now).expect("closed");
        assert_eq!(circuit.permit(now), refused(SECOND * kept));
        assert_eq!(circuit.permit(now + SECOND * kept), Ok(Role::Trial));
    }
    // A shorter wish does not shorten a longer one.
    let mut circuit = Circuit::default();
    circuit.record(Role::Ordinary, Outcome::AskedToWait(SECOND * 9), now, 0.0);
    circuit.record(Role::Ordinary, Outcome::AskedToWait(SECOND), now, 0.0);
    assert_eq!(circuit.permit(now), refused(SECOND * 9));
}

#[test]
fn six_streams_that_bring_nothing_open_it_and_an_instance_sets_them_to_nought() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    for course in [Course::Broken; 5] {
        circuit.follow(course, now, 0.0);
        circuit.record(Role::Ordinary, Outcome::Answered, now, 0.0);
    }
    assert_eq!(circuit.standing(now), Standing::Closed(5));
    assert_eq!(circuit.standing(now + RECENT), Standing::Closed(0));
    circuit.follow(Course::Whole, now, 0.0);
    for course in [Course::Broken; 6] {
        assert_eq!(circuit.permit(now), Ok(Role::Ordinary));
        circuit.follow(course, now, 0.0);
    }
    assert_eq!(circuit.permit(now), refused(SECOND));
}

#[test]
fn an_address_that_answers_and_breaks_off_again_is_left_alone_for_longer() {
    let mut now = Instant::now();
    let mut circuit = Circuit::default();
    (0..6).for_each(|_| circuit.follow(Course::Broken, now, 0.0));
    now += SECOND;
    assert_eq!(ask(&mut circuit, Outcome::Answered, now), Ok(Role::Trial));
    circuit.follow(Course::Broken, now, 0.0);
    assert_eq!(circuit.permit(now), refused(SECOND * 2));
}

#[test]
fn a_closed_one_that_has_failed_is_tried_again_by_nobody_else() {
    let now = Instant::now();
    let mut circuit = Circuit::default();
    assert_eq!(circuit.permit_trial(now), None);
    ask(&mut circuit, Outcome::Failed, now).expect("closed");
    assert_eq!(circuit.permit_trial(now), None, "that was just now");
    let later = now + SECOND;
    assert_eq!(circuit.permit_trial(later), Some(Role::Trial));
    assert_eq!(circuit.permit_trial(later), None, "one at a time");
    circuit.record(Role::Trial, Outcome::Answered, later, 0.0);
    assert_eq!(circuit.standing(later), Standing::Closed(0));
}

#[test]
fn a_permit_that_is_dropped_counts_as_nothing() {
    let now = Instant::now();
    let breaker: Arc<Breaker> = Arc::default();
    (0..10).for_each(|_| drop(breaker.permit(now).expect("closed")));
    assert_eq!(breaker.standing(now), Standing::Closed(0));
    for _ in 0..MOST_FAILURES {
        let permit = breaker.permit(now).expect("closed");
        permit.record(Outcome::Failed, now);
    }
    let later = now + SECOND;
    let trial = breaker.permit(later).expect("it is due");
    breaker.permit(later).expect_err("one at a time");
    drop(trial);
    let trial = breaker.permit(later).expect("the place is free");
    trial.record(Outcome::Answered, later);
    assert_eq!(breaker.standing(later), Standing::Closed(0));
}

#[test]
fn a_stream_counts_once_and_what_is_wrong_with_its_form_does_not() {
    let now = Instant::now();
    let breaker: Arc<Breaker> = Arc::default();
    let report = || {
        let permit = breaker.permit(now).expect("closed");
        permit.record(Outcome::Answered, now)
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

/// What may happen to a circuit.
#[derive(Debug, Clone)]
enum Event {
    Wait(Duration),
    Permit,
    Trial,
    /// The n-th request under way, counted in a circle, ends; without an outcome: it is given up.
    End(usize, Option<Outcome>),
    Follow(Course),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let time = |most: u64| (0..most).prop_map(Duration::from_millis);
    let outcome = prop_oneof![
        4 => Just(Some(Outcome::Failed)),
        2 => Just(Some(Outcome::Answered)),
        1 => Just(None),
        1 => time(100_000).prop_map(|wait| Some(Outcome::AskedToWait(wait))),
    ];
    let event = prop_oneof![
        time(5000).prop_map(Event::Wait),
        Just(Event::Permit),
        Just(Event::Trial),
        (any::<usize>(), outcome).prop_map(|(at, outcome)| Event::End(at, outcome)),
        prop_oneof![Just(Course::Whole), Just(Course::Broken)].prop_map(Event::Follow),
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
                Event::Permit => {
                    let standing = circuit.standing(now);
                    let permit = circuit.permit(now);
                    prop_assert_eq!(permit.is_err(), standing == Standing::Resting);
                    match permit {
                        Ok(role) => under_way.push(role),
                        Err(Refused { wait }) => prop_assert!(wait <= LONGEST_ASKED),
                    }
                }
                Event::Trial => under_way.extend(circuit.permit_trial(now)),
                Event::End(..) if under_way.is_empty() => {}
                Event::End(at, outcome) => {
                    let role = under_way.swap_remove(at % under_way.len());
                    match outcome {
                        Some(outcome) => circuit.record(role, outcome, now, chance),
                        None => circuit.give_back(role),
                    }
                }
                Event::Follow(course) => circuit.follow(course, now, chance),
            }
            let trials = under_way.iter().filter(|role| **role == Role::Trial).count();
            prop_assert!(trials <= 1);
            prop_assert_eq!(circuit.is_on_trial, trials == 1);
        }
        // Whatever was, an address that answers from now on is asked again.
        under_way.drain(..).for_each(|role| circuit.give_back(role));
        now += LONGEST_ASKED;
        let role = circuit.permit(now);
        prop_assert!(role.is_ok());
        circuit.record(role.expect("it is permitted"), Outcome::Answered, now, chance);
        prop_assert_eq!(circuit.permit(now), Ok(Role::Ordinary));
    }
}
