//! Converts FHIR dates and times to DICOM (PS3.5 6.2, DA and TM).

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use super::member::Member;

/// A FHIR dateTime with at least a day.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DateTime {
    date: Date,
    clock: Option<Clock>,
    /// Whether the text has an invalid time (23:59:60, for example), which is ignored.
    pub(super) has_lost_time: bool,
}

/// The part after the `T`.
#[derive(Debug, Clone, PartialEq)]
struct Clock {
    time: Time,
    /// The fraction of the second: at most six digits of the text.
    fraction: Box<str>,
    offset: Option<UtcOffset>,
}

impl DateTime {
    /// Reads `YYYY-MM-DD`, alone or with a time, with or without an offset from UTC.
    pub(super) fn parse(text: &str) -> Member<Self> {
        let (day, rest) = text
            .split_once(['T', ' '])
            .map_or((text, None), |(day, rest)| (day, Some(rest)));
        let clock = rest.and_then(Clock::parse);
        let has_lost_time = rest.is_some() && clock.is_none();
        parse_date(day)
            .map(|date| Self {
                date,
                clock,
                has_lost_time,
            })
            .into()
    }

    /// Its offset from UTC, if the text has one.
    pub(super) fn offset(&self) -> Option<UtcOffset> {
        self.clock.as_ref()?.offset
    }

    /// The same moment with another offset from UTC; unchanged without a time or an offset.
    pub(super) fn in_offset(self, offset: Option<UtcOffset>) -> Self {
        self.moved(offset).unwrap_or(self)
    }

    fn moved(&self, offset: Option<UtcOffset>) -> Option<Self> {
        let clock = self.clock.as_ref()?;
        let here = PrimitiveDateTime::new(self.date, clock.time).assume_offset(clock.offset?);
        let there = here.checked_to_offset(offset?)?;
        let clock = Clock {
            time: there.time(),
            fraction: clock.fraction.clone(),
            offset,
        };
        Some(Self {
            date: there.date(),
            clock: Some(clock),
            ..*self
        })
    }

    /// `YYYYMMDD`.
    pub(super) fn dicom_date(&self) -> Box<str> {
        dicom_date(self.date)
    }

    /// `HHMMSS.FFFFFF`, with the precision of the text.
    pub(super) fn dicom_time(&self) -> Option<Box<str>> {
        let Clock { time, fraction, .. } = self.clock.as_ref()?;
        let (hour, minute, second) = time.as_hms();
        let point = if fraction.is_empty() { "" } else { "." };
        Some(format!("{hour:02}{minute:02}{second:02}{point}{fraction}").into())
    }
}

/// `YYYYMMDD` of a FHIR date with a day.
pub(super) fn date(text: &str) -> Member<Box<str>> {
    parse_date(text).map(dicom_date).into()
}

/// `+HHMM`. PS3.3 C.12.1.1.8: never `-0000`.
pub(super) fn dicom_offset(offset: UtcOffset) -> Box<str> {
    let minutes = offset.whole_minutes();
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}{:02}", minutes.abs() / 60, minutes.abs() % 60).into()
}

fn dicom_date(date: Date) -> Box<str> {
    format!(
        "{:04}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
    .into()
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let date = Date::from_calendar_date(i32::from(year), Month::try_from(month).ok()?, day).ok()?;
    parts.next().is_none().then_some(date)
}

impl Clock {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
        let (time, offset) = text.split_at(at);
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        let offset = if offset.is_empty() {
            None
        } else {
            Some(parse_offset(offset)?)
        };
        let is_fraction = fraction.bytes().all(|digit| digit.is_ascii_digit());
        let time = parse_time(time)?;
        is_fraction.then(|| Self {
            time,
            fraction: fraction[..fraction.len().min(6)].into(),
            offset,
        })
    }
}

// FHIR requires seconds; accept a time without them.
fn parse_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    let [hour, minute, second] =
        [hour, minute, second].map(|part| u8::try_from(part).unwrap_or(u8::MAX));
    let time = Time::from_hms(hour, minute, second).ok()?;
    parts.next().is_none().then_some(time)
}

fn parse_offset(text: &str) -> Option<UtcOffset> {
    if text.eq_ignore_ascii_case("Z") {
        return Some(UtcOffset::UTC);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let minutes = i32::from(number(hours, 2)?) * 60 + i32::from(number(minutes, 2)?);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    // FHIR: from -14:00 to +14:00.
    (minutes <= 14 * 60).then(|| UtcOffset::from_whole_seconds(sign * minutes * 60).ok())?
}

fn number(text: &str, digits: usize) -> Option<u16> {
    let is_number = text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dicom(text: &str) -> Option<(String, Option<String>, Option<String>)> {
        let moment = DateTime::parse(text).present()?;
        let offset = moment.offset().map(|offset| dicom_offset(offset).into());
        Some((
            moment.dicom_date().into(),
            moment.dicom_time().map(Into::into),
            offset,
        ))
    }

    #[test]
    fn splits_a_moment_as_dicom_does() {
        for (text, date, time, offset) in [
            (
                "2022-08-22T08:31:17+02:00",
                "20220822",
                Some("083117"),
                Some("+0200"),
            ),
            (
                "2022-08-22T08:31:17.5Z",
                "20220822",
                Some("083117.5"),
                Some("+0000"),
            ),
            (
                "2022-08-22T08:31:17.123456789-03:30",
                "20220822",
                Some("083117.123456"),
                Some("-0330"),
            ),
            (
                "2022-08-22T08:31:17-00:00",
                "20220822",
                Some("083117"),
                Some("+0000"),
            ),
            ("2022-08-22T08:31", "20220822", Some("083100"), None),
            ("2024-02-29", "20240229", None, None),
            ("0001-01-01", "00010101", None, None),
            ("2016-12-31T23:59:60Z", "20161231", None, None),
            ("2022-08-22Tmorning", "20220822", None, None),
            ("2022-08-22T08:31:17.x", "20220822", None, None),
            ("2022-08-22T08:31:17+99:00", "20220822", None, None),
            ("2022-08-22T08:31:17+15:00", "20220822", None, None),
        ] {
            let expected = (
                date.to_owned(),
                time.map(str::to_owned),
                offset.map(str::to_owned),
            );
            assert_eq!(dicom(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2022",
            "2022-08",
            "2023-02-29",
            "2022-13-01",
            "22-08-2022",
            "2022-08-22-01",
            "２０22-08-22",
        ] {
            assert_eq!(dicom(text), None, "{text}");
        }
    }

    #[test]
    fn says_that_a_time_was_lost() {
        let lost = |text| {
            DateTime::parse(text)
                .present()
                .map(|moment| moment.has_lost_time)
        };
        assert_eq!(lost("2016-12-31T23:59:60Z"), Some(true));
        assert_eq!(lost("2016-12-31T23:59:59Z"), Some(false));
        assert_eq!(lost("2016-12-31"), Some(false));
    }

    #[test]
    fn tells_a_moment_in_another_zone() {
        let moment = DateTime::parse("2022-08-22T23:30:00.25Z")
            .present()
            .expect("a moment");
        let moment = moment.in_offset(parse_offset("+02:00"));
        assert_eq!(&*moment.dicom_date(), "20220823");
        assert_eq!(moment.dicom_time().as_deref(), Some("013000.25"));
    }

    #[test]
    fn stays_where_another_zone_has_no_date() {
        let moment = DateTime::parse("9999-12-31T23:30:00Z")
            .present()
            .expect("a moment");
        assert_eq!(moment.clone().in_offset(parse_offset("+02:00")), moment);
    }
}
